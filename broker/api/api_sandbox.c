/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Endpoints of one sandbox: get, kill, connect, resume, timeout, refresh, network.
 *
 * Theory of operation
 *
 * Every handler looks its sandbox up by id and team, so a stranger's sandbox is a missing one. A
 * changed end is answered when it is on record. Connecting and refreshing only ever extend a life
 * (R4), setting a timeout sets it; none goes beyond the longest life from the start. A kill is
 * answered when the sandbox is dead.
 */
#include "broker/api/api.h"
#include "broker/api/create_request.h"
#include "broker/api/network_config.h"

void api_sandbox_get(struct api_request *rq)
{
    const struct sandbox *s = api_sandbox_find(rq);
    if (s)
        api_reply_json(rq, 200, api_json_detail(rq->broker, s));
    else
        api_reply_no_sandbox(rq);
}

static void on_killed(void *user, const struct adit_err *err)
{
    struct api_request *rq = user;
    if (err)
        api_reply_err(rq, NULL, err);
    else
        api_reply_empty(rq, 204);
}

void api_sandbox_kill(struct api_request *rq)
{
    struct sandbox *s = api_sandbox_find(rq);
    if (s)
        node_kill(s, "deleted by its owner", on_killed, rq);
    else
        api_reply_no_sandbox(rq);
}

/* ---- timeouts ---- */

static void on_saved(void *user, const struct adit_err *err)
{
    struct api_request *rq = user;
    if (err)
        api_reply_err(rq, NULL, err);
    else
        api_reply_empty(rq, 204);
}

/* The sandbox may have ended meanwhile. */
static void reply_sandbox(void *user, const struct adit_err *err)
{
    struct api_request *rq = user;
    const struct sandbox *s = api_sandbox_find(rq);
    if (err)
        api_reply_err(rq, NULL, err);
    else if (s)
        api_reply_json(rq, 200, api_json_sandbox(rq->broker, s));
    else
        api_reply_no_sandbox(rq);
}

static uint64_t within_life(const struct api_request *rq, const struct sandbox *s, uint64_t ms)
{
    return node_within_life_ms(s, ms, api_max_timeout_ms(rq));
}

static void set_timeout(struct api_request *rq, struct sandbox *s, uint64_t ms, node_done_fn done)
{
    struct adit_err err = ADIT_ERR_INIT;
    int rc = node_set_timeout(s, ms, done, rq);
    if (rc) {
        (void)adit_err_set(&err, rc, "the new end cannot be recorded");
        api_reply_err(rq, NULL, &err);
    }
}

static void serve_connect(struct api_request *rq, uint64_t default_s)
{
    struct adit_err err = ADIT_ERR_INIT;
    uint64_t ms = 0;
    struct sandbox *s = api_sandbox_find(rq);
    if (create_request_parse_connect(edge_api_body(rq->edge), default_s, api_max_timeout_ms(rq),
                                     &ms, &err))
        api_reply_err(rq, NULL, &err);
    else if (!s)
        api_reply_no_sandbox(rq);
    else if ((ms = within_life(rq, s, ms)) <= node_remaining_ms(s))
        api_reply_json(rq, 200, api_json_sandbox(rq->broker, s));
    else
        set_timeout(rq, s, ms, reply_sandbox);
}

void api_sandbox_connect_v1(struct api_request *rq)
{
    serve_connect(rq, 0);
}

void api_sandbox_connect_v2(struct api_request *rq)
{
    serve_connect(rq, CREATE_REQUEST_TIMEOUT_V2_S);
}

/* Nothing is ever paused yet, so what is there is running. */
void api_sandbox_resume(struct api_request *rq)
{
    struct adit_err err = ADIT_ERR_INIT;
    char id[SANDBOX_ID_CAP];
    uint64_t ms;
    memcpy(id, rq->sandbox_id, sizeof(id));
    if (create_request_parse_connect(edge_api_body(rq->edge), CREATE_REQUEST_TIMEOUT_V1_S,
                                     api_max_timeout_ms(rq), &ms, &err))
        api_reply_err(rq, NULL, &err);
    else if (!api_sandbox_find(rq))
        api_reply_no_sandbox(rq);
    else
        api_reply_error(rq, 409, NULL, "Sandbox %s is already running", id);
}

void api_sandbox_timeout(struct api_request *rq)
{
    struct adit_err err = ADIT_ERR_INIT;
    uint64_t ms = 0;
    struct sandbox *s = api_sandbox_find(rq);
    if (create_request_parse_timeout(edge_api_body(rq->edge), api_max_timeout_ms(rq), &ms, &err))
        api_reply_err(rq, NULL, &err);
    else if (!s)
        api_reply_no_sandbox(rq);
    else
        set_timeout(rq, s, within_life(rq, s, ms), on_saved);
}

void api_sandbox_refresh(struct api_request *rq)
{
    struct adit_err err = ADIT_ERR_INIT;
    uint64_t ms = 0;
    struct sandbox *s = api_sandbox_find(rq);
    if (create_request_parse_refresh(edge_api_body(rq->edge), &ms, &err))
        api_reply_err(rq, NULL, &err);
    else if (!s)
        api_reply_no_sandbox(rq);
    else if ((ms = within_life(rq, s, ms)) <= node_remaining_ms(s))
        api_reply_empty(rq, 204);
    else
        set_timeout(rq, s, ms, on_saved);
}

/* ---- network ---- */

void api_sandbox_network(struct api_request *rq)
{
    struct adit_err err = ADIT_ERR_INIT;
    struct sandbox *s = api_sandbox_find(rq);
    enum record_internet internet = RECORD_INTERNET_UNSAID;
    json_t *network = NULL;
    int rc;
    if (!s) {
        api_reply_no_sandbox(rq);
        return;
    }
    rc = network_config_update(edge_api_body(rq->edge), node_record(s)->network,
                               node_record(s)->is_private, &network, &internet, &err);
    if (rc == 0)
        rc = node_set_network(s, network, internet, on_saved, rq, &err);
    json_decref(network);
    if (rc)
        api_reply_err(rq, NULL, &err);
}

/* ---- tokens ---- */

void api_sandbox_rotate(struct api_request *rq)
{
    struct adit_err err = ADIT_ERR_INIT;
    struct sandbox *s = api_sandbox_find(rq);
    if (!s)
        api_reply_no_sandbox(rq);
    else if (node_rotate_tokens(s, reply_sandbox, rq, &err))
        api_reply_err(rq, NULL, &err);
}
