/* SPDX-License-Identifier: Apache-2.0 */
/* Network options: which are taken, which refused and in which words, and what an update keeps. */
#include "tests/unit/suite.h"

#include "broker/api/network_config.h"

#define DOMAINS_NEED                                                                               \
    "When specifying allowed domains in allow out, you must include 'ALL_TRAFFIC' in deny out"

static const struct {
    const char *body, *message; /* NULL: taken */
} bodies[] = {
    {"{}", NULL},
    {"", NULL},
    {"{\"allowOut\":null,\"denyOut\":null,\"rules\":null,\"egressProxy\":null}", NULL},
    {"{\"denyOut\":[\"0.0.0.0/0\"]}", NULL},
    {"{\"denyOut\":[\"10.0.0.1\",\"10.0.0.0/8\",\"::1\",\"fe80::/10\",\"::/0\"]}", NULL},
    {"{\"denyOut\":[\"10.0.0.0/33\"]}", "invalid denied CIDR 10.0.0.0/33"},
    {"{\"denyOut\":[\"10.0.0.0/08\"]}", "invalid denied CIDR 10.0.0.0/08"},
    {"{\"denyOut\":[\"10.0.0.0/\"]}", "invalid denied CIDR 10.0.0.0/"},
    {"{\"denyOut\":[\"10.0.0/8\"]}", "invalid denied CIDR 10.0.0/8"},
    {"{\"denyOut\":[\"fe80::/129\"]}", "invalid denied CIDR fe80::/129"},
    {"{\"denyOut\":[\"example.com\"]}", "invalid denied CIDR example.com"},
    {"{\"denyOut\":[\"\"]}", "invalid denied CIDR "},
    {"{\"denyOut\":[7]}", "invalid denied CIDR "},
    {"{\"denyOut\":\"0.0.0.0/0\"}", "validation error: denyOut must be an array"},
    {"{\"allowOut\":[\"1.1.1.1\",\"8.8.8.0/24\"]}", NULL},
    {"{\"allowOut\":[\"example.com\"]}", DOMAINS_NEED},
    {"{\"allowOut\":[\"*\"],\"denyOut\":[\"10.0.0.0/8\"]}", DOMAINS_NEED},
    {"{\"allowOut\":[\"*.example.com\",\"a-b.c_d\",\"*\"],\"denyOut\":[\"0.0.0.0/0\"]}", NULL},
    {"{\"allowOut\":[\"a..b\"],\"denyOut\":[\"0.0.0.0/0\"]}", "invalid allowed address or domain"},
    {"{\"allowOut\":[\"a*b\"],\"denyOut\":[\"0.0.0.0/0\"]}", "invalid allowed address or domain"},
    {"{\"allowOut\":[\"1.2.3.400\"],\"denyOut\":[\"0.0.0.0/0\"]}",
     "invalid allowed address or domain"},
    {"{\"allowOut\":[\"a.com/8\"],\"denyOut\":[\"0.0.0.0/0\"]}",
     "invalid allowed address or domain"},
    {"{\"egressProxy\":{\"address\":\"proxy:1080\",\"username\":\"u\",\"password\":\"p\"}}", NULL},
    {"{\"egressProxy\":{\"address\":\"http://proxy:3128\"}}", NULL},
    {"{\"egressProxy\":{\"address\":\"https://proxy:3128\"}}",
     "validation error: egressProxy.address must be host:port"},
    {"{\"egressProxy\":{}}", "validation error: egressProxy.address must be host:port"},
    {"{\"egressProxy\":{\"address\":\"proxy\"}}", "validation error: egressProxy.address must be"},
    {"{\"egressProxy\":{\"address\":\"p:1\",\"username\":\"a\\nb\"}}",
     "validation error: egressProxy.username"},
    {"{\"rules\":{\"api.example.com\":[{\"transform\":{\"headers\":{\"X-A\":\"b\"}}}]}}", NULL},
    {"{\"rules\":{\"a.com\":[]}}", NULL},
    {"{\"rules\":{\"a.com\":[{},{}]}}", "validation error: rules: more than one transform"},
    {"{\"rules\":{\"a.com\":{}}}", "validation error: rules: more than one transform"},
    {"{\"rules\":{\"a.com\":[7]}}", "validation error: rules: no list of objects"},
    {"{\"rules\":{\"a b\":[]}}", "validation error: rules: a domain"},
    {"{\"rules\":{\"*\":[]}}", "validation error: rules: a domain"},
    {"{\"rules\":{\"*.com\":[]}}", NULL},
    {"{\"rules\":{\"a.com\":[{\"transform\":{\"headers\":{\"X A\":\"b\"}}}]}}",
     "validation error: rules: a header name"},
    {"{\"rules\":{\"a.com\":[{\"transform\":{\"headers\":{\"Content-Length\":\"7\"}}}]}}",
     "validation error: rules: a header name"},
    {"{\"rules\":{\"a.com\":[{\"transform\":{\"headers\":{\"X-A\":\"b\\r\\nX: y\"}}}]}}",
     "validation error: rules: a header value"},
    {"{\"rules\":{\"a.com\":[{\"transform\":{\"headers\":{\"X-A\":1}}}]}}",
     "validation error: rules: a header value"},
    {"{\"rules\":{\"0\":[],\"a\":[],\"b\":[],\"c\":[],\"d\":[],\"e\":[],\"f\":[],\"g\":[],\"h\":[],"
     "\"i\":[],\"j\":[]}}",
     "validation error: rules: more than 10 domains"},
    {"{\"httpsPorts\":[443,8443]}", NULL},
    {"{\"httpsPorts\":[0]}", "validation error: httpsPorts: a port"},
    {"{\"httpsPorts\":[65536]}", "validation error: httpsPorts: a port"},
    {"{\"httpsPorts\":[\"443\"]}", "validation error: httpsPorts: a port"},
    {"{\"allow_internet_access\":\"no\"}", "validation error: allow_internet_access must be"},
    {"[]", "Error when parsing request"},
};

