/* SPDX-License-Identifier: Apache-2.0 */
/* What a request is for: every spelling of a host, an id and a port has one meaning or is refused.
 */
#include "broker/edge/edge_target.h"

#include "tests/unit/suite.h"
#include <stdlib.h>

static const struct adit_view domain = ADIT_VIEW("adit.test");

struct row {
    const char *host, *id, *port;
    enum edge_target_kind kind;
    const char *expect; /* "id:port" or the refusal */
};

static const struct row rows[] = {
    /* by host */
    {"3000-iabc.adit.test", NULL, NULL, EDGE_TARGET_SANDBOX, "iabc:3000"},
    {"3000-iabc.adit.test:8443", NULL, NULL, EDGE_TARGET_SANDBOX, "iabc:3000"},
    {"3000-iabc.ADIT.Test", NULL, NULL, EDGE_TARGET_SANDBOX, "iabc:3000"},
    {"3000-iabc.adit.test.", NULL, NULL, EDGE_TARGET_SANDBOX, "iabc:3000"},
    {"49983-iabc-6532622b.adit.test", NULL, NULL, EDGE_TARGET_SANDBOX, "iabc:49983"},
    {"03000-iabc.adit.test", NULL, NULL, EDGE_TARGET_REFUSED, "Invalid sandbox port"},
    {"+3000-iabc.adit.test", NULL, NULL, EDGE_TARGET_REFUSED, "Invalid host"},
    {"3000.0-iabc.adit.test", NULL, NULL, EDGE_TARGET_REFUSED, "Invalid sandbox port"},
    {"0-iabc.adit.test", NULL, NULL, EDGE_TARGET_REFUSED, "Invalid sandbox port"},
    {"65536-iabc.adit.test", NULL, NULL, EDGE_TARGET_REFUSED, "Invalid sandbox port"},
    {"a-iabc.adit.test", NULL, NULL, EDGE_TARGET_REFUSED, "Invalid sandbox port"},
    {"3000-IABC.adit.test", NULL, NULL, EDGE_TARGET_REFUSED, "Invalid sandbox ID"},
    {"3000-.adit.test", NULL, NULL, EDGE_TARGET_REFUSED, "Invalid sandbox ID"},
    {"3000-i_c.adit.test", NULL, NULL, EDGE_TARGET_REFUSED, "Invalid sandbox ID"},
    {"3000-i{c.adit.test", NULL, NULL, EDGE_TARGET_REFUSED, "Invalid host"},
    {"3000-i:c.adit.test", NULL, NULL, EDGE_TARGET_REFUSED, "Invalid host"},
    {"user@3000-iabc.adit.test", NULL, NULL, EDGE_TARGET_REFUSED, "Invalid host"},
    {"3000-iabc.adit.test:080", NULL, NULL, EDGE_TARGET_REFUSED, "Invalid host"},
    /* the control API */
    {"api.adit.test", NULL, NULL, EDGE_TARGET_API, NULL},
    {"adit.test", NULL, NULL, EDGE_TARGET_API, NULL},
    {"localhost:3000", NULL, NULL, EDGE_TARGET_API, NULL},
    {"127.0.0.1", NULL, NULL, EDGE_TARGET_API, NULL},
    {"[::1]:3000", NULL, NULL, EDGE_TARGET_API, NULL},
    {"3000-iabc.other.test", NULL, NULL, EDGE_TARGET_API, NULL},
    {"my-balancer.corp.test", NULL, NULL, EDGE_TARGET_API, NULL},
    {"", NULL, NULL, EDGE_TARGET_API, NULL},
    /* by header */
    {"localhost:3000", "iabc", "49983", EDGE_TARGET_SANDBOX, "iabc:49983"},
    {"sandbox.adit.test", "iabc", "49983", EDGE_TARGET_SANDBOX, "iabc:49983"},
    {"my-balancer.corp.test", "iabc", "1", EDGE_TARGET_SANDBOX, "iabc:1"},
    {"localhost", "iabc", NULL, EDGE_TARGET_REFUSED, "missing header"},
    {"localhost", NULL, "49983", EDGE_TARGET_REFUSED, "missing header"},
    {"localhost", "", "49983", EDGE_TARGET_REFUSED, "Invalid sandbox ID"},
    {"localhost", "iabc", "", EDGE_TARGET_REFUSED, "Invalid sandbox port"},
    {"localhost", "iabc", "049983", EDGE_TARGET_REFUSED, "Invalid sandbox port"},
    {"localhost", "iabc", "+49983", EDGE_TARGET_REFUSED, "Invalid sandbox port"},
    {"localhost", "iabc", "49983.0", EDGE_TARGET_REFUSED, "Invalid sandbox port"},
    {"localhost", "iabc", " 49983", EDGE_TARGET_REFUSED, "Invalid sandbox port"},
    {"localhost", "i{c", "49983", EDGE_TARGET_REFUSED, "Invalid sandbox ID"},
    {"localhost", "i:c", "49983", EDGE_TARGET_REFUSED, "Invalid sandbox ID"},
    {"localhost", "../iabc", "49983", EDGE_TARGET_REFUSED, "Invalid sandbox ID"},
    {"localhost", "iabc-6532622b", "49983", EDGE_TARGET_REFUSED, "Invalid sandbox ID"},
    /* the control API's own name and paths, which some clients call with the headers set */
    {"api.adit.test", "iabc", "49983", EDGE_TARGET_API, NULL},
    {"API.adit.test:443", "iabc", NULL, EDGE_TARGET_API, NULL},
    {"apis.adit.test", "iabc", "49983", EDGE_TARGET_SANDBOX, "iabc:49983"},
    /* both */
    {"3000-iabc.adit.test", "iabc", "3000", EDGE_TARGET_SANDBOX, "iabc:3000"},
    {"3000-iabc.adit.test", "iabd", "3000", EDGE_TARGET_REFUSED,
     "Host and E2b-Sandbox-Id name different sandboxes"},
    {"3000-iabc.adit.test", "iabc", "3001", EDGE_TARGET_REFUSED,
     "Host and E2b-Sandbox-Port name different ports"},
    {"49983-iabc.adit.test", "iabc", "049983", EDGE_TARGET_REFUSED,
     "Host and E2b-Sandbox-Id name different sandboxes"},
};

