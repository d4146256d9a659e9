/* SPDX-License-Identifier: Apache-2.0 */
/* Domains as rules have them: "name", "*.name" (names under it, not itself), "*" (any). Pure. */
#ifndef BROKER_EGRESS_EGRESS_DOMAIN_H
#define BROKER_EGRESS_EGRESS_DOMAIN_H

#include "base/view.h"

#define EGRESS_DOMAIN_MAX 253u

/* @suffix: lower case, without a dot at the end; for "*.example.com" what is behind the star and
 * its dot, for "*" nothing. */
struct egress_domain {
    char suffix[EGRESS_DOMAIN_MAX + 1];
    size_t len;
    bool is_wild;
};

/* Return: false if it is none of the three. */
bool egress_domain_parse(struct adit_view text, struct egress_domain *out);
/* Any case; a dot at the end of @name is cut. */
bool egress_domain_has(const struct egress_domain *d, struct adit_view name);

#endif
