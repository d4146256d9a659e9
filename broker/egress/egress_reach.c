/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reaching a host.
 *
 * Theory of operation
 *
 * States:    ASKING (A, then AAAA where there is none; not for an address) → DIALLING, one address
 * after the other → over.
 *
 * What:      the first address that may be connected to and answers is taken. What the last one
 * said is the reason when none does. Ownership: it owns its query or dial, and frees itself before
 * @done. Limits: one deadline for all; EGRESS_REACH_ADDRESSES_MAX.
 */
#include "broker/egress/egress_reach.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "net/dial.h"

struct egress_reach {
    struct egress_reach_conf conf;
    egress_reached_fn done;
    void *owner; /* borrowed */
    struct egress_query *query;
    struct dial *dial;
    struct net_task begin;
    struct net_deadline deadline;
    struct ip_addr addrs[EGRESS_REACH_ADDRESSES_MAX];
    size_t cnt, next;
    bool has_asked_aaaa;
    Control__Reason reason;
};

static void reach_free(struct egress_reach *r)
{
    net_deadline_cancel(&r->deadline);
    net_task_cancel(&r->begin);
    if (r->query)
        egress_resolver_cancel(r->query);
    if (r->dial)
        dial_cancel(r->dial);
    free(r);
}

void egress_reach_cancel(struct egress_reach *r)
{
    reach_free(r);
}

static void finish(struct egress_reach *r, struct net_stream *take_stream)
{
    egress_reached_fn done = r->done;
    void *owner = r->owner;
    Control__Reason reason = r->reason;
    reach_free(r);
    done(owner, take_stream, reason);
}

static void on_deadline(struct net_deadline *d)
{
    struct egress_reach *r = ADIT_CONTAINER_OF(d, struct egress_reach, deadline);
    r->reason = CONTROL__REASON__REASON_TIMED_OUT;
    finish(r, NULL);
}

/* ---- dialling ---- */

static Control__Reason reason_of(const struct adit_err *err)
{
    switch (err->sys_errno) {
    case ECONNREFUSED:
    case ECONNRESET:
        return CONTROL__REASON__REASON_REFUSED;
    case ENETUNREACH:
    case ENETDOWN:
    case EAFNOSUPPORT: /* a host without IPv6 */
        return CONTROL__REASON__REASON_NET_UNREACHABLE;
    case EACCES: /* firewalls say so */
    case EPERM:
        return CONTROL__REASON__REASON_PROHIBITED;
    case EMFILE:
    case ENFILE:
    case ENOMEM:
    case ENOBUFS:
    case EADDRNOTAVAIL: /* no port is left for that destination */
        return CONTROL__REASON__REASON_BUSY;
    default:
        return err->code == ADIT_ERR_TIMEOUT     ? CONTROL__REASON__REASON_TIMED_OUT
               : err->code == ADIT_ERR_NO_MEMORY ? CONTROL__REASON__REASON_BUSY
                                                 : CONTROL__REASON__REASON_HOST_UNREACHABLE;
    }
}

static void dial_next(struct egress_reach *r);

static void on_dialled(void *owner, struct net_stream *take_stream, struct adit_view already,
                       const struct adit_err *err)
{
    struct egress_reach *r = owner;
    (void)already; /* there is no handshake */
    r->dial = NULL;
    if (!err) {
        finish(r, take_stream);
        return;
    }
    r->reason = reason_of(err);
    dial_next(r);
}

static int dial_address(struct egress_reach *r, const struct ip_addr *addr)
{
    struct http_target target = {.kind = HTTP_TARGET_TCP};
    char text[IP_ADDR_TEXT_CAP];
    ip_addr_format(addr, text);
    (void)snprintf(target.path, sizeof(target.path), ip_addr_is_v4(addr) ? "%s:%u" : "[%s]:%u",
                   text, r->conf.port);
    return dial_start(r->conf.loop, &target, r->conf.ms, on_dialled, r, &r->dial, NULL);
}

static void dial_next(struct egress_reach *r)
{
    while (r->next < r->cnt) {
        const struct ip_addr *addr = &r->addrs[r->next++];
        bool may = !r->conf.may || r->conf.may(r->owner, addr);
        if (may && dial_address(r, addr) == ADIT_OK)
            return;
        r->reason = may ? CONTROL__REASON__REASON_BUSY : CONTROL__REASON__REASON_PROHIBITED;
    }
    finish(r, NULL);
}

static void on_begin(struct net_task *t)
{
    dial_next(ADIT_CONTAINER_OF(t, struct egress_reach, begin));
}

/* ---- asking ---- */

static int ask(struct egress_reach *r, unsigned type);

static void on_resolved(void *owner, const struct egress_resolved *resolved)
{
    struct egress_reach *r = owner;
    r->query = NULL;
    for (size_t i = 0; i < resolved->answer_cnt && r->cnt < EGRESS_REACH_ADDRESSES_MAX; i++) {
        const struct egress_answer *a = &resolved->answers[i];
        if (a->type != CONTROL_TYPE_CNAME && ip_addr_from_bytes(a->data, &r->addrs[r->cnt]))
            r->cnt++;
    }
    bool is_to_be_asked = r->cnt == 0 && !r->has_asked_aaaa;
    r->has_asked_aaaa = true;
    if (!is_to_be_asked || ask(r, CONTROL_TYPE_AAAA) != ADIT_OK)
        dial_next(r);
}

static int ask(struct egress_reach *r, unsigned type)
{
    return egress_resolver_lookup(r->conf.resolver, r->conf.host, type, on_resolved, r, &r->query);
}

int egress_reach_start(const struct egress_reach_conf *conf, egress_reached_fn done, void *owner,
                       struct egress_reach **out)
{
    struct egress_reach *r = calloc(1, sizeof *r);
    if (!r)
        return ADIT_ERR_NO_MEMORY;
    r->conf = *conf;
    r->done = done;
    r->owner = owner;
    r->reason = CONTROL__REASON__REASON_HOST_UNREACHABLE; /* a name without address */
    net_task_init(&r->begin, conf->loop, on_begin);
    net_deadline_init(&r->deadline, conf->loop, on_deadline);
    net_deadline_arm(&r->deadline, conf->ms);
    int rc = ADIT_OK;
    if (ip_addr_parse(adit_view_str(conf->host), &r->addrs[0])) {
        r->cnt = 1;
        if (!conf->may && dial_address(r, &r->addrs[0]) == ADIT_OK)
            r->next = 1;
        else
            net_task_post(&r->begin); /* what may fail at once is told later */
    } else {
        rc = ask(r, CONTROL_TYPE_A);
    }
    if (rc != ADIT_OK)
        reach_free(r);
    else
        *out = r;
    return rc;
}
