/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Network options.
 *
 * Theory of operation
 *
 * What: members are checked one by one, in the contract's order and words, and kept as they came:
 * details show what was asked for. What is taken here can be judged by (egress_policy.c).
 *
 * Trust: all of it is a client's. Names, addresses, header names and values are bounded and free of
 * what could end a line; the whole is bounded by NETWORK_CONFIG_CAP.
 */
#include "broker/api/network_config.h"

#include <string.h>

#include "broker/egress/egress_proxy_talk.h"
#include "broker/egress/egress_rules.h"
#include "net/ip_block.h"
#include "net/url.h"

/* What is taken here has room there. */
_Static_assert(NETWORK_CONFIG_RULES_MAX <= EGRESS_RULES_MAX, "rules");
_Static_assert(NETWORK_CONFIG_HEADERS_MAX <= EGRESS_RULES_HEADERS_MAX, "headers of a rule");
_Static_assert(NETWORK_CONFIG_PROXY_MAX <= EGRESS_PROXY_CREDENTIAL_MAX, "credentials");

static int refuse(struct adit_err *err, const char *message)
{
    return adit_err_set(err, ADIT_ERR_BAD_INPUT, "%s", message);
}

/* ---- hosts and addresses ---- */

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_label(struct adit_view v, bool *is_number)
{
    *is_number = true;
    for (size_t i = 0; i < v.len; i++) {
        char c = v.ptr[i];
        if (!is_digit(c) && !(c >= 'a' && c <= 'z') && !(c >= 'A' && c <= 'Z') && c != '-' &&
            c != '_')
            return false;
        *is_number &= is_digit(c);
    }
    return v.len > 0 && v.len <= 63;
}

/* "name", "*.name" or "*". A name that ends in a number is meant for an address and is none. */
static bool is_domain(struct adit_view v, size_t max)
{
    bool is_number = false;
    if (adit_view_eq_str(v, "*"))
        return true;
    if (v.len == 0 || v.len > max)
        return false;
    if (adit_view_has_prefix(v, "*."))
        v = adit_view_mem(v.ptr + 2, v.len - 2);
    for (bool more = true; more;) {
        struct adit_view label;
        more = adit_view_split(v, '.', &label, &v);
        if (!is_label(label, &is_number))
            return false;
    }
    return !is_number;
}

/* A host name or address, perhaps with a port, perhaps with ${PORT} in either. */
static bool is_mask_host(const char *text)
{
    static const char placeholder[] = "${PORT}";
    char plain[RECORD_HOST_CAP + 8];
    size_t len = 0;
    for (const char *p = text; *p;) {
        bool is_port = strncmp(p, placeholder, sizeof(placeholder) - 1) == 0;
        if (len + 2 >= sizeof(plain))
            return false;
        plain[len++] = is_port ? '1' : *p;
        p += is_port ? sizeof(placeholder) - 1 : 1;
    }
    struct adit_view name;
    uint16_t port;
    if (url_split_host(adit_view_mem(plain, len), &name, &port))
        return false;
    for (size_t i = 0; i < name.len; i++) {
        unsigned char c = (unsigned char)name.ptr[i];
        if (c <= ' ' || c >= 127 || strchr("/\\?#@\"<>^`{|}%$,;", c))
            return false;
    }
    return true;
}

/* ---- members ---- */

/* An array of at most @max members, or NULL. */
static int take_array(const json_t *obj, const char *key, size_t max, json_t **out,
                      struct adit_err *err)
{
    int rc = jtext_child(obj, key, JSON_ARRAY, out, err);
    if (rc == 0 && json_array_size(*out) > max)
        rc = adit_err_set(err, ADIT_ERR_BAD_INPUT, "validation error: %s: more than %zu entries",
                          key, max);
    return rc;
}

static struct adit_view text_of(const json_t *v)
{
    return (struct adit_view){json_string_value(v), json_string_length(v)};
}

static int check_denied(const json_t *list, bool *denies_all, struct adit_err *err)
{
    size_t i;
    const json_t *item;
    struct ip_block block;
    json_array_foreach(list, i, item)
    {
        struct adit_view v = text_of(item);
        if (!v.ptr || !ip_block_parse(v, &block))
            return adit_err_set(err, ADIT_ERR_BAD_INPUT, "invalid denied CIDR %.*s",
                                (int)(v.len < 80 ? v.len : 80), v.ptr ? v.ptr : "");
        *denies_all |= adit_view_eq_str(v, NETWORK_CONFIG_ALL_TRAFFIC);
    }
    return 0;
}

static int check_allowed(const json_t *list, bool *has_domain, struct adit_err *err)
{
    size_t i;
    const json_t *item;
    struct ip_block block;
    json_array_foreach(list, i, item)
    {
        struct adit_view v = text_of(item);
        if (v.ptr && ip_block_parse(v, &block))
            continue;
        if (!v.ptr || !is_domain(v, NETWORK_CONFIG_ENTRY_MAX))
            return adit_err_set(err, ADIT_ERR_BAD_INPUT, "invalid allowed address or domain %.*s",
                                (int)(v.len < 80 ? v.len : 80), v.ptr ? v.ptr : "");
        *has_domain = true;
    }
    return 0;
}

