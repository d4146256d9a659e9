/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Connecting by name.
 *
 * Theory of operation
 *
 * States:
 *
 *   asking A --> dialling, one after the other --all failed--> asking AAAA --> dialling --> failed
 *                   \--granted--> joined                                           \--granted-->
 *
 * What:    IPv4 goes first, since every host has it. The next address is tried when the last one
 * failed at once; what timed out or is forbidden is not tried elsewhere, so that nobody waits
 * several times. The host that looks the name up learns it, so rules about names hold here as they
 * do without a proxy.
 * Ownership: the dial is the table's, the look-up the resolver's; both are left when the owner
 * goes. Limits: EGRESS_CONNECT_ADDRESSES_MAX, and the waits of a look-up and of a dial.
 */
#include "envd/egress/egress_connect.h"

#include "net/ip_block.h"

static void fail(struct egress_connect *c, enum egress_proxy_outcome why)
{
    c->ops->on_failed(c->owner, why);
}

static void go_on(struct egress_connect *c);

/* ---- dialling ---- */

static struct net_stream *on_granted(void *owner, struct net_stream *host)
{
    struct egress_connect *c = owner;
    if (!c->ops->on_over)
        egress_connect_leave(c);
    return c->ops->on_granted(c->owner, host);
}

static bool is_worth_another(Control__Reason reason)
{
    return reason == CONTROL__REASON__REASON_REFUSED ||
           reason == CONTROL__REASON__REASON_HOST_UNREACHABLE ||
           reason == CONTROL__REASON__REASON_NET_UNREACHABLE;
}

static void on_refused(void *owner, Control__Reason reason)
{
    struct egress_connect *c = owner;
    c->dial = NULL;
    c->outcome = (enum egress_proxy_outcome)reason; /* the same numbers */
    if (is_worth_another(reason))
        go_on(c);
    else
        fail(c, c->outcome);
}

static void on_over(void *owner, bool is_broken)
{
    struct egress_connect *c = owner;
    c->dial = NULL;
    c->ops->on_over(c->owner, is_broken);
}

static const struct egress_caller_ops caller_ops = {on_granted, on_refused, on_over};

/* ---- looking up ---- */

static void add(struct egress_connect *c, struct adit_view bytes)
{
    if (c->address_cnt < EGRESS_CONNECT_ADDRESSES_MAX)
        egress_address_set(&c->addresses[c->address_cnt++], bytes.ptr, bytes.len, c->target.port);
}

static enum egress_proxy_outcome outcome_of(enum egress_dns_rcode rcode)
{
    if (rcode == EGRESS_DNS_REFUSED)
        return EGRESS_PROXY_PROHIBITED;
    return rcode == EGRESS_DNS_NXDOMAIN ? EGRESS_PROXY_NO_NAME : EGRESS_PROXY_NAME_FAILED;
}

static void on_result(struct egress_dns_client *client, enum egress_dns_rcode rcode,
                      const Control__LookupResult *result)
{
    struct egress_connect *c = ADIT_CONTAINER_OF(client, struct egress_connect, client);
    c->is_asking = false;
    if (rcode != EGRESS_DNS_NOERROR) {
        fail(c, outcome_of(rcode));
        return;
    }
    for (size_t i = 0; result && i < result->n_answers; i++) {
        const Control__Answer *a = result->answers[i];
        if (a->type == c->type)
            add(c, adit_view_mem(a->data.data, a->data.len));
    }
    go_on(c);
}

static void ask(struct egress_connect *c, uint16_t type)
{
    c->type = type;
    c->is_asking = true;
    c->address_cnt = c->next = 0;
    egress_dns_resolve(c->dns, &c->client, adit_view_str(c->target.host), type, on_result);
}

static void go_on(struct egress_connect *c)
{
    if (c->next < c->address_cnt) {
        if (egress_dials_call(c->dials, &c->addresses[c->next++], &caller_ops, c, &c->dial) !=
            ADIT_OK)
            fail(c, EGRESS_PROXY_BUSY);
    } else if (c->type == CONTROL_TYPE_A) {
        ask(c, CONTROL_TYPE_AAAA);
    } else {
        fail(c, c->outcome);
    }
}

/* ---- life ---- */

void egress_connect_start(struct egress_connect *c, struct egress_dns *dns,
                          struct egress_dials *dials, const struct egress_proxy_target *target,
                          const struct egress_connect_ops *ops, void *owner)
{
    struct ip_addr ip;
    c->dns = dns;
    c->dials = dials;
    c->ops = ops;
    c->owner = owner;
    c->target = *target;
    c->outcome = EGRESS_PROXY_NO_NAME;
    if (!ip_addr_parse(adit_view_str(target->host), &ip)) {
        ask(c, CONTROL_TYPE_A);
        return;
    }
    size_t skipped = ip_addr_is_v4(&ip) ? sizeof ip.bytes - EGRESS_IPV4_LEN : 0;
    add(c, adit_view_mem(ip.bytes + skipped, sizeof ip.bytes - skipped));
    go_on(c);
}

void egress_connect_leave(struct egress_connect *c)
{
    if (c->is_asking)
        egress_dns_forget(&c->client);
    c->is_asking = false;
    if (c->dial)
        egress_dials_leave(c->dial);
    c->dial = NULL;
}
