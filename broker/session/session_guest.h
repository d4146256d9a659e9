/* SPDX-License-Identifier: Apache-2.0 */
/* A session's sandbox as the session API calls it: where it is, its token, heads of requests. */
#ifndef BROKER_SESSION_SESSION_GUEST_H
#define BROKER_SESSION_SESSION_GUEST_H

#include "broker/broker.h"
#include "net/http_client.h"

/* Copied, so that it outlives the sandbox. */
struct session_guest {
    char sandbox_id[SANDBOX_ID_CAP];
    struct http_target target;
    char token[TOKENS_CAP];
    uint64_t dial_ms;
};

void session_guest_init(struct session_guest *g, const struct broker *b, const struct sandbox *s);
/* Connections to that port. Errors: NO_MEMORY. */
ADIT_MUST_CHECK int session_guest_pool(const struct session_guest *g, struct net_loop *loop,
                                       uint16_t port, struct http_pool **out, struct adit_err *err);

/* @content_type: NULL for a request without a body. @length: of a body of HTTP_BODY_LENGTH */
struct session_guest_head {
    const char *method;
    struct adit_view target;
    const char *content_type;
    enum http_body body;
    uint64_t length;
};
/* Errors: as http_write_header. */
ADIT_MUST_CHECK int session_guest_write_head(const struct session_guest *g,
                                             const struct session_guest_head *head,
                                             struct adit_buf *out);
/* Append the target of envd's file at @path. Errors: LIMIT, NO_MEMORY. */
ADIT_MUST_CHECK int session_guest_append_file(struct adit_buf *out, struct adit_view path);

#endif
