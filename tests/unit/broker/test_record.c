/* SPDX-License-Identifier: Apache-2.0 */
/* Sandbox records: what is written is read again, and nothing torn or odd is taken. */
#include "broker/node/record.h"

#include "tests/unit/suite.h"
#include <stdlib.h>

static void fill(struct record *r)
{
    ck_assert_int_eq(record_init(r), 0);
    strcpy(r->sandbox_id, "iabc0123456789");
    strcpy(r->team_id, "5a1f");
    strcpy(r->template_id, "tbase");
    strcpy(r->alias, "base");
    r->state = SANDBOX_RUNNING;
    r->started_ns = 1795248000123456789;
    r->end_ns = 1795248300123456789;
    r->cpu_count = 2;
    r->memory_mb = 512;
    r->disk_mb = 1024;
    r->secure = true;
    r->is_private = true;
    r->internet = RECORD_INTERNET_DENIED;
    strcpy(r->mask_host, "host.example:${PORT}");
    json_object_set_new(r->metadata, "k\xc3\xa4y", json_string("v=&%"));
    r->network = json_pack("{s:b}", "allowPublicTraffic", 0);
    r->authority = strdup("a key\nand a certificate\n");
    strcpy(r->session.id, "user@example");
    strcpy(r->session.type, "code_interpreter");
    r->session.active_ns = 1795248100123456789;
    strcpy(r->instance.driver, "container");
    r->instance.pid = 4242;
    r->instance.pid_start = 99887766;
    r->instance.slot = 7;
    r->instance.target.kind = HTTP_TARGET_CHANNEL;
    strcpy(r->instance.target.path, "/s/iabc/channel.sock");
    r->instance.target.cid = 3;
    r->instance.target.port = 49983;
    r->instance.target.tcp_port = 80;
}

static void encode(const struct record *r, struct adit_buf *out)
{
    adit_buf_init(out, RECORD_CAP);
    ck_assert_int_eq(record_encode(r, out), 0);
}

START_TEST(record_survives_a_round_trip)
{
    struct record a, b;
    struct adit_buf text, again;
    struct adit_err err = ADIT_ERR_INIT;
    fill(&a);
    encode(&a, &text);
    ck_assert_msg(record_decode(adit_buf_view(&text), &b, &err) == 0, "%s", err.msg);
    encode(&b, &again);
    ck_assert(adit_view_eq(adit_buf_view(&text), adit_buf_view(&again)));
    ck_assert_str_eq(b.sandbox_id, a.sandbox_id);
    ck_assert_int_eq(b.state, a.state);
    ck_assert_int_eq(b.started_ns, a.started_ns);
    ck_assert_int_eq(b.internet, a.internet);
    ck_assert(json_equal(a.metadata, b.metadata) && json_equal(a.network, b.network));
    ck_assert_str_eq(b.authority, a.authority);
    ck_assert_str_eq(b.session.id, a.session.id);
    ck_assert_str_eq(b.session.type, a.session.type);
    ck_assert_int_eq(b.session.active_ns, a.session.active_ns);
    ck_assert_uint_eq(b.instance.pid_start, a.instance.pid_start);
    ck_assert_str_eq(b.instance.target.path, a.instance.target.path);
    ck_assert_uint_eq(b.instance.target.tcp_port, 80);
    record_fini(&a);
    record_fini(&b);
    adit_buf_fini(&text);
    adit_buf_fini(&again);
}
END_TEST

START_TEST(record_refuses_every_torn_text)
{
    struct record a, b;
    struct adit_buf text;
    fill(&a);
    encode(&a, &text);
    for (size_t len = 0; len < text.len; len++) {
        struct adit_view part = {text.data + text.off, len};
        ck_assert_msg(record_decode(part, &b, NULL) == ADIT_ERR_BAD_INPUT, "length %zu", len);
    }
    record_fini(&a);
    adit_buf_fini(&text);
}
END_TEST

/* Replace one member of a good record. @json NULL removes it. */
static int decode_with(const char *key, const char *json)
{
    struct record a, b;
    struct adit_buf text, changed;
    json_t *doc = NULL;
    fill(&a);
    encode(&a, &text);
    ck_assert_int_eq(jtext_parse(adit_buf_view(&text), &doc, NULL), 0);
    if (json)
        json_object_set_new(doc, key, json_loads(json, JSON_DECODE_ANY, NULL));
    else
        json_object_del(doc, key);
    adit_buf_init(&changed, RECORD_CAP);
    ck_assert_int_eq(jtext_append(&changed, doc), 0);
    int rc = record_decode(adit_buf_view(&changed), &b, NULL);
    if (rc == 0)
        record_fini(&b);
    json_decref(doc);
    record_fini(&a);
    adit_buf_fini(&text);
    adit_buf_fini(&changed);
    return rc;
}

