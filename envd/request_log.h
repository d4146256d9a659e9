/* SPDX-License-Identifier: Apache-2.0 */
/* A line of log for each request, when it is over. */
#ifndef ENVD_REQUEST_LOG_H
#define ENVD_REQUEST_LOG_H

#include "base/limit.h"
#include "net/http_server.h"

/* A request's own id, given by whoever sent it on; of [A-Za-z0-9._-], any other is left out. */
#define REQUEST_LOG_ID_HEADER "X-Request-Id"
#define REQUEST_LOG_ID_MAX 64
/* Of a path. */
#define REQUEST_LOG_PATH_MAX 128
/* Lines at once and a second. What is left out is counted in the next one. */
#define REQUEST_LOG_BURST 500
#define REQUEST_LOG_PER_S 50

/* Embedded in struct envd. @dropped: lines left out since the last one. */
struct request_log {
    struct adit_limit limit;
    uint64_t dropped;
};

void request_log_init(struct request_log *log);
/* A request has come. @path: cleaned, without the query, which may hold signatures. Without memory
 * the request has no line. */
void request_log_open(struct http_exchange *x, const struct http_head *head, struct adit_view path);
/* The same request is over: http_server_conf.on_over. The server's owner is the struct envd. */
void request_log_over(struct http_exchange *x);

#endif
