/* SPDX-License-Identifier: Apache-2.0 */
/* The control API: from a request of the edge to its route's handler, and the ways to answer. */
#ifndef BROKER_API_API_H
#define BROKER_API_API_H

#include "broker/api/api_routes.h"
#include "broker/broker.h"

/*
 * One request. owned by: itself, until it is answered; every handler answers exactly once.
 *
 * @who:        whose key it came with; of an operator's request the team that it names, or none
 * @sandbox_id: from the path, checked (routes with {sandboxID}); else @has_bad_id, which is
 * answered after the key was checked
 * @is_admin:   it came with the admin token
 */
struct api_request {
    struct broker *broker; /* borrowed */
    struct edge_api_request *edge;
    uint64_t began_ns;
    const struct api_route *route;
    uint8_t key_hash[ADIT_SHA256_LEN];
    struct key_identity who;
    char sandbox_id[SANDBOX_ID_CAP];
    bool has_bad_id, is_admin;
};

/* edge_conf.on_api; @broker is the struct broker. */
void api_handle(void *broker, struct edge_api_request *r);

/* All of these free the request. */
void api_reply_json(struct api_request *rq, unsigned status, json_t *take_doc);
/* The same, but a failure leaves the request as it was: not answered. Errors: NO_MEMORY, LIMIT. */
ADIT_MUST_CHECK int api_try_reply_json(struct api_request *rq, unsigned status, json_t *take_doc);
/* @text: JSON, copied. */
void api_reply_text(struct api_request *rq, unsigned status, struct adit_view text);
void api_reply_empty(struct api_request *rq, unsigned status);
/* The edge's request is answered by others: edge_api_hand_over() comes next. */
void api_handed_over(struct api_request *rq);
/* {"code", "message"} and, unless NULL, "error_code"; of the session API {"detail"}, with a status
 * of 500 at most. */
void api_reply_error(struct api_request *rq, unsigned status, const char *error_code,
                     const char *fmt, ...) ADIT_PRINTF(4, 5);
/* The same with the status that belongs to @err. */
void api_reply_err(struct api_request *rq, const char *error_code, const struct adit_err *err);
/* 401: no such key. */
void api_refuse_key(struct api_request *rq);
/* The contract's 404 for a sandbox that is not there or somebody else's. */
void api_reply_no_sandbox(struct api_request *rq);
/* Longest life of the caller's sandboxes. */
uint64_t api_max_timeout_ms(const struct api_request *rq);
/* The running sandbox the path names, of the request's team, or NULL. */
struct sandbox *api_sandbox_find(const struct api_request *rq);

/* Ask the scheduler; @on_answer gets the request as its user. Answers itself when it cannot. */
void api_ask(struct api_request *rq, enum scheduler_method method, const ProtobufCMessage *request,
             rpc_client_fn on_answer);
/* Take the team that the path names as "{name}". Return: false when it was answered (400). */
bool api_take_team(struct api_request *rq, const char *name);

/* Handlers, named by api_routes.c only. */
void api_health(struct api_request *rq);
void api_not_built(struct api_request *rq);
void api_create_v1(struct api_request *rq);
void api_create_v2(struct api_request *rq);
void api_list_v1(struct api_request *rq);
void api_list_v2(struct api_request *rq);
void api_sandbox_get(struct api_request *rq);
void api_sandbox_kill(struct api_request *rq);
void api_sandbox_connect_v1(struct api_request *rq);
void api_sandbox_connect_v2(struct api_request *rq);
void api_sandbox_resume(struct api_request *rq);
void api_sandbox_timeout(struct api_request *rq);
void api_sandbox_refresh(struct api_request *rq);
void api_sandbox_network(struct api_request *rq);
void api_sandbox_rotate(struct api_request *rq);
void api_templates_list(struct api_request *rq);
void api_templates_get(struct api_request *rq);
void api_templates_alias(struct api_request *rq);
void api_keys_list(struct api_request *rq);
void api_keys_make(struct api_request *rq);
void api_keys_rename(struct api_request *rq);
void api_keys_revoke(struct api_request *rq);
void api_keys_revoke_of_team(struct api_request *rq);
void api_admin_nodes(struct api_request *rq);
void api_admin_node(struct api_request *rq);
void api_admin_set_node(struct api_request *rq);
void api_admin_running_counts(struct api_request *rq);
void api_admin_kill_team(struct api_request *rq);
void api_metrics_range(struct api_request *rq);
void api_metrics_newest(struct api_request *rq);
void api_logs_v1(struct api_request *rq);
void api_logs_v2(struct api_request *rq);

/* Documents of the contract (section 7); NULL without memory. */
json_t *api_json_sandbox(const struct broker *b, const struct sandbox *s);
json_t *api_json_detail(const struct broker *b, const struct sandbox *s);
json_t *api_json_listed(const struct sandbox *s);

#endif
