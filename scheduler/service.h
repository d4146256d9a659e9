/* SPDX-License-Identifier: Apache-2.0 */
/* The RPC service of proto/scheduler.proto. */
#ifndef SCHEDULER_SERVICE_H
#define SCHEDULER_SERVICE_H

#include "net/http_server.h"

/* on_request of a server whose owner is the struct scheduler. */
void service_on_request(struct http_exchange *x, const struct http_head *head);

#endif
