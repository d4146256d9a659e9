/* SPDX-License-Identifier: Apache-2.0 */
/* Request ids: the client's when it is a sane one, else our own. No I/O. */
#ifndef BROKER_EDGE_EDGE_REQUEST_ID_H
#define BROKER_EDGE_EDGE_REQUEST_ID_H

#include "net/http_msg.h"
#include "net/http_server.h"

/* Longest id taken from a client, and the NUL. */
#define EDGE_REQUEST_ID_LEN_MAX 64
#define EDGE_REQUEST_ID_CAP (EDGE_REQUEST_ID_LEN_MAX + 1)
#define EDGE_REQUEST_ID_HEADER "X-Request-Id"
#define EDGE_REQUEST_ID_TRACE_HEADER "X-E2B-Trace-ID"

/* Makes ids that no other source of this or another process makes: a random word and a count. */
struct edge_request_id_source {
    uint64_t word, count;
};

void edge_request_id_source_init(struct edge_request_id_source *s);
/* One X-Request-Id of 1 to EDGE_REQUEST_ID_LEN_MAX characters of [A-Za-z0-9._-], or a new one. */
void edge_request_id_take(struct edge_request_id_source *s, const struct http_head *head,
                          char out[EDGE_REQUEST_ID_CAP]);
/* On an answer of ours, under both names; one that has no room for them goes without. */
void edge_request_id_show(struct http_exchange *x, const char *id);

#endif
