/* SPDX-License-Identifier: Apache-2.0 */
/* A running sandbox gets an authority of its own, which its guest trusts, before its first rules
 * for headers are in force. */
#ifndef BROKER_NODE_TRUST_H
#define BROKER_NODE_TRUST_H

#include "broker/node/guest.h"
#include "broker/node/node.h"

/* Embedded in its sandbox. @authority: what the guest is told (owned); @network (owned), @internet:
 * what is saved then. */
struct trust {
    bool is_running;
    struct guest *guest;
    char *authority;
    json_t *network;
    enum record_internet internet;
    node_done_fn on_done;
    void *user;
};

/* Give the record an authority, if these options need one and it has none. Errors: IO, NO_MEMORY.
 */
ADIT_MUST_CHECK int trust_prepare(struct record *r, const json_t *network, struct adit_err *err);
/* Does the guest have to be told before these options are in force? */
bool trust_is_missing(const struct record *r, const json_t *network);
/* Make an authority, tell the guest, save the options; @on_done as of node_set_network(). Errors:
 * CONFLICT (it is being done, or tokens are rotated), IO, LIMIT, NO_MEMORY; then no callback comes.
 */
ADIT_MUST_CHECK int trust_start(struct sandbox *s, json_t *network, enum record_internet internet,
                                node_done_fn on_done, void *user, struct adit_err *err);
/* The sandbox ends: who waits is told. */
void trust_cancel(struct sandbox *s);

#endif
