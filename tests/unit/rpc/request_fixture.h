/* SPDX-License-Identifier: Apache-2.0 */
/* The head of an RPC request, and what is read from it. */
#ifndef ADIT_TESTS_REQUEST_FIXTURE_H
#define ADIT_TESTS_REQUEST_FIXTURE_H

#include "rpc/protocol.h"

static struct http_head head;
static struct protocol_request req;

static void begin_head(enum http_method method)
{
    head = (struct http_head){.kind = HTTP_REQUEST, .method = method};
}

static void add(const char *name, const char *value)
{
    head.headers[head.header_cnt++] =
        (struct http_header){adit_view_str(name), adit_view_str(value)};
}

static unsigned negotiate(enum rpc_kind kind, const char *type)
{
    begin_head(HTTP_POST);
    if (type)
        add("Content-Type", type);
    return protocol_negotiate(&head, kind, &req);
}

#endif