static struct adit_view optional(const char *s)
{
    return adit_view_str(s);
}

START_TEST(edge_target_reads_each_spelling_one_way)
{
    const struct row *r = &rows[_i];
    struct edge_target_input in = {
        .host = adit_view_str(r->host), .id = optional(r->id), .port = optional(r->port)};
    struct edge_target t;
    char got[160] = "";

    edge_target_parse(&in, domain, &t);
    ck_assert_msg(t.kind == r->kind, "host '%s' id '%s' port '%s': kind %d, not %d (%s)", r->host,
                  r->id ? r->id : "-", r->port ? r->port : "-", t.kind, r->kind,
                  t.refusal ? t.refusal : "");
    if (t.kind == EDGE_TARGET_SANDBOX)
        snprintf(got, sizeof(got), "%.*s:%u", ADIT_VIEW_ARG(t.sandbox_id), t.port);
    else if (t.kind == EDGE_TARGET_REFUSED)
        snprintf(got, sizeof(got), "%s", t.refusal);
    if (r->expect != NULL)
        ck_assert_str_eq(got, r->expect);
}
END_TEST

/* Only envd's port gives up a path, and only by header: a host name says what is meant. */
START_TEST(edge_target_leaves_the_control_api_its_paths)
{
    static const struct {
        const char *host, *port, *path;
        enum edge_target_kind kind;
    } cases[] = {
        {"localhost", "49983", "/sandboxes/iabc/connect", EDGE_TARGET_API},
        {"localhost", "8000", "/sandboxes/iabc/connect", EDGE_TARGET_SANDBOX},
        {"localhost", "49983", "/sandboxes/", EDGE_TARGET_SANDBOX},
        {"localhost", "49983", "/files?path=/sandboxes/x", EDGE_TARGET_SANDBOX},
        {"49983-iabc.adit.test", "49983", "/sandboxes/iabc/connect", EDGE_TARGET_SANDBOX},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct edge_target_input in = {.host = adit_view_str(cases[i].host),
                                       .id = ADIT_VIEW("iabc"),
                                       .port = adit_view_str(cases[i].port),
                                       .path = adit_view_str(cases[i].path)};
        struct edge_target t;

        edge_target_parse(&in, domain, &t);
        ck_assert_msg(t.kind == cases[i].kind, "case %zu: kind %d", i, t.kind);
    }
}
END_TEST

