/* SPDX-License-Identifier: Apache-2.0 */
/* Answers of envd's REST endpoints. */
/*
 * Theory of operation
 *
 * Headers that the handler set before stay; an answer whose headers do not fit is broken off, so
 * that it cannot be taken for a right one.
 */
#include "envd/rest.h"

#include "rpc/status.h"

#define ERROR_BODY_CAP (8 * ADIT_ERR_MSG_CAP)

static bool set_headers(struct http_exchange *x, const char *type)
{
    return http_exchange_header_str(x, "Content-Type", type) == 0;
}

void rest_reply_error(struct http_exchange *x, unsigned status, const char *message)
{
    struct adit_buf body;
    adit_buf_init(&body, ERROR_BODY_CAP);
    int rc = adit_buf_appendf(&body, "{\"code\":%u,\"message\":\"", status);
    if (!rc)
        rc = adit_buf_append_json_text(&body, adit_view_str(message));
    if (!rc)
        rc = adit_buf_append_str(&body, "\"}\n");
    if (!rc && set_headers(x, "application/json; charset=utf-8") &&
        http_exchange_header_str(x, "X-Content-Type-Options", "nosniff") == 0)
        http_exchange_reply(x, status, adit_buf_view(&body));
    else
        http_exchange_reset(x);
    adit_buf_fini(&body);
}

void rest_reply_err(struct http_exchange *x, const struct adit_err *err)
{
    rest_reply_error(x, rpc_status_http(err->code), err->msg);
}

void rest_reply_json(struct http_exchange *x, unsigned status, struct adit_view body)
{
    if (set_headers(x, "application/json"))
        http_exchange_reply(x, status, body);
    else
        http_exchange_reset(x);
}