/* Of the version before keys and rotations were on record. */
START_TEST(record_reads_an_older_one)
{
    static const char *const newer[] = {"keyID", "tokenGeneration", "rotating"};
    for (size_t i = 0; i < sizeof(newer) / sizeof(newer[0]); i++)
        ck_assert_int_eq(decode_with(newer[i], NULL), 0);
}
END_TEST

static const char *const required[] = {
    "version",  "sandboxID", "teamID",   "templateID", "alias",    "state",
    "reason",   "startedNs", "endNs",    "diskMB",     "cpuCount", "memoryMB",
    "internet", "maskHost",  "metadata", "instance",
};

START_TEST(record_refuses_a_missing_member)
{
    ck_assert_int_eq(decode_with(required[_i], NULL), ADIT_ERR_BAD_INPUT);
}
END_TEST

static const struct {
    const char *key, *json;
} bad[] = {
    {"version", "2"},          {"version", "\"1\""},       {"sandboxID", "\"../../etc\""},
    {"sandboxID", "\"\""},     {"sandboxID", "7"},         {"state", "\"paused\""},
    {"state", "null"},         {"startedNs", "-1"},        {"startedNs", "1.5"},
    {"cpuCount", "5000"},      {"memoryMB", "-5"},         {"secure", "1"},
    {"internet", "\"maybe\""}, {"metadata", "{\"a\": 1}"}, {"metadata", "[]"},
    {"rotating", "true"},      {"tokenGeneration", "-1"},  {"keyID", "7"},
    {"authority", "7"},        {"network", "[]"},          {"instance", "{}"},
    {"instance", "\"x\""},
};

START_TEST(record_refuses_an_odd_member)
{
    ck_assert_msg(decode_with(bad[_i].key, bad[_i].json) == ADIT_ERR_BAD_INPUT, "%s = %s",
                  bad[_i].key, bad[_i].json);
}
END_TEST

START_TEST(record_skips_what_a_later_version_added)
{
    ck_assert_int_eq(decode_with("colour", "\"green\""), 0);
    ck_assert_int_eq(decode_with("network", NULL), 0);
}
END_TEST

static int parse(const char *text)
{
    json_t *doc = NULL;
    int rc = jtext_parse(adit_view_str(text), &doc, NULL);
    json_decref(doc);
    return rc;
}

START_TEST(jtext_bounds_depth_and_form)
{
    char deep[2 * 70 + 16];
    strcpy(deep, "{\"a\":");
    for (int i = 0; i < 70; i++)
        strcat(deep, "[");
    ck_assert_int_eq(parse(deep), ADIT_ERR_BAD_INPUT);
    ck_assert_int_eq(parse(""), 0);
    ck_assert_int_eq(parse(" \n"), 0);
    ck_assert_int_eq(parse("{\"a\":\"[[[[[[\\\"[\"}"), 0);
    ck_assert_int_eq(parse("[]"), ADIT_ERR_BAD_INPUT);
    ck_assert_int_eq(parse("{\"a\":1,\"a\":2}"), ADIT_ERR_BAD_INPUT);
    ck_assert_int_eq(parse("{\"a\":\"\\u0000\"}"), ADIT_ERR_BAD_INPUT);
    ck_assert_int_eq(parse("{\"a\":\"\xff\"}"), ADIT_ERR_BAD_INPUT);
    ck_assert_int_eq(parse("{} {}"), ADIT_ERR_BAD_INPUT);
    ck_assert_int_eq(parse("{\"a\":99999999999999999999}"), ADIT_ERR_BAD_INPUT);
}
END_TEST

SUITE_MAIN_WITH("record",
                TESTS(record_survives_a_round_trip, record_refuses_every_torn_text,
                      record_reads_an_older_one, record_skips_what_a_later_version_added,
                      jtext_bounds_depth_and_form),
                LOOPS({record_refuses_a_missing_member, sizeof(required) / sizeof(required[0])},
                      {record_refuses_an_odd_member, sizeof(bad) / sizeof(bad[0])}))