static int check_lists(const json_t *obj, struct adit_err *err)
{
    json_t *allowed = NULL, *denied = NULL;
    bool has_domain = false, denies_all = false;
    int rc;
    if ((rc = take_array(obj, "denyOut", NETWORK_CONFIG_ENTRIES_MAX, &denied, err)) ||
        (rc = take_array(obj, "allowOut", NETWORK_CONFIG_ENTRIES_MAX, &allowed, err)) ||
        (rc = check_denied(denied, &denies_all, err)) ||
        (rc = check_allowed(allowed, &has_domain, err)))
        return rc;
    if (has_domain && !denies_all)
        return refuse(err, "When specifying allowed domains in allow out, you must include "
                           "'ALL_TRAFFIC' in deny out to block all other traffic.");
    return 0;
}

/* Text for a header or a proxy: no control characters. */
static bool is_plain(struct adit_view v, size_t max)
{
    for (size_t i = 0; i < v.len; i++)
        if ((unsigned char)v.ptr[i] < ' ' || v.ptr[i] == 127)
            return false;
    return v.ptr && v.len <= max;
}

static int check_proxy(const json_t *obj, struct adit_err *err)
{
    static const char *const optional[] = {"username", "password"};
    json_t *proxy = NULL;
    const char *text = NULL;
    struct egress_proxy parsed;
    int rc = jtext_child(obj, "egressProxy", JSON_OBJECT, &proxy, err);
    if (rc || !proxy)
        return rc;
    rc = jtext_string(proxy, "address", &text, err);
    if (rc)
        return rc;
    if (!text || strlen(text) > NETWORK_CONFIG_PROXY_MAX ||
        egress_proxy_parse_address(adit_view_str(text), &parsed))
        return refuse(err, "validation error: egressProxy.address must be host:port");
    for (size_t i = 0; i < sizeof(optional) / sizeof(optional[0]); i++) {
        text = "";
        if ((rc = jtext_string(proxy, optional[i], &text, err)))
            return rc;
        if (!is_plain(adit_view_str(text), NETWORK_CONFIG_PROXY_MAX))
            return adit_err_set(err, ADIT_ERR_BAD_INPUT,
                                "validation error: egressProxy.%s: more than %d characters, or a "
                                "control character",
                                optional[i], NETWORK_CONFIG_PROXY_MAX);
    }
    return 0;
}

static int check_headers(const json_t *rule, struct adit_err *err)
{
    json_t *transform = NULL, *headers = NULL;
    const char *name;
    json_t *value;
    int rc = json_is_object(rule) ? jtext_child(rule, "transform", JSON_OBJECT, &transform, err)
                                  : refuse(err, "validation error: rules: no list of objects");
    if (rc == 0 && transform)
        rc = jtext_child(transform, "headers", JSON_OBJECT, &headers, err);
    if (rc)
        return rc;
    if (json_object_size(headers) > NETWORK_CONFIG_HEADERS_MAX)
        return refuse(err, "validation error: rules: more than 20 headers for a domain");
    json_object_foreach(headers, name, value)
    {
        if (strlen(name) > NETWORK_CONFIG_HEADER_NAME_MAX ||
            !egress_rules_may_set(adit_view_str(name)))
            return refuse(err,
                          "validation error: rules: a header name is not valid, or longer than "
                          "64 characters");
        if (!is_plain(text_of(value), NETWORK_CONFIG_HEADER_VALUE_MAX))
            return refuse(err, "validation error: rules: a header value is not valid, or longer "
                               "than 2048 characters");
    }
    return 0;
}

static int check_rules(const json_t *obj, struct adit_err *err)
{
    json_t *rules = NULL;
    const char *host;
    json_t *list;
    int rc = jtext_child(obj, "rules", JSON_OBJECT, &rules, err);
    if (rc)
        return rc;
    if (json_object_size(rules) > NETWORK_CONFIG_RULES_MAX)
        return refuse(err, "validation error: rules: more than 10 domains");
    json_object_foreach(rules, host, list)
    {
        /* a secret for everybody is none */
        if (strcmp(host, "*") == 0 || !is_domain(adit_view_str(host), NETWORK_CONFIG_RULE_HOST_MAX))
            return refuse(err, "validation error: rules: a domain is not valid, or longer than 128 "
                               "characters");
        if (!json_is_array(list) || json_array_size(list) > 1)
            return refuse(err, "validation error: rules: more than one transform for a domain");
        if (json_array_size(list) && (rc = check_headers(json_array_get(list, 0), err)))
            return rc;
    }
    return 0;
}

