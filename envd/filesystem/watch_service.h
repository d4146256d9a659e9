/* SPDX-License-Identifier: Apache-2.0 */
/* The calls of filesystem.Filesystem about watching: handlers for rows of its table (filesystem.c).
 * Their app pointer is struct envd. */
#ifndef ENVD_FILESYSTEM_WATCH_SERVICE_H
#define ENVD_FILESYSTEM_WATCH_SERVICE_H

#include "rpc/rpc_server.h"

/* on_open of a call to one of these; their user data is what it makes. */
int watch_service_open(struct rpc_call *c, const struct http_head *head, struct adit_err *err);
void watch_service_cancel(struct rpc_call *c, int code);

void watch_service_watch_dir(struct rpc_call *c, const ProtobufCMessage *m);
void watch_service_drain(struct rpc_call *c); /* of that stream */
void watch_service_create(struct rpc_call *c, const ProtobufCMessage *m);
void watch_service_get_events(struct rpc_call *c, const ProtobufCMessage *m);
void watch_service_remove(struct rpc_call *c, const ProtobufCMessage *m);

#endif