START_TEST(network_config_judges)
{
    struct adit_err err = ADIT_ERR_INIT;
    enum record_internet internet;
    json_t *doc = NULL;
    int rc =
        network_config_update(adit_view_str(bodies[_i].body), NULL, false, &doc, &internet, &err);
    if (!bodies[_i].message) {
        ck_assert_msg(rc == 0 && doc, "%s: %s", bodies[_i].body, err.msg);
        json_decref(doc);
        return;
    }
    ck_assert_msg(rc == ADIT_ERR_BAD_INPUT && !doc, "%s", bodies[_i].body);
    ck_assert_msg(adit_view_has_prefix(adit_view_str(err.msg), bodies[_i].message), "%s", err.msg);
}
END_TEST

static void shows(const json_t *doc, const char *text)
{
    struct adit_buf b;
    adit_buf_init(&b, 4096);
    ck_assert_int_eq(jtext_append(&b, doc), 0);
    ck_assert_msg(adit_view_eq_str(adit_buf_view(&b), text), "%.*s",
                  ADIT_VIEW_ARG(adit_buf_view(&b)));
    adit_buf_fini(&b);
}

START_TEST(network_config_update_replaces_the_rules_and_keeps_the_rest)
{
    static const char created[] = "{\"allowPublicTraffic\":false,\"maskRequestHost\":\"h:${PORT}\","
                                  "\"httpsPorts\":[443],\"denyOut\":[\"0.0.0.0/0\"],"
                                  "\"allowOut\":[\"a.com\"],\"future\":1}";
    struct network_config c;
    struct adit_err err = ADIT_ERR_INIT;
    enum record_internet internet;
    json_t *network = NULL, *doc = NULL;
    ck_assert_int_eq(jtext_parse(adit_view_str(created), &network, NULL), 0);
    ck_assert_msg(network_config_parse(network, &c, &err) == 0, "%s", err.msg);
    ck_assert(c.is_private);
    ck_assert_str_eq(c.mask_host, "h:${PORT}");
    shows(c.doc, "{\"allowPublicTraffic\":false,\"maskRequestHost\":\"h:${PORT}\","
                 "\"httpsPorts\":[443],\"allowOut\":[\"a.com\"],\"denyOut\":[\"0.0.0.0/0\"]}");
    ck_assert_int_eq(
        network_config_update(adit_view_str("{\"egressProxy\":{\"address\":\"p:1\",\"password\":"
                                            "\"x\"},\"allow_internet_access\":false}"),
                              c.doc, true, &doc, &internet, &err),
        0);
    ck_assert_int_eq(internet, RECORD_INTERNET_DENIED);
    json_t *shown = network_config_shown(doc);
    shows(doc, "{\"allowPublicTraffic\":false,\"maskRequestHost\":\"h:${PORT}\",\"httpsPorts\":"
               "[443],\"egressProxy\":{\"address\":\"p:1\",\"password\":\"x\"}}");
    shows(shown, "{\"allowPublicTraffic\":false,\"maskRequestHost\":\"h:${PORT}\",\"httpsPorts\":"
                 "[443],\"egressProxy\":{\"address\":\"p:1\"}}");
    json_decref(shown);
    json_decref(doc);
    ck_assert_int_eq(network_config_update(adit_view_str("{}"), NULL, false, &doc, &internet, &err),
                     0);
    ck_assert_int_eq(internet, RECORD_INTERNET_UNSAID);
    shows(doc, "{\"allowPublicTraffic\":true}");
    json_decref(doc);
    json_decref(c.doc);
    json_decref(network);
}
END_TEST

START_TEST(network_config_is_bounded)
{
    struct adit_err err = ADIT_ERR_INIT;
    enum record_internet internet;
    json_t *doc = NULL;
    struct adit_buf b;
    adit_buf_init(&b, 1024 * 1024);
    ck_assert_int_eq(adit_buf_append_str(&b, "{\"rules\":{"), 0);
    for (int host = 0; host < 10; host++) {
        ck_assert_int_eq(adit_buf_appendf(&b, "%s\"h%d.com\":[{\"transform\":{\"headers\":{",
                                          host ? "," : "", host),
                         0);
        for (int i = 0; i < 20; i++)
            ck_assert_int_eq(adit_buf_appendf(&b, "%s\"X-%d\":\"%02000d\"", i ? "," : "", i, 0), 0);
        ck_assert_int_eq(adit_buf_append_str(&b, "}}}]"), 0);
    }
    ck_assert_int_eq(adit_buf_append_str(&b, "}}"), 0);
    ck_assert_int_eq(network_config_update(adit_buf_view(&b), NULL, false, &doc, &internet, &err),
                     ADIT_ERR_BAD_INPUT);
    ck_assert_str_eq(err.msg, "validation error: network: larger than 64 KiB");
    adit_buf_fini(&b);
}
END_TEST

SUITE_MAIN_WITH("network_config",
                TESTS(network_config_update_replaces_the_rules_and_keeps_the_rest,
                      network_config_is_bounded),
                LOOPS({network_config_judges, sizeof(bodies) / sizeof(bodies[0])}))
