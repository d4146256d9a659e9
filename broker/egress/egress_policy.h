/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a sandbox may connect to (control-api.md 7.6). Pure: no I/O, no clock, no allocation but in
 * egress_policy_compile(). Immutable after it, so any thread may ask.
 */
#ifndef BROKER_EGRESS_EGRESS_POLICY_H
#define BROKER_EGRESS_EGRESS_POLICY_H

#include <jansson.h>

#include "broker/egress/egress_authority.h"
#include "broker/egress/egress_proxy_talk.h"
#include "broker/egress/egress_rules.h"

enum egress_verdict {
    EGRESS_ALLOW,
    /* Only as a connection to one of the names by which it may: its first bytes have to say so
     * (TLS SNI or HTTP Host), and egress_policy_allows_name() decides. */
    EGRESS_ALLOW_NAMED,
    EGRESS_DENY,         /* the sandbox's rules forbid it */
    EGRESS_DENY_SPECIAL, /* no address of the public internet, and nobody opened it */
};

/*
 * What the operator says for all sandboxes.
 *
 * @open:   private blocks that a sandbox's own rules may open (an address or block in allowOut)
 * @closed: addresses that no rule opens: the host's own, and those that the operator denies
 */
struct egress_operator {
    const struct ip_block *open, *closed;
    size_t open_cnt, closed_cnt;
};

struct egress_policy;

/*
 * @network: the sandbox's validated options, or NULL. @is_offline: allow_internet_access is false.
 * @operator_: borrowed, for as long as the policy lives.
 * Errors: NO_MEMORY; BAD_INPUT for options that were never validated.
 */
ADIT_MUST_CHECK int egress_policy_compile(const json_t *network, bool is_offline,
                                          const struct egress_operator *operator_,
                                          struct egress_policy **out, struct adit_err *err);
void egress_policy_free(struct egress_policy *p);
/* Who signs in the sandbox for hosts whose requests get headers. Before anybody asks. */
void egress_policy_set_authority(struct egress_policy *p, struct egress_authority *take_authority);

/*
 * A connection to @addr, which is the address that will be dialled. @names: what the sandbox looked
 * up to get this address, lower case, without a dot at the end.
 */
enum egress_verdict egress_policy_judge(const struct egress_policy *p, const struct ip_addr *addr,
                                        const struct adit_view *names, size_t name_cnt);
/* Whether a domain of allowOut names @name (any case; a dot at the end is cut). */
bool egress_policy_allows_name(const struct egress_policy *p, struct adit_view name);
/* Headers for requests; borrowed. */
struct egress_rules *egress_policy_rules(const struct egress_policy *p);
/* Borrowed; NULL: none. For one thread. */
struct egress_authority *egress_policy_authority(const struct egress_policy *p);
/* The sandbox's own proxy, by which all its connections go; NULL: none. */
const struct egress_proxy *egress_policy_proxy(const struct egress_policy *p);
/* Whether that may be at @addr. The sandbox's rules are about what lies behind it; a private
 * address has to be opened by the operator. */
enum egress_verdict egress_policy_judge_proxy(const struct egress_policy *p,
                                              const struct ip_addr *addr);
/* Whether @name may be looked up: no connection to it could ever be allowed otherwise. */
bool egress_policy_may_resolve(const struct egress_policy *p, struct adit_view name);

#endif
