/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Headers that a sandbox's requests get on their way out (the "rules" of its network options): by
 * the host that a request is for. Immutable; counted, because connections outlive an update.
 */
#ifndef BROKER_EGRESS_EGRESS_RULES_H
#define BROKER_EGRESS_EGRESS_RULES_H

#include <jansson.h>

#include "broker/egress/egress_domain.h"
#include "net/http_msg.h"

#define EGRESS_RULES_MAX 10
#define EGRESS_RULES_HEADERS_MAX 20

/* Set these, instead of the guest's own of the same names. */
struct egress_rule {
    struct egress_domain domain;
    struct http_header headers[EGRESS_RULES_HEADERS_MAX]; /* owned by the rules */
    size_t header_cnt;
};

struct egress_rules;

/* @network: the sandbox's validated options, or NULL. One reference is the caller's. Errors:
 * NO_MEMORY; BAD_INPUT for options that were never validated. */
ADIT_MUST_CHECK int egress_rules_compile(const json_t *network, struct egress_rules **out,
                                         struct adit_err *err);
/* All on one thread. */
struct egress_rules *egress_rules_ref(struct egress_rules *r);
void egress_rules_unref(struct egress_rules *r);
/* No rule sets a header. */
bool egress_rules_is_empty(const struct egress_rules *r);
/* The same, asked of the validated options, or NULL. */
bool egress_rules_are_in(const json_t *network);

/* The rule for @name: its own, else that of the longest domain with a star. NULL: none. */
const struct egress_rule *egress_rules_find(const struct egress_rules *r, struct adit_view name);
bool egress_rules_sets(const struct egress_rule *rule, struct adit_view header_name);
/* A header that says how a message is framed, or whom it is for, is no rule's matter. */
bool egress_rules_may_set(struct adit_view header_name);

#endif
