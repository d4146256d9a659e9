/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the operator says for all sandboxes.
 *
 * Theory of operation
 *
 * What:      the list of private blocks that sandboxes' own rules may open, and what stays closed:
 * the host's addresses, and others that are named. A block is meant for machines behind the host,
 * so it does not open the host itself; who names an address of the host, one by one, means it.
 * Ownership: the lists are the object's. Limits: EGRESS_OPERATOR_BLOCKS_MAX, _OWN_MAX.
 */
#include "broker/egress/egress_operator.h"

#include <errno.h>
#include <ifaddrs.h>
#include <stdlib.h>

#define ADDRESS_BITS 128
#define CLOSED_MAX (EGRESS_OPERATOR_OWN_MAX + EGRESS_OPERATOR_BLOCKS_MAX)

bool egress_operator_names(const struct egress_operator *o, const struct ip_addr *addr)
{
    for (size_t i = 0; i < o->open_cnt; i++)
        if (o->open[i].bits == ADDRESS_BITS && ip_block_has(&o->open[i], addr))
            return true;
    return false;
}

/* Append the blocks of an option's text to @list, of which *cnt are there. */
static int read_blocks(const char *option, const char *text, struct ip_block *list, size_t *cnt,
                       struct adit_err *err)
{
    struct adit_view rest = adit_view_str(text), word;
    size_t max = *cnt + EGRESS_OPERATOR_BLOCKS_MAX;
    while (rest.len > 0) {
        (void)adit_view_split(rest, ',', &word, &rest); /* the last one has no "," */
        word = adit_view_trim(word);
        if (*cnt == max)
            return adit_err_set(err, ADIT_ERR_LIMIT, "%s: more than %d blocks", option,
                                EGRESS_OPERATOR_BLOCKS_MAX);
        if (!ip_block_parse(word, &list[*cnt]))
            return adit_err_set(err, ADIT_ERR_BAD_INPUT, "%s: not an address or block: %.*s",
                                option, ADIT_VIEW_ARG(word));
        (*cnt)++;
    }
    return ADIT_OK;
}

static int read_own(struct ip_block *closed, struct egress_operator *out, struct adit_err *err)
{
    struct ifaddrs *all;
    struct ip_addr addr;
    if (getifaddrs(&all) != 0)
        return adit_err_sys(err, errno, "read the host's addresses");
    int rc = ADIT_OK;
    for (const struct ifaddrs *i = all; i && rc == ADIT_OK; i = i->ifa_next) {
        if (!ip_addr_from_sockaddr(i->ifa_addr, &addr) || egress_operator_names(out, &addr))
            continue;
        if (out->closed_cnt == CLOSED_MAX)
            rc = adit_err_set(err, ADIT_ERR_LIMIT, "the host has more than %d addresses",
                              EGRESS_OPERATOR_OWN_MAX);
        else
            closed[out->closed_cnt++] = (struct ip_block){addr, ADDRESS_BITS};
    }
    freeifaddrs(all);
    return rc;
}

int egress_operator_read(const char *allowed, const char *denied, struct egress_operator *out,
                         struct adit_err *err)
{
    struct ip_block *open = calloc(EGRESS_OPERATOR_BLOCKS_MAX, sizeof *open);
    struct ip_block *closed = calloc(CLOSED_MAX, sizeof *closed);
    *out = (struct egress_operator){.open = open, .closed = closed};
    int rc = ADIT_ERR_NO_MEMORY;
    if (open && closed)
        rc = read_blocks("egress-allow-private", allowed, open, &out->open_cnt, err);
    else
        (void)adit_err_set(err, rc, "no memory for the host's addresses");
    if (rc == ADIT_OK && closed)
        rc = read_blocks("egress-deny", denied, closed, &out->closed_cnt, err);
    if (rc == ADIT_OK && closed)
        rc = read_own(closed, out, err);
    if (rc != ADIT_OK)
        egress_operator_fini(out);
    return rc;
}

void egress_operator_fini(struct egress_operator *o)
{
    union {
        const struct ip_block *in;
        void *out;
    } open = {o->open}, closed = {o->closed};
    free(open.out);
    free(closed.out);
    *o = (struct egress_operator){0};
}