START_TEST(edge_target_refuses_an_id_longer_than_the_table_holds)
{
    char id[EDGE_ID_CAP + 1];
    struct edge_target_input in = {.host = ADIT_VIEW("localhost"), .port = ADIT_VIEW("80")};
    struct edge_target t;

    memset(id, 'a', sizeof(id));
    in.id = adit_view_mem(id, EDGE_ID_CAP);
    edge_target_parse(&in, domain, &t);
    ck_assert_int_eq(t.kind, EDGE_TARGET_REFUSED);
    in.id.len--;
    edge_target_parse(&in, domain, &t);
    ck_assert_int_eq(t.kind, EDGE_TARGET_SANDBOX);
}
END_TEST

START_TEST(edge_target_knows_a_domain_in_any_case)
{
    struct edge_target_input in = {.host = ADIT_VIEW("3000-iabc.adit.test")};
    struct edge_target t;

    edge_target_parse(&in, adit_view_str("Adit.TEST"), &t);
    ck_assert_int_eq(t.kind, EDGE_TARGET_SANDBOX);
}
END_TEST

START_TEST(edge_target_keeps_the_channel_ports_to_the_host)
{
    ck_assert(edge_target_is_reserved(1024));
    ck_assert(edge_target_is_reserved(1025));
    ck_assert(edge_target_is_reserved(1026));
    ck_assert(!edge_target_is_reserved(1023));
    ck_assert(!edge_target_is_reserved(49983));
}
END_TEST

START_TEST(edge_target_knows_envds_control_routes)
{
    static const char *const control[] = {"/init",     "/freeze", "/unfreeze", "/collapse",
                                          "/fsfreeze", "/fsthaw", "/upgrade"};

    for (size_t i = 0; i < sizeof(control) / sizeof(control[0]); i++)
        ck_assert(edge_target_is_envd_control(adit_view_str(control[i])));
    ck_assert(!edge_target_is_envd_control(adit_view_str("/health")));
    ck_assert(!edge_target_is_envd_control(adit_view_str("/initial")));
    ck_assert(!edge_target_is_envd_control(adit_view_str("/")));
}
END_TEST

START_TEST(edge_target_in_absolute_form_names_one_host)
{
    static const struct {
        const char *host, *path;
        bool is_refused;
    } targets[] = {
        {"api.adit.test", "http://api.adit.test/v2/sandboxes", false},
        {"49983-iabc.adit.test", "http://49983-iabc.adit.test/init", false},
        {"api.adit.test", "http://49983-iabc.adit.test/init", true},
        {"49983-iabc.adit.test", "http://api.adit.test/init", true},
        {"localhost", "http://x@localhost/", true},
        {"", "http://localhost/", true},
        {"localhost", "/http://other/", false},
    };

    for (size_t i = 0; i < sizeof(targets) / sizeof(targets[0]); i++) {
        struct edge_target_input in = {.host = adit_view_str(targets[i].host),
                                       .path = adit_view_str(targets[i].path)};
        struct edge_target t;

        edge_target_parse(&in, domain, &t);
        ck_assert_msg((t.kind == EDGE_TARGET_REFUSED) == targets[i].is_refused, "%s at %s",
                      targets[i].path, targets[i].host);
    }
}
END_TEST

SUITE_MAIN_WITH("edge_target",
                TESTS(edge_target_in_absolute_form_names_one_host,
                      edge_target_leaves_the_control_api_its_paths,
                      edge_target_refuses_an_id_longer_than_the_table_holds,
                      edge_target_knows_a_domain_in_any_case,
                      edge_target_keeps_the_channel_ports_to_the_host,
                      edge_target_knows_envds_control_routes),
                LOOPS({edge_target_reads_each_spelling_one_way, sizeof(rows) / sizeof(rows[0])}))
