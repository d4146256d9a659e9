/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The documents that the control API answers with.
 *
 * Theory of operation
 *
 * Members and their presence are the contract's (section 7): what is optional is left out rather
 * than null. One member is our own, "isolation": nobody is told that a container is a virtual
 * machine.
 */
#include "base/clock.h"
#include "base/version.h"
#include "broker/api/api.h"
#include "broker/api/network_config.h"
#include "broker/egress/egress.h"

/* Add @take_value; false without memory. */
static bool add(json_t *doc, const char *key, json_t *take_value)
{
    return json_object_set_new(doc, key, take_value) == 0;
}

static bool add_alias(json_t *doc, const struct record *r)
{
    return !r->alias[0] || add(doc, "alias", json_string(r->alias));
}

static bool add_envd_token(json_t *doc, const struct broker *b, const struct record *r)
{
    char token[TOKENS_CAP];
    if (!r->secure)
        return true;
    tokens_envd(&b->tokens, r->sandbox_id, record_generation(r), token);
    return add(doc, "envdAccessToken", json_string(token));
}

static bool add_traffic_token(json_t *doc, const struct broker *b, const struct record *r)
{
    char token[TOKENS_CAP];
    if (!r->is_private)
        return true;
    tokens_traffic(&b->tokens, r->sandbox_id, record_generation(r), token);
    return add(doc, "trafficAccessToken", json_string(token));
}

static json_t *checked(json_t *doc, bool is_whole)
{
    if (is_whole)
        return doc;
    json_decref(doc);
    return NULL;
}

/* What every form has. */
static json_t *names(const struct sandbox *s)
{
    const struct record *r = node_record(s);
    json_t *doc = json_pack("{s:s, s:s, s:s, s:s, s:s}", "templateID", r->template_id, "sandboxID",
                            r->sandbox_id, "clientID", SANDBOX_ID_CLIENT, "envdVersion",
                            ADIT_ENVD_VERSION, "isolation", node_isolation(s));
    return doc ? checked(doc, add_alias(doc, r)) : NULL;
}

static bool add_figures(json_t *doc, const struct record *r)
{
    char started[ADIT_CLOCK_RFC3339_CAP], end[ADIT_CLOCK_RFC3339_CAP];
    adit_clock_format_rfc3339(r->started_ns, started);
    adit_clock_format_rfc3339(r->end_ns, end);
    return add(doc, "startedAt", json_string(started)) && add(doc, "endAt", json_string(end)) &&
           add(doc, "cpuCount", json_integer((json_int_t)r->cpu_count)) &&
           add(doc, "memoryMB", json_integer((json_int_t)r->memory_mb)) &&
           add(doc, "diskSizeMB", json_integer((json_int_t)r->disk_mb)) &&
           add(doc, "state", json_string("running")) &&
           add(doc, "metadata", json_incref(r->metadata)) && add(doc, "volumeMounts", json_array());
}

json_t *api_json_sandbox(const struct broker *b, const struct sandbox *s)
{
    const struct record *r = node_record(s);
    json_t *doc = names(s);
    return doc ? checked(doc, add(doc, "domain", json_string(b->conf.domain)) &&
                                  add_envd_token(doc, b, r) && add_traffic_token(doc, b, r))
               : NULL;
}

json_t *api_json_listed(const struct sandbox *s)
{
    const struct record *r = node_record(s);
    json_t *doc = names(s);
    return doc ? checked(doc, add_figures(doc, r)) : NULL;
}

/* Ours, beside what the reference shows. */
static bool add_egress_mode(json_t *doc, const struct sandbox *s)
{
    const char *mode = node_egress(s) ? egress_mode(node_egress(s)) : NULL;
    return !mode || add(doc, "egressMode", json_string(mode));
}

static bool add_options(json_t *doc, const struct record *r)
{
    if (r->internet != RECORD_INTERNET_UNSAID &&
        !add(doc, "allowInternetAccess", json_boolean(r->internet == RECORD_INTERNET_ALLOWED)))
        return false;
    if (r->network && !add(doc, "network", network_config_shown(r->network)))
        return false;
    return add(doc, "lifecycle", json_pack("{s:b, s:s}", "autoResume", 0, "onTimeout", "kill"));
}

json_t *api_json_detail(const struct broker *b, const struct sandbox *s)
{
    const struct record *r = node_record(s);
    json_t *doc = api_json_listed(s);
    return doc ? checked(doc, add(doc, "domain", json_string(b->conf.domain)) &&
                                  add_envd_token(doc, b, r) && add_options(doc, r) &&
                                  add_egress_mode(doc, s))
               : NULL;
}
