/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Cross-origin requests.
 *
 * Theory of operation
 *
 * Browsers may call from any origin: the token, not the origin, is what protects. A request without
 * Origin gets no CORS header.
 */
#include "envd/cors.h"

#define CORS_METHODS "HEAD, GET, POST, PUT, PATCH, DELETE"
#define CORS_MAX_AGE "7200"
#define CORS_EXPOSED                                                                               \
    "Location, Cache-Control, X-Content-Type-Options, Content-Encoding, "                          \
    "Connect-Content-Encoding, Grpc-Status, Grpc-Message, Grpc-Status-Details-Bin"

static int put_headers(struct http_exchange *x, const char *const pairs[][2], size_t cnt)
{
    int code = ADIT_OK;
    for (size_t i = 0; code == ADIT_OK && i < cnt; i++)
        code = http_exchange_header_str(x, pairs[i][0], pairs[i][1]);
    return code;
}

bool cors_is_preflight(const struct http_head *head)
{
    return head->method == HTTP_OPTIONS && http_head_get(head, "Origin").ptr &&
           http_head_get(head, "Access-Control-Request-Method").ptr;
}

void cors_answer_preflight(struct http_exchange *x, const struct http_head *head)
{
    static const char *const pairs[][2] = {
        {"Vary", "Origin, Access-Control-Request-Method, Access-Control-Request-Headers"},
        {"Access-Control-Allow-Origin", "*"},
        {"Access-Control-Allow-Methods", CORS_METHODS},
        {"Access-Control-Max-Age", CORS_MAX_AGE},
    };
    struct adit_view wanted = http_head_get(head, "Access-Control-Request-Headers");
    struct adit_view name = ADIT_VIEW("Access-Control-Allow-Headers");
    int code = put_headers(x, pairs, sizeof(pairs) / sizeof(pairs[0]));
    if (code == ADIT_OK && wanted.len > 0)
        code = http_exchange_header(x, name, wanted);
    if (code != ADIT_OK)
        http_exchange_reset(x);
    else
        http_exchange_reply(x, 204, adit_view_mem(NULL, 0));
}

int cors_put(struct http_exchange *x, const struct http_head *head)
{
    static const char *const pairs[][2] = {
        {"Vary", "Origin"},
        {"Access-Control-Allow-Origin", "*"},
        {"Access-Control-Expose-Headers", CORS_EXPOSED},
    };
    if (!http_head_get(head, "Origin").ptr)
        return ADIT_OK;
    return put_headers(x, pairs, sizeof(pairs) / sizeof(pairs[0]));
}