static int check_ports(const json_t *obj, struct adit_err *err)
{
    json_t *ports = NULL;
    size_t i;
    const json_t *port;
    int rc = take_array(obj, "httpsPorts", NETWORK_CONFIG_PORTS_MAX, &ports, err);
    json_array_foreach(ports, i, port)
    {
        json_int_t n = json_integer_value(port); /* 0 for what is no number */
        if (n < 1 || n > UINT16_MAX)
            return refuse(err, "validation error: httpsPorts: a port is 1 to 65535");
    }
    return rc;
}

static int check_egress(const json_t *obj, struct adit_err *err)
{
    int rc;
    if ((rc = check_lists(obj, err)) || (rc = check_proxy(obj, err)) ||
        (rc = check_rules(obj, err)))
        return rc;
    return check_ports(obj, err);
}

/* ---- what is kept ---- */

/* Copy those members of @from that are there. */
static int keep(json_t *doc, const json_t *from, const char *const *names, size_t cnt)
{
    for (size_t i = 0; i < cnt; i++) {
        json_t *value = json_object_get(from, names[i]);
        if (value && !json_is_null(value) && json_object_set(doc, names[i], value))
            return ADIT_ERR_NO_MEMORY;
    }
    return 0;
}

static int check_size(const json_t *doc, struct adit_err *err)
{
    struct adit_buf text;
    adit_buf_init(&text, NETWORK_CONFIG_CAP);
    int rc = jtext_append(&text, doc);
    adit_buf_fini(&text);
    if (rc == ADIT_ERR_LIMIT)
        return refuse(err, "validation error: network: larger than 64 KiB");
    return rc ? adit_err_set(err, rc, "no memory") : 0;
}

static const char *const egress_names[] = {"allowOut", "denyOut", "egressProxy", "rules"};
static const char *const other_names[] = {"maskRequestHost", "httpsPorts"};
#define CNT(a) (sizeof(a) / sizeof((a)[0]))

/* @egress: where rules to the outside are from, @rest: what else is kept. */
static int make_doc(const json_t *egress, const json_t *rest, bool is_private, json_t **out,
                    struct adit_err *err)
{
    json_t *doc = json_pack("{s:b}", "allowPublicTraffic", !is_private);
    int rc = doc ? keep(doc, rest, other_names, CNT(other_names)) : ADIT_ERR_NO_MEMORY;
    if (rc == 0)
        rc = keep(doc, egress, egress_names, CNT(egress_names));
    rc = rc ? adit_err_set(err, rc, "no memory") : check_size(doc, err);
    if (rc)
        json_decref(doc);
    else
        *out = doc;
    return rc;
}

static int take_mask_host(const json_t *network, struct network_config *out, struct adit_err *err)
{
    const char *text = NULL;
    int rc = jtext_string(network, "maskRequestHost", &text, err);
    if (rc || !text || !text[0])
        return rc;
    if (strlen(text) >= RECORD_HOST_CAP || !is_mask_host(text))
        return refuse(err, "validation error: network.maskRequestHost is not a valid host");
    memcpy(out->mask_host, text, strlen(text) + 1);
    return 0;
}

int network_config_parse(const json_t *network, struct network_config *out, struct adit_err *err)
{
    bool is_public = true;
    int rc;
    *out = (struct network_config){0};
    if ((rc = jtext_bool(network, "allowPublicTraffic", &is_public, err)) ||
        (rc = take_mask_host(network, out, err)) || (rc = check_egress(network, err)))
        return rc;
    out->is_private = !is_public;
    return make_doc(network, network, out->is_private, &out->doc, err);
}

int network_config_update(struct adit_view body, const json_t *current, bool is_private,
                          json_t **doc, enum record_internet *internet, struct adit_err *err)
{
    json_t *wanted = NULL;
    bool allowed = true;
    int rc = jtext_parse(body, &wanted, err);
    if (rc == 0)
        rc = jtext_bool(wanted, "allow_internet_access", &allowed, err);
    if (rc == 0)
        rc = check_egress(wanted, err);
    if (rc == 0)
        rc = make_doc(wanted, current, is_private, doc, err);
    *internet = !json_is_boolean(json_object_get(wanted, "allow_internet_access"))
                    ? RECORD_INTERNET_UNSAID
                : allowed ? RECORD_INTERNET_ALLOWED
                          : RECORD_INTERNET_DENIED;
    json_decref(wanted);
    return rc;
}

json_t *network_config_shown(const json_t *doc)
{
    json_t *shown = json_copy((json_t *)(uintptr_t)doc);
    json_t *proxy = json_object_get(shown, "egressProxy");
    json_t *without = proxy ? json_copy(proxy) : NULL;
    if (!proxy)
        return shown;
    (void)json_object_del(without, "password"); /* may not be there */
    if (json_object_set_new(shown, "egressProxy", without) == 0)
        return shown;
    json_decref(shown);
    return NULL;
}
