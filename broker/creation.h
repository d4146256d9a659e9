/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Making a sandbox for whoever asks: REST, session API, debug mode.
 *
 * On the control loop's thread.
 */
#ifndef BROKER_CREATION_H
#define BROKER_CREATION_H

#include "broker/broker.h"

/* Longest reference to a template, with NUL. */
#define CREATION_REF_CAP 256

/* Why there is none. */
enum creation_fault {
    CREATION_NO_FAULT,
    CREATION_NO_TEMPLATE, /* nobody knows it; also: it was deleted meanwhile */
    CREATION_TOO_FAST,    /* team or key have what they may have for now */
    CREATION_NO_CAPACITY, /* no node has room, or this one changed its mind */
    CREATION_EXISTS,      /* the id is taken: it is being made, runs, or is being ended */
    CREATION_KEY_REVOKED,
    CREATION_NOT_PLACED,
    CREATION_NOT_MADE, /* the node began and gave up */
};

/*
 * @sandbox:       valid as node.h says; NULL with a fault
 * @err:           never NULL with a fault; of CREATION_NO_TEMPLATE in the contract's words
 * @retry_after_s: of CREATION_TOO_FAST
 */
struct creation_result {
    struct sandbox *sandbox;
    enum creation_fault fault;
    uint32_t retry_after_s;
    const struct adit_err *err;
};
typedef void (*creation_fn)(void *user, const struct creation_result *result);

/*
 * What is asked for. The rest of a node's creation comes from the template.
 *
 * @sandbox_id: of SANDBOX_ID_CAP. Not empty: the id that it must have. Empty: one is chosen and
 *              written there, until @on_done perhaps another
 * @wanted: isolation (NULL: the template's), team_id, key_id, timeout_ms, secure, is_private,
 *          internet, mask_host, session, metadata, network, env_vars
 */
struct creation_spec {
    const char *template_ref;
    char *sandbox_id;
    struct node_create wanted;
};

/*
 * @spec is copied; what it points to stays until @on_done, which comes exactly once and never
 * before it returns. Errors: what scheduler_client_call() says; NO_MEMORY. Then no callback comes.
 */
ADIT_MUST_CHECK int creation_start(struct broker *b, const struct creation_spec *spec,
                                   creation_fn on_done, void *user, struct adit_err *err);

#endif
