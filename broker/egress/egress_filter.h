/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A joined connection whose requests are read on their way out (egress_inject.h): each is for a
 * host that is allowed, and gets the headers of the sandbox's rules.
 */
#ifndef BROKER_EGRESS_EGRESS_FILTER_H
#define BROKER_EGRESS_EGRESS_FILTER_H

#include "broker/egress/egress_inject.h"
#include "net/join.h"

struct egress_filter;

/* As egress_inject_new(). */
struct egress_filter *egress_filter_new(struct egress_rules *rules, egress_inject_judge_fn judge,
                                        void *owner);
void egress_filter_free(struct egress_filter *f);
void egress_filter_set_rules(struct egress_filter *f, struct egress_rules *rules);
/*
 * What the guest said (side @guest of the join), or the other end, written to the other side as it
 * is to be. Return: false when the connection has to be reset.
 */
ADIT_MUST_CHECK bool egress_filter_request(struct egress_filter *f, struct join *j, int guest,
                                           struct adit_view bytes);
ADIT_MUST_CHECK bool egress_filter_reply(struct egress_filter *f, struct join *j, int guest,
                                         struct adit_view bytes);
/* The guest is not read until a reply is there. */
bool egress_filter_is_waiting(const struct egress_filter *f);

#endif
