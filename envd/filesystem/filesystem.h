/* SPDX-License-Identifier: Apache-2.0 */
/* The RPC service filesystem.Filesystem: Stat, MakeDir, Move, ListDir, Remove. */
#ifndef ENVD_FILESYSTEM_FILESYSTEM_H
#define ENVD_FILESYSTEM_FILESYSTEM_H

#include "rpc/rpc_server.h"

/* Clients that refuse fields they do not know call themselves exactly this; their answers hold the
 * fields of old, and say so in a header. */
#define FILESYSTEM_LEGACY_AGENT "connect-python"
#define FILESYSTEM_LEGACY_HEADER "X-E2B-Legacy-SDK"

/* Its calls' rpc_call_app() is struct envd. */
extern const struct rpc_service filesystem_service;

/* Is the sender of @head such a client? */
bool filesystem_is_legacy(const struct http_head *head);

#endif
