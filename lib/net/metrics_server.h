/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A small HTTP server on a listener of its own that answers GET /metrics.
 *
 * Without authentication: it is for the loopback or a network of the operator's.
 */
#ifndef ADIT_NET_METRICS_SERVER_H
#define ADIT_NET_METRICS_SERVER_H

#include "net/http_server.h"

#define METRICS_SERVER_CONNECTIONS_MAX 16
/* Scrapes that wait for their answer; beyond it 503. */
#define METRICS_SERVER_WAITING_MAX 16
#define METRICS_SERVER_TEXT_CAP (8u * 1024 * 1024)

struct metrics_server;

/* Tell the figures by metrics_server_answer(), now or later, once for each call. */
typedef void (*metrics_server_ask_fn)(void *owner);

/* @address: as listener_socket(). Errors: as that, NO_MEMORY. */
ADIT_MUST_CHECK int metrics_server_open(struct net_loop *l, const char *address,
                                        metrics_server_ask_fn ask, void *owner,
                                        struct metrics_server **out, struct adit_err *err);
/* Answer everybody who waits. NULL ptr: there was no memory. */
void metrics_server_answer(struct metrics_server *m, struct adit_view text);
/* The bound TCP port. */
uint16_t metrics_server_port(const struct metrics_server *m);
/* Break off what runs; frees itself while the loop runs on. NULL is fine. */
void metrics_server_close(struct metrics_server *m);

#endif
