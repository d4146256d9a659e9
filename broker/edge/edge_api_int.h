/* SPDX-License-Identifier: Apache-2.0 */
/* A request for the control API, shared by the files that take it in and hand it over. */
#ifndef BROKER_EDGE_EDGE_API_INT_H
#define BROKER_EDGE_EDGE_API_INT_H

#include "broker/edge/edge_int.h"

#define EDGE_API_HEADERS_MAX 8

struct edge_header_text {
    size_t name_at, name_len, value_at, value_len;
};

/*
 * @x:       the exchange; NULL when the client is gone. Relay loop only
 * @is_asked: posted; it comes back by itself. Relay loop only
 * @text:    method, target and headers, copied; the offsets below point into it
 * @path, @query: views into @text
 * @held:    bytes of it that are counted in the loop's @api_bytes
 * @answer_*: filled on the control loop
 * @transfer, @transfer_user, @sandbox_id, @port: of a request that is handed over
 * @usage:   of its sandbox, while it uses that; one reference, and one of its active requests
 */
struct edge_api_request {
    struct edge_mail mail;
    struct edge_loop *loop;
    struct http_exchange *x;
    enum http_method method;
    bool has_origin, is_asked, is_encrypted;
    struct adit_buf text;
    size_t method_len, target_len;
    struct edge_header_text headers[HTTP_HEADERS_MAX];
    size_t header_cnt;
    struct adit_view path, query;
    struct adit_buf body;
    size_t held;
    char id[EDGE_REQUEST_ID_CAP];
    char peer[NET_STREAM_PEER_CAP];
    uint64_t began_ns;
    unsigned answer_status;
    struct adit_buf answer_body;
    struct {
        const char *name;
        char *value;
    } answer_headers[EDGE_API_HEADERS_MAX];
    size_t answer_header_cnt;
    const struct edge_transfer_ops *transfer;
    void *transfer_user;
    char sandbox_id[EDGE_ID_CAP];
    uint16_t port;
    struct edge_usage *usage;
};

/* On the relay loop, or when that has ended, or holding nothing of it any more. */
void edge_api_free(struct edge_api_request *r);
/* Headers for an answer to a page of another origin. */
void edge_api_set_cors(struct http_exchange *x);
/* On the control loop: one request less is under way. */
void edge_api_over(struct edge *e);

#endif
