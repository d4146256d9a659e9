/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Headers that requests get on their way out.
 *
 * Theory of operation
 *
 * Ownership: the rules own copies of all texts; nothing of the options is kept.
 * Limits: EGRESS_RULES_MAX rules, EGRESS_RULES_HEADERS_MAX headers each; how long texts may be is
 * network_config.h's matter.
 * Trust: the options are the sandbox's owner's. Headers that would change where a message ends are
 * refused: the guest, not the owner, chooses what stands beside them.
 */
#include "broker/egress/egress_rules.h"

#include <stdlib.h>

#include "net/http_guard.h"

struct egress_rules {
    unsigned refs;
    size_t cnt;
    struct egress_rule at[EGRESS_RULES_MAX];
};

bool egress_rules_may_set(struct adit_view header_name)
{
    static const char *const framing[] = {"connection",
                                          "content-length",
                                          "expect",
                                          "host",
                                          "http2-settings",
                                          "keep-alive",
                                          "te",
                                          "trailer",
                                          "upgrade",
                                          "proxy-connection",
                                          "transfer-encoding"};
    for (size_t i = 0; i < sizeof(framing) / sizeof(framing[0]); i++)
        if (adit_view_ieq_str(header_name, framing[i]))
            return false;
    return http_guard_is_token(header_name);
}

static int refuse(struct adit_err *err, const char *what)
{
    return adit_err_set(err, ADIT_ERR_BAD_INPUT, "rules: not a %s", what);
}

static int add_header(struct egress_rule *rule, const char *name, const json_t *value,
                      struct adit_err *err)
{
    struct adit_view text = adit_view_mem(json_string_value(value), json_string_length(value));
    if (rule->header_cnt == EGRESS_RULES_HEADERS_MAX ||
        !egress_rules_may_set(adit_view_str(name)) || !text.ptr || !http_guard_is_value(text))
        return refuse(err, "header that may be set");
    struct http_header *h = &rule->headers[rule->header_cnt++];
    h->name.ptr = adit_view_dup(adit_view_str(name));
    h->value.ptr = adit_view_dup(text);
    if (!h->name.ptr || !h->value.ptr)
        return adit_err_set(err, ADIT_ERR_NO_MEMORY, "no memory for rules");
    h->name.len = strlen(name);
    h->value.len = text.len;
    return ADIT_OK;
}

/* NULL: the rule sets none. */
static json_t *headers_of(const json_t *list)
{
    const json_t *transform = json_object_get(json_array_get(list, 0), "transform");
    return json_object_get(transform, "headers");
}

bool egress_rules_are_in(const json_t *network)
{
    json_t *rules = json_object_get(network, "rules");
    const char *host;
    json_t *list;
    json_object_foreach(rules, host, list)
    {
        if (json_object_size(headers_of(list)) > 0)
            return true;
    }
    return false;
}

static int add_rule(struct egress_rules *r, const char *host, const json_t *list,
                    struct adit_err *err)
{
    struct egress_rule *rule = &r->at[r->cnt];
    json_t *headers = headers_of(list);
    const char *name;
    json_t *value;
    if (r->cnt == EGRESS_RULES_MAX || !json_is_array(list) ||
        !egress_domain_parse(adit_view_str(host), &rule->domain))
        return refuse(err, "rule");
    r->cnt++;
    json_object_foreach(headers, name, value)
    {
        int rc = add_header(rule, name, value, err);
        if (rc != ADIT_OK)
            return rc;
    }
    return ADIT_OK;
}

int egress_rules_compile(const json_t *network, struct egress_rules **out, struct adit_err *err)
{
    json_t *rules = json_object_get(network, "rules");
    struct egress_rules *r = calloc(1, sizeof(*r));
    const char *host;
    json_t *list;
    if (!r)
        return adit_err_set(err, ADIT_ERR_NO_MEMORY, "no memory for rules");
    r->refs = 1;
    json_object_foreach(rules, host, list)
    {
        int rc = add_rule(r, host, list, err);
        if (rc == ADIT_OK)
            continue;
        egress_rules_unref(r);
        return rc;
    }
    *out = r;
    return ADIT_OK;
}

struct egress_rules *egress_rules_ref(struct egress_rules *r)
{
    r->refs++;
    return r;
}

static void rule_fini(struct egress_rule *rule)
{
    for (size_t i = 0; i < rule->header_cnt; i++) {
        free((char *)(uintptr_t)rule->headers[i].name.ptr);
        free((char *)(uintptr_t)rule->headers[i].value.ptr);
    }
}

void egress_rules_unref(struct egress_rules *r)
{
    if (!r || --r->refs > 0)
        return;
    for (size_t i = 0; i < r->cnt; i++)
        rule_fini(&r->at[i]);
    free(r);
}

bool egress_rules_is_empty(const struct egress_rules *r)
{
    for (size_t i = 0; i < r->cnt; i++)
        if (r->at[i].header_cnt > 0)
            return false;
    return true;
}

static bool is_closer(const struct egress_rule *a, const struct egress_rule *b)
{
    if (!b || a->domain.is_wild != b->domain.is_wild)
        return !b || !a->domain.is_wild;
    return a->domain.len > b->domain.len;
}

const struct egress_rule *egress_rules_find(const struct egress_rules *r, struct adit_view name)
{
    const struct egress_rule *best = NULL;
    for (size_t i = 0; i < r->cnt; i++)
        if (egress_domain_has(&r->at[i].domain, name) && is_closer(&r->at[i], best))
            best = &r->at[i];
    return best;
}

bool egress_rules_sets(const struct egress_rule *rule, struct adit_view header_name)
{
    for (size_t i = 0; rule && i < rule->header_cnt; i++)
        if (adit_view_ieq_str(header_name, rule->headers[i].name.ptr))
            return true;
    return false;
}
