/* SPDX-License-Identifier: Apache-2.0 */
/* Sandboxes with rules for headers: their authority, and what their guests are told. */
#include "tests/unit/suite.h"

#include "node_fixture.h"

#include "broker/egress/egress_authority.h"

static json_t *rules(const char *host)
{
    return json_pack("{s:{s:[{s:{s:{s:s}}}]}}", "rules", host, "transform", "headers", "X-Key",
                     "s3cret");
}

static void on_changed(void *user, const struct adit_err *err)
{
    struct world *w = user;
    w->saved_cnt++;
    w->last.code = err ? err->code : 0;
}

static int set_rules(struct world *w, const char *host, struct adit_err *err)
{
    json_t *network = host ? rules(host) : NULL;
    struct sandbox *s = node_find(w->node, "red", "ia");
    int rc = node_set_network(s, network, RECORD_INTERNET_UNSAID, on_changed, w, err);
    json_decref(network);
    return rc;
}

static const char *authority(const struct world *w)
{
    return node_record(node_find(w->node, "red", "ia"))->authority;
}

/* The last /init names that authority, and not its key. */
static bool was_told(const struct world *w, const char *pem)
{
    struct adit_view text = adit_buf_view(&w->vmm.told);
    json_t *doc = json_loadb(text.ptr, text.len, 0, NULL);
    const char *bundle = json_string_value(json_object_get(doc, "caBundle"));
    bool is_told = bundle && strcmp(bundle, egress_authority_certificate(pem)) == 0;
    ck_assert(!bundle || !strstr(bundle, "PRIVATE"));
    json_decref(doc);
    return is_told;
}

START_TEST(node_gives_a_sandbox_with_rules_for_headers_an_authority)
{
    struct world w;
    json_t *network = rules("a.example");
    open_world(&w);
    ck_assert_int_eq(create_with(&w, "ia", 60000, network, NULL), 0);
    run_until(&w, &w.created_cnt, 1);
    json_decref(network);
    ck_assert_ptr_nonnull(authority(&w));
    ck_assert(was_told(&w, authority(&w)));
    ck_assert_uint_eq(w.vmm.inits, 1);
    ck_assert_int_eq(set_rules(&w, "b.example", NULL), 0);
    run_until(&w, &w.saved_cnt, 1);
    ck_assert_uint_eq(w.vmm.inits, 1); /* it knows it */
    close_world(&w);
}
END_TEST

START_TEST(node_gives_no_other_sandbox_an_authority)
{
    struct world w;
    json_t *network = json_pack("{s:{s:[]}}", "rules", "a.example");
    open_world(&w);
    ck_assert_int_eq(create_with(&w, "ia", 60000, network, NULL), 0);
    run_until(&w, &w.created_cnt, 1);
    json_decref(network);
    ck_assert_ptr_null(authority(&w));
    close_world(&w);
}
END_TEST

START_TEST(node_tells_a_guest_before_its_first_rules_are_in_force)
{
    struct world w;
    struct adit_err err = ADIT_ERR_INIT;
    char pem[EGRESS_AUTHORITY_CAP];
    open_world(&w);
    create_running(&w, "ia");
    ck_assert_int_eq(set_rules(&w, "a.example", NULL), 0);
    ck_assert_int_eq(set_rules(&w, "b.example", &err), ADIT_ERR_CONFLICT);
    ck_assert_ptr_null(node_record(node_find(w.node, "red", "ia"))->network);
    run_until(&w, &w.saved_cnt, 1);
    ck_assert_int_eq(w.last.code, 0);
    ck_assert_uint_eq(w.vmm.inits, 2);
    ck_assert_uint_eq(w.egress_updated, 1);
    (void)snprintf(pem, sizeof(pem), "%s", authority(&w));
    ck_assert(was_told(&w, pem));
    ck_assert_int_eq(set_rules(&w, NULL, NULL), 0);
    ck_assert_int_eq(set_rules(&w, "b.example", NULL), 0);
    run_until(&w, &w.saved_cnt, 3);
    ck_assert_uint_eq(w.vmm.inits, 2);
    forget_node(&w);
    open_node(&w);
    node_adopt(w.node);
    ck_assert_str_eq(authority(&w), pem);
    close_world(&w);
}
END_TEST

START_TEST(node_keeps_the_rules_of_a_guest_that_cannot_be_told)
{
    struct world w;
    open_world(&w);
    create_running(&w, "ia");
    w.vmm.init_status = _i == 0 ? 500 : 503; /* no; not before the time is over */
    ck_assert_int_eq(set_rules(&w, "a.example", NULL), 0);
    run_until(&w, &w.saved_cnt, 1);
    ck_assert_int_eq(w.last.code, _i == 0 ? ADIT_ERR_UNAVAILABLE : ADIT_ERR_TIMEOUT);
    ck_assert_ptr_null(node_record(node_find(w.node, "red", "ia"))->network);
    ck_assert_ptr_null(authority(&w));
    w.vmm.init_status = 204;
    ck_assert_int_eq(set_rules(&w, "a.example", NULL), 0);
    run_until(&w, &w.saved_cnt, 2);
    ck_assert_int_eq(w.last.code, 0);
    close_world(&w);
}
END_TEST

START_TEST(node_ends_a_sandbox_whose_guest_is_being_told)
{
    struct world w;
    open_world(&w);
    create_running(&w, "ia");
    w.vmm.init_status = 503;
    ck_assert_int_eq(set_rules(&w, "a.example", NULL), 0);
    node_kill(node_find(w.node, "red", "ia"), "test", on_ended, &w);
    ck_assert_uint_eq(w.saved_cnt, 1);
    ck_assert_int_eq(w.last.code, ADIT_ERR_UNAVAILABLE);
    run_until(&w, &w.ended_cnt, 1);
    close_world(&w);
}
END_TEST

START_TEST(node_stops_while_a_guest_is_being_told)
{
    struct world w;
    open_world(&w);
    create_running(&w, "ia");
    w.vmm.init_status = 503;
    ck_assert_int_eq(set_rules(&w, "a.example", NULL), 0);
    close_world(&w);
}
END_TEST

SUITE_MAIN_WITH("node_trust",
                TESTS(node_gives_a_sandbox_with_rules_for_headers_an_authority,
                      node_gives_no_other_sandbox_an_authority,
                      node_tells_a_guest_before_its_first_rules_are_in_force,
                      node_ends_a_sandbox_whose_guest_is_being_told,
                      node_stops_while_a_guest_is_being_told),
                LOOPS({node_keeps_the_rules_of_a_guest_that_cannot_be_told, 2}))
