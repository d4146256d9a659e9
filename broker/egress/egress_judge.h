/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What one sandbox may reach now: its policy, the names that it looked up, and the lines about what
 * it may not.
 */
#ifndef BROKER_EGRESS_EGRESS_JUDGE_H
#define BROKER_EGRESS_EGRESS_JUDGE_H

#include "broker/egress/egress_names.h"
#include "broker/egress/egress_policy.h"

/* Lines about refused connections. */
#define EGRESS_JUDGE_LOG_PER_S 1
#define EGRESS_JUDGE_LOG_BURST 20

struct egress_judge;

/* @sandbox_id, @operator_: borrowed, outlive it. Errors: NO_MEMORY. */
ADIT_MUST_CHECK int egress_judge_new(const char *sandbox_id,
                                     const struct egress_operator *operator_,
                                     struct egress_judge **out, struct adit_err *err);
void egress_judge_free(struct egress_judge *j);
/* What is judged by from now on (borrowed). NULL, as in the beginning: nothing gets out. */
void egress_judge_set_policy(struct egress_judge *j, const struct egress_policy *policy);
bool egress_judge_is_off(const struct egress_judge *j);

/* A connection to @addr; one that is denied has its line. */
enum egress_verdict egress_judge_address(struct egress_judge *j, const struct ip_addr *addr,
                                         uint16_t port);
/* The same once the connection has said its name itself, one that egress_judge_leads() here; "": it
 * has not. */
enum egress_verdict egress_judge_named(struct egress_judge *j, const struct ip_addr *addr,
                                       uint16_t port, struct adit_view name);
/* Whether the sandbox was led to @addr by @name (any case; "": no). */
bool egress_judge_leads(const struct egress_judge *j, struct adit_view name,
                        const struct ip_addr *addr);

/* A line about a connection that came to nothing, as one that is denied has. */
void egress_judge_tell(struct egress_judge *j, const struct ip_addr *addr, uint16_t port,
                       const char *why, struct adit_view name);

/* Headers for requests, and who signs for their hosts in TLS (NULL: nobody); borrowed. Not while
 * egress_judge_is_off(). */
struct egress_rules *egress_judge_rules(const struct egress_judge *j);
struct egress_authority *egress_judge_authority(const struct egress_judge *j);
/* The sandbox's own proxy (valid until the next egress_judge_set_policy()), or NULL; and whether it
 * may be reached at @addr. */
const struct egress_proxy *egress_judge_proxy(const struct egress_judge *j);
bool egress_judge_proxy_address(struct egress_judge *j, const struct ip_addr *addr);

bool egress_judge_may_resolve(const struct egress_judge *j, struct adit_view name);
/* The sandbox is told @resolved. Errors: NO_MEMORY: it must not be told. */
ADIT_MUST_CHECK int egress_judge_learn(struct egress_judge *j, struct adit_view name,
                                       const struct egress_resolved *resolved);

#endif
