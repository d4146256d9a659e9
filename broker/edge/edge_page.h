/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The data plane's own answers (routing.md 5): JSON; a small HTML page for a person's browser;
 * plain text for the clients of Python e2b 1.x, which fail on JSON whose code is a number. No I/O.
 */
#ifndef BROKER_EDGE_EDGE_PAGE_H
#define BROKER_EDGE_EDGE_PAGE_H

#include "broker/edge/edge.h"
#include "broker/edge/edge_grpc.h"

enum edge_page {
    EDGE_PAGE_NOT_FOUND,      /* 502: unknown, killed or ended */
    EDGE_PAGE_PORT_CLOSED,    /* 502 */
    EDGE_PAGE_BAD_REPLY,      /* 502: the server in the sandbox broke HTTP */
    EDGE_PAGE_TIMED_OUT,      /* 504: no channel within the dial time */
    EDGE_PAGE_TOO_MANY,       /* 429 */
    EDGE_PAGE_TOKEN_MISSING,  /* 403 */
    EDGE_PAGE_TOKEN_INVALID,  /* 403 */
    EDGE_PAGE_RESERVED_ROUTE, /* 404: envd's control routes */
    EDGE_PAGE_RESERVED_PORT,  /* 404 */
    EDGE_PAGE_INTERNAL,       /* 500 */
    EDGE_PAGE_NOT_GRPC,       /* 501: gRPC for a port other than envd's */
    EDGE_PAGE_CNT,
};

/* EDGE_PAGE_GRPC: the message, for a status of gRPC's (edge_page_grpc_code). */
enum edge_page_form { EDGE_PAGE_JSON, EDGE_PAGE_HTML, EDGE_PAGE_TEXT, EDGE_PAGE_GRPC };

/* @sandbox_id, @path: client text, escaped here. @limit: for EDGE_PAGE_TOO_MANY. */
struct edge_page_args {
    struct adit_view sandbox_id, path;
    uint16_t port;
    size_t limit;
};

unsigned edge_page_status(enum edge_page page);
enum edge_grpc_code edge_page_grpc_code(enum edge_page page);
/* Append the body. Errors: LIMIT, NO_MEMORY. */
ADIT_MUST_CHECK int edge_page_body(enum edge_page page, enum edge_page_form form,
                                   const struct edge_page_args *args, struct adit_buf *out);
const char *edge_page_content_type(enum edge_page_form form);
/* The form that the sender of this head reads. */
enum edge_page_form edge_page_form(const struct http_head *head);

#endif
