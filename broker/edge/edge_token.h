/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests for envd that name no sandbox: for which one they are is found by their access token.
 *
 * Python clients from 2.7 to 2.24 leave the routing headers out of all calls to a sandbox that they
 * got by connect. A secured sandbox's token is its alone, so it says what the headers would have.
 * envd checks the token itself; here it only leads the way. No I/O.
 */
#ifndef BROKER_EDGE_EDGE_TOKEN_H
#define BROKER_EDGE_EDGE_TOKEN_H

#include "base/map.h"
#include "base/view.h"

/* Has the request a token, and is its path one of envd's that clients call? */
bool edge_token_is_one(struct adit_view token, struct adit_view path);
/* The id of the sandbox, in a loop's @table, that has @token; empty: none has. Borrowed from the
 * table. */
struct adit_view edge_token_find(const struct adit_map *table, struct adit_view token);

#endif
