/* SPDX-License-Identifier: Apache-2.0 */
/* The RPC service process.Process. Its calls' app pointer is struct envd. */
#ifndef ENVD_PROCESS_SERVICE_H
#define ENVD_PROCESS_SERVICE_H

#include "rpc/rpc_server.h"

extern const struct rpc_service process_service;

#endif
