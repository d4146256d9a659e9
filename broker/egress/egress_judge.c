/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What one sandbox may reach now.
 *
 * Theory of operation
 *
 * What:      egress_policy.c decides by rules alone; here are what it needs to know and what only
 * the host knows: the names that led the sandbox to an address, and whether an address is the
 * host's own by now. A connection that is allowed only by its name is judged twice: by what was
 * looked up before it is made, by what it says before anything is passed on. Limits: those of
 * egress_names.h, and the header's for lines. Ownership: the sandbox's.
 */
#include "broker/egress/egress_judge.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/limit.h"
#include "base/log.h"
#include "broker/egress/egress_operator.h"
#include "broker/egress/egress_route.h"

#define NS_PER_MS UINT64_C(1000000)

/* @unlogged: refusals without a line of their own */
struct egress_judge {
    const char *sandbox_id;                  /* borrowed */
    const struct egress_operator *operator_; /* borrowed */
    const struct egress_policy *policy;      /* borrowed */
    struct egress_names *names;
    struct adit_limit log;
    uint64_t unlogged;
};

void egress_judge_tell(struct egress_judge *j, const struct ip_addr *addr, uint16_t port,
                       const char *why, struct adit_view name)
{
    char text[IP_ADDR_TEXT_CAP];
    if (!adit_limit_take(&j->log, adit_clock_mono_ns())) {
        j->unlogged++;
        return;
    }
    ip_addr_format(addr, text);
    adit_log(ADIT_LOG_INFO, "egress_refused", LOG_S("sandbox", j->sandbox_id),
             LOG_S("address", text), LOG_U("port", port), LOG_S("why", why), LOG_V("name", name),
             LOG_U("unlogged", j->unlogged));
    j->unlogged = 0;
}

static const struct adit_view no_name = ADIT_VIEW("");

static bool is_own(const struct egress_judge *j, const struct ip_addr *addr)
{
    struct ip_addr inner;
    if (egress_operator_names(j->operator_, addr))
        return false;
    return egress_route_is_own(addr) ||
           (ip_addr_carried_v4(addr, &inner) && egress_route_is_own(&inner));
}

static enum egress_verdict judge(struct egress_judge *j, const struct ip_addr *addr, uint16_t port,
                                 const struct adit_view *names, size_t name_cnt)
{
    enum egress_verdict v =
        j->policy ? egress_policy_judge(j->policy, addr, names, name_cnt) : EGRESS_DENY;
    const char *why = v == EGRESS_DENY_SPECIAL ? "private" : "rules";
    if (v <= EGRESS_ALLOW_NAMED && is_own(j, addr)) {
        v = EGRESS_DENY_SPECIAL;
        why = "host";
    }
    if (v > EGRESS_ALLOW_NAMED)
        egress_judge_tell(j, addr, port, why, name_cnt > 0 ? names[0] : no_name);
    return v;
}

enum egress_verdict egress_judge_address(struct egress_judge *j, const struct ip_addr *addr,
                                         uint16_t port)
{
    struct adit_view names[EGRESS_NAMES_OF_ADDRESS_MAX];
    size_t cnt = egress_names_of(j->names, addr, adit_clock_mono_ns() / NS_PER_MS, names);
    return judge(j, addr, port, names, cnt);
}

enum egress_verdict egress_judge_named(struct egress_judge *j, const struct ip_addr *addr,
                                       uint16_t port, struct adit_view name)
{
    return judge(j, addr, port, &name, name.len > 0);
}

bool egress_judge_leads(const struct egress_judge *j, struct adit_view name,
                        const struct ip_addr *addr)
{
    return egress_names_has(j->names, name, addr, adit_clock_mono_ns() / NS_PER_MS);
}

struct egress_authority *egress_judge_authority(const struct egress_judge *j)
{
    return egress_policy_authority(j->policy);
}

struct egress_rules *egress_judge_rules(const struct egress_judge *j)
{
    return egress_policy_rules(j->policy);
}

const struct egress_proxy *egress_judge_proxy(const struct egress_judge *j)
{
    return j->policy ? egress_policy_proxy(j->policy) : NULL;
}

bool egress_judge_proxy_address(struct egress_judge *j, const struct ip_addr *addr)
{
    const struct egress_proxy *proxy = egress_judge_proxy(j);
    if (proxy && egress_policy_judge_proxy(j->policy, addr) == EGRESS_ALLOW && !is_own(j, addr))
        return true;
    egress_judge_tell(j, addr, proxy ? proxy->port : 0, "proxy", no_name);
    return false;
}

bool egress_judge_may_resolve(const struct egress_judge *j, struct adit_view name)
{
    return j->policy && egress_policy_may_resolve(j->policy, name);
}

int egress_judge_learn(struct egress_judge *j, struct adit_view name,
                       const struct egress_resolved *resolved)
{
    return egress_names_learn(j->names, name, resolved, adit_clock_mono_ns() / NS_PER_MS);
}

void egress_judge_set_policy(struct egress_judge *j, const struct egress_policy *policy)
{
    j->policy = policy;
}

bool egress_judge_is_off(const struct egress_judge *j)
{
    return !j->policy;
}

int egress_judge_new(const char *sandbox_id, const struct egress_operator *operator_,
                     struct egress_judge **out, struct adit_err *err)
{
    struct egress_judge *j = calloc(1, sizeof *j);
    if (j)
        j->names = egress_names_new();
    if (!j || !j->names) {
        free(j);
        return adit_err_set(err, ADIT_ERR_NO_MEMORY, "no memory for a sandbox's names");
    }
    j->sandbox_id = sandbox_id;
    j->operator_ = operator_;
    adit_limit_init(&j->log, EGRESS_JUDGE_LOG_BURST, EGRESS_JUDGE_LOG_PER_S, adit_clock_mono_ns());
    *out = j;
    return ADIT_OK;
}

void egress_judge_free(struct egress_judge *j)
{
    if (!j)
        return;
    egress_names_free(j->names);
    free(j);
}
