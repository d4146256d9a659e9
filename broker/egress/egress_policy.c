/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a sandbox may connect to.
 *
 * Theory of operation
 *
 * What: the rules in their order.
 *   1. An address of the host is never reached; any other that is not of the public internet only
 *      where the operator opened it and a block of allowOut names it (0.0.0.0/0 does not).
 *   2. A block of allowOut allows.
 *   3. A domain of allowOut allows the addresses that it was looked up to, for connections that say
 *      its name themselves: a shared address must not open a door for its neighbours.
 *   4. A block of denyOut, or no internet access at all, denies.
 *   5. The rest is allowed.
 * Trust: addresses and names are the guest's; what is compared is the address that is dialled, so a
 * name that changes its address meanwhile gains nothing.
 * Limits: those of network_config.h; a verdict costs a walk over the rules.
 */
#include "broker/egress/egress_policy.h"

#include <stdlib.h>

#include "broker/egress/egress_domain.h"

struct blocks {
    struct ip_block *at;
    size_t cnt;
};

struct egress_policy {
    const struct egress_operator *operator_;
    struct blocks allow, deny;
    struct egress_domain *domains;
    size_t domain_cnt;
    struct egress_proxy *proxy;
    struct egress_rules *rules;
    struct egress_authority *authority;
    bool is_offline, denies_all;
};

/* ---- compiling ---- */

/* "Everything" in either spelling means both families. */
static bool is_all(const struct ip_block *b)
{
    return b->bits == 0 || (b->bits == 96 && ip_addr_is_v4(&b->addr));
}

static int read_allow(struct egress_policy *p, const json_t *list, struct adit_err *err)
{
    size_t i;
    json_t *item;
    p->allow.at = calloc(json_array_size(list) + 1, sizeof *p->allow.at);
    p->domains = calloc(json_array_size(list) + 1, sizeof *p->domains);
    if (!p->allow.at || !p->domains)
        return adit_err_set(err, ADIT_ERR_NO_MEMORY, "no memory for a policy");
    json_array_foreach(list, i, item)
    {
        struct adit_view text = adit_view_mem(json_string_value(item), json_string_length(item));
        if (ip_block_parse(text, &p->allow.at[p->allow.cnt]))
            p->allow.cnt++;
        else if (text.ptr && egress_domain_parse(text, &p->domains[p->domain_cnt]))
            p->domain_cnt++;
        else
            return adit_err_set(err, ADIT_ERR_BAD_INPUT, "allowOut: not a block or domain: %.*s",
                                ADIT_VIEW_ARG(text));
    }
    return ADIT_OK;
}

static int read_deny(struct egress_policy *p, const json_t *list, struct adit_err *err)
{
    size_t i;
    json_t *item;
    p->deny.at = calloc(json_array_size(list) + 1, sizeof *p->deny.at);
    if (!p->deny.at)
        return adit_err_set(err, ADIT_ERR_NO_MEMORY, "no memory for a policy");
    json_array_foreach(list, i, item)
    {
        struct adit_view text = adit_view_mem(json_string_value(item), json_string_length(item));
        struct ip_block *b = &p->deny.at[p->deny.cnt];
        if (!ip_block_parse(text, b))
            return adit_err_set(err, ADIT_ERR_BAD_INPUT, "denyOut: not a block: %.*s",
                                ADIT_VIEW_ARG(text));
        p->denies_all = p->denies_all || is_all(b);
        p->deny.cnt++;
    }
    return ADIT_OK;
}

static int read_proxy(struct egress_policy *p, const json_t *member, struct adit_err *err)
{
    if (!json_is_object(member))
        return ADIT_OK;
    p->proxy = calloc(1, sizeof *p->proxy);
    return p->proxy ? egress_proxy_parse(member, p->proxy, err)
                    : adit_err_set(err, ADIT_ERR_NO_MEMORY, "no memory for a policy");
}

