/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What gets out of the sandboxes of this host: a thread with a loop of its own, and a handle for
 * each sandbox.
 *
 * Functions are for the control thread. They tell the thread by messages: what was said before a
 * sandbox's program asks for a connection is in force for it.
 */
#ifndef BROKER_EGRESS_EGRESS_H
#define BROKER_EGRESS_EGRESS_H

#include "broker/egress/egress_policy.h"
#include "broker/egress/egress_stats.h"
#include "net/dial.h"

struct egress;
struct egress_sandbox;
struct egress_resolver;

/*
 * @operator_: borrowed; that of the policies
 * @take_trust: says who a server is, where requests in TLS get headers; NULL: they get none
 * @take_resolver: not started; the egress' also when it cannot be started
 * @is_off:    nothing gets out of any sandbox, and programs hear that at once
 * @dials_max, @all_dials_max: connections of one sandbox (at most EGRESS_DIALS_MAX), and of all
 * @bytes_per_s: of one sandbox, both directions together; 0: as many as there are
 */
struct egress_conf {
    const struct egress_operator *operator_;
    struct egress_resolver *take_resolver;
    struct tls_context *take_trust;
    bool is_off;
    uint64_t dials_max, all_dials_max, bytes_per_s;
};

/* Errors: NO_MEMORY, IO; then the process has to end. */
ADIT_MUST_CHECK int egress_start(const struct egress_conf *conf, struct egress **out,
                                 struct adit_err *err);
/* Break all connections and end the thread, without waiting for it. Only egress_stats() and
 * egress_free() may follow. */
void egress_stop(struct egress *e);
/* After egress_stop(); waits for the thread. NULL is allowed. */
void egress_free(struct egress *e);

/*
 * Serve a sandbox from now on. @guest: its channel (copied). *out is valid until egress_close() or
 * egress_stop(). Errors: NO_MEMORY; @take_policy is gone then, too.
 */
ADIT_MUST_CHECK int egress_open(struct egress *e, const char *sandbox_id,
                                const struct http_target *guest, struct egress_policy *take_policy,
                                struct egress_sandbox **out, struct adit_err *err);
/* Another policy; open connections that it forbids are ended. Errors: as above; the old one stays
 * in force then. */
ADIT_MUST_CHECK int egress_update(struct egress_sandbox *s, struct egress_policy *take_policy,
                                  struct adit_err *err);
/* How its connections get out, as its guest says: "transparent", "redirect", "proxy" or "none"
 * (docs/wire/control.md). NULL: it has not said yet. */
const char *egress_mode(const struct egress_sandbox *s);
/* Break its connections and forget it. NULL is allowed. */
void egress_close(struct egress_sandbox *s);

void egress_measure(const struct egress *e, struct egress_stats *out);
/* Bytes that a sandbox has moved. */
uint64_t egress_bytes(const struct egress_sandbox *s, enum egress_direction direction);

#endif
