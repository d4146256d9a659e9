/* SPDX-License-Identifier: Apache-2.0 */
/* One unary call of envd's Connect services, in JSON. On the control loop. */
#ifndef BROKER_SESSION_SESSION_RPC_H
#define BROKER_SESSION_SESSION_RPC_H

#include <jansson.h>

#include "broker/session/session_guest.h"

#define SESSION_RPC_MS 30000
/* Some 30,000 names of files. */
#define SESSION_RPC_ANSWER_MAX (8u * 1024 * 1024)

struct session_rpc;

/*
 * @answer: the response message, borrowed; NULL with @err
 * @err:    NOT_FOUND and BAD_INPUT as envd says, in its words; TIMEOUT; LIMIT (a longer answer);
 *          UNAVAILABLE, CLOSED, PROTOCOL, NO_MEMORY
 */
typedef void (*session_rpc_fn)(void *user, const json_t *answer, const struct adit_err *err);

/*
 * @path: "/package.Service/Method". @take_question: the request message; NULL without memory. Never
 * calls back before it returns. Errors: NO_MEMORY, LIMIT; then no callback comes.
 */
ADIT_MUST_CHECK int session_rpc_start(struct http_pool *pool, const struct session_guest *guest,
                                      const char *path, json_t *take_question,
                                      session_rpc_fn on_done, void *user, struct session_rpc **out,
                                      struct adit_err *err);
/* No callback follows. */
void session_rpc_cancel(struct session_rpc *c);

#endif