int egress_policy_compile(const json_t *network, bool is_offline,
                          const struct egress_operator *operator_, struct egress_policy **out,
                          struct adit_err *err)
{
    struct egress_policy *p = calloc(1, sizeof *p);
    if (!p)
        return adit_err_set(err, ADIT_ERR_NO_MEMORY, "no memory for a policy");
    p->operator_ = operator_;
    p->is_offline = is_offline;
    int code = read_allow(p, json_object_get(network, "allowOut"), err);
    if (code == ADIT_OK)
        code = read_deny(p, json_object_get(network, "denyOut"), err);
    if (code == ADIT_OK)
        code = read_proxy(p, json_object_get(network, "egressProxy"), err);
    if (code == ADIT_OK)
        code = egress_rules_compile(network, &p->rules, err);
    if (code != ADIT_OK)
        egress_policy_free(p);
    else
        *out = p;
    return code;
}

void egress_policy_free(struct egress_policy *p)
{
    if (!p)
        return;
    free(p->allow.at);
    free(p->deny.at);
    free(p->domains);
    free(p->proxy);
    egress_rules_unref(p->rules);
    egress_authority_free(p->authority);
    free(p);
}

void egress_policy_set_authority(struct egress_policy *p, struct egress_authority *take_authority)
{
    p->authority = take_authority;
}

/* ---- judging ---- */

static bool has(const struct ip_block *blocks, size_t cnt, const struct ip_addr *a)
{
    for (size_t i = 0; i < cnt; i++)
        if (ip_block_has(&blocks[i], a))
            return true;
    return false;
}

/* Of where it leads, too: an IPv4 address has other spellings where the network translates them. */
static bool has_way_to(const struct ip_block *blocks, size_t cnt, const struct ip_addr *a)
{
    struct ip_addr inner;
    return has(blocks, cnt, a) || (ip_addr_carried_v4(a, &inner) && has(blocks, cnt, &inner));
}

/* A block of allowOut that is not everything. */
static bool is_named(const struct blocks *allow, const struct ip_addr *a)
{
    for (size_t i = 0; i < allow->cnt; i++)
        if (!is_all(&allow->at[i]) && ip_block_has(&allow->at[i], a))
            return true;
    return false;
}

static bool allows_all(const struct blocks *allow)
{
    for (size_t i = 0; i < allow->cnt; i++)
        if (is_all(&allow->at[i]))
            return true;
    return false;
}

bool egress_policy_allows_name(const struct egress_policy *p, struct adit_view name)
{
    for (size_t i = 0; i < p->domain_cnt; i++)
        if (egress_domain_has(&p->domains[i], name))
            return true;
    return false;
}

enum egress_verdict egress_policy_judge(const struct egress_policy *p, const struct ip_addr *addr,
                                        const struct adit_view *names, size_t name_cnt)
{
    const struct egress_operator *o = p->operator_;
    bool is_allowed = is_named(&p->allow, addr);
    if (has_way_to(o->closed, o->closed_cnt, addr))
        return EGRESS_DENY_SPECIAL;
    if (ip_addr_is_special(addr) && !(is_allowed && has(o->open, o->open_cnt, addr)))
        return EGRESS_DENY_SPECIAL;
    if (is_allowed || allows_all(&p->allow))
        return EGRESS_ALLOW;
    bool is_denied = p->is_offline || p->denies_all || has_way_to(p->deny.at, p->deny.cnt, addr);
    if (!is_denied)
        return EGRESS_ALLOW;
    for (size_t i = 0; i < name_cnt; i++)
        if (egress_policy_allows_name(p, names[i]))
            return EGRESS_ALLOW_NAMED;
    return EGRESS_DENY;
}

struct egress_rules *egress_policy_rules(const struct egress_policy *p)
{
    return p->rules;
}

struct egress_authority *egress_policy_authority(const struct egress_policy *p)
{
    return p->authority;
}

const struct egress_proxy *egress_policy_proxy(const struct egress_policy *p)
{
    return p->proxy;
}

enum egress_verdict egress_policy_judge_proxy(const struct egress_policy *p,
                                              const struct ip_addr *addr)
{
    const struct egress_operator *o = p->operator_;
    bool is_closed = has_way_to(o->closed, o->closed_cnt, addr) ||
                     (ip_addr_is_special(addr) && !has(o->open, o->open_cnt, addr));
    return is_closed ? EGRESS_DENY_SPECIAL : EGRESS_ALLOW;
}

bool egress_policy_may_resolve(const struct egress_policy *p, struct adit_view name)
{
    return (!p->is_offline && !p->denies_all) || p->allow.cnt > 0 ||
           egress_policy_allows_name(p, name);
}
