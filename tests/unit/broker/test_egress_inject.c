/* SPDX-License-Identifier: Apache-2.0 */
/* Requests on their way out: which may go, what they carry then, and where HTTP ends. */
#include "tests/unit/failing_malloc.h"
#include "tests/unit/suite.h"

#include "broker/egress/egress_inject.h"

#define RULES                                                                                      \
    "{\"rules\":{\"a.example\":[{\"transform\":{\"headers\":{\"X-Key\":\"s3cret\","                \
    "\"Accept\":\"*/*\"}}}],\"*.wild.example\":[{\"transform\":{\"headers\":{\"X-Key\":"           \
    "\"w\"}}}],\"*.b.wild.example\":[{\"transform\":{\"headers\":{\"X-Key\":\"bw\"}}}],"           \
    "\"*\":[{\"transform\":{\"headers\":{\"X-Any\":\"1\"}}}],\"none.example\":[]}}"
#define RULED "X-Key: s3cret\r\nAccept: */*\r\n\r\n"

static struct egress_rules *rules;
static struct egress_inject *inject;
static struct adit_buf out;
static const char *allowed; /* the one host; NULL: any */

static int compile(const char *network, struct egress_rules **to)
{
    json_t *doc = network ? json_loads(network, 0, NULL) : NULL;
    int rc = egress_rules_compile(doc, to, NULL);
    ck_assert(!network || doc);
    json_decref(doc);
    return rc;
}

static void setup(void)
{
    allowed = NULL;
    ck_assert_int_eq(compile(RULES, &rules), ADIT_OK);
    adit_buf_init(&out, EGRESS_INJECT_OUT_MAX);
}

static void teardown(void)
{
    adit_buf_fini(&out);
    egress_rules_unref(rules);
}

static enum egress_inject_verdict judge(void *owner, struct adit_view name)
{
    const char *const *only = owner;
    return !*only || adit_view_ieq_str(name, *only) ? EGRESS_INJECT_SET : EGRESS_INJECT_REFUSE;
}

static enum egress_inject_verdict pass(void *owner, struct adit_view name)
{
    (void)owner;
    (void)name;
    return EGRESS_INJECT_PASS;
}

static void open_it(void)
{
    adit_buf_clear(&out);
    inject = egress_inject_new(rules, judge, &allowed);
    ck_assert_ptr_nonnull(inject);
}

/* In pieces of @step bytes, as far as it takes them. Return: the bytes that were taken. */
static size_t feed(const char *text, size_t step, int *rc)
{
    struct adit_view rest = adit_view_str(text);
    *rc = ADIT_OK;
    while (rest.len > 0 && *rc == ADIT_OK) {
        struct adit_view piece = {rest.ptr, step < rest.len ? step : rest.len};
        size_t given = piece.len;
        *rc = egress_inject_feed(inject, &piece, &out, NULL);
        rest = adit_view_mem(rest.ptr + (given - piece.len), rest.len - (given - piece.len));
        if (piece.len > 0)
            break;
    }
    return strlen(text) - rest.len;
}

static void assert_sent(const char *expected)
{
    struct adit_view v = adit_buf_view(&out);
    ck_assert_msg(adit_view_eq_str(v, expected), "%.*s", ADIT_VIEW_ARG(v));
}

static const struct row {
    const char *in, *out, *allowed;
    int code;
} rows[] = {
    {"GET / HTTP/1.1\r\nHost: a.example\r\nB: c\r\n\r\n",
     "GET / HTTP/1.1\r\nHost: a.example\r\nB: c\r\n" RULED, NULL, ADIT_OK},
    /* the guest's own of these names are replaced */
    {"GET / HTTP/1.1\r\nx-key: mine\r\nHost: A.Example:80\r\nX-KEY: too\r\naccept: x\r\n\r\n",
     "GET / HTTP/1.1\r\nHost: A.Example:80\r\n" RULED, NULL, ADIT_OK},
    /* bodies, and more requests behind them */
    {"POST /x HTTP/1.1\r\nHost: a.example\r\nContent-Length: 5\r\n\r\nhelloGET /y HTTP/1.1\r\n"
     "Host: c.example\r\n\r\n",
     "POST /x HTTP/1.1\r\nHost: a.example\r\nContent-Length: 5\r\n" RULED
     "helloGET /y HTTP/1.1\r\nHost: c.example\r\nX-Any: 1\r\n\r\n",
     NULL, ADIT_OK},
    {"GET http://a.example/x HTTP/1.1\r\nHost: a.example\r\n\r\n",
     "GET http://a.example/x HTTP/1.1\r\nHost: a.example\r\n" RULED, NULL, ADIT_OK},
    {"GET / HTTP/1.1\r\nHost: x.wild.example\r\n\r\n",
     "GET / HTTP/1.1\r\nHost: x.wild.example\r\nX-Key: w\r\n\r\n", NULL, ADIT_OK},
    {"GET / HTTP/1.1\r\nHost: x.b.wild.example\r\n\r\n",
     "GET / HTTP/1.1\r\nHost: x.b.wild.example\r\nX-Key: bw\r\n\r\n", NULL, ADIT_OK},
    {"GET / HTTP/1.1\r\nHost: none.example\r\n\r\n", "GET / HTTP/1.1\r\nHost: none.example\r\n\r\n",
     NULL, ADIT_OK},
    {"TRACE / HTTP/1.1\r\nHost: a.example\r\n\r\n", "TRACE / HTTP/1.1\r\nHost: a.example\r\n\r\n",
     NULL, ADIT_OK},
    {"GET / HTTP/1.1\r\nHost: 192.0.2.1\r\n\r\n", "GET / HTTP/1.1\r\nHost: 192.0.2.1\r\n\r\n", NULL,
     ADIT_OK},
    {"GET / HTTP/1.0\r\n\r\n", "GET / HTTP/1.0\r\n\r\n", NULL, ADIT_OK},
    /* the last request: what follows is nothing */
    {"GET / HTTP/1.1\r\nHost: none.example\r\nConnection: close\r\n\r\nGET / HTTP/1.1\r\n",
     "GET / HTTP/1.1\r\nHost: none.example\r\nConnection: close\r\n\r\n", NULL, ADIT_OK},
    /* leaving HTTP for anything but a WebSocket, or later than at first */
    {"GET / HTTP/1.1\r\nHost: none.example\r\nConnection: Upgrade, HTTP2-Settings\r\n"
     "Upgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n\r\n",
     "GET / HTTP/1.1\r\nHost: none.example\r\nConnection: Upgrade, HTTP2-Settings\r\n\r\n", NULL,
     ADIT_OK},
    {"GET / HTTP/1.1\r\nHost: none.example\r\nUpgrade: websocket\r\n\r\n",
     "GET / HTTP/1.1\r\nHost: none.example\r\n\r\n", NULL, ADIT_OK},
    {"GET / HTTP/1.1\r\nHost: none.example\r\n\r\nGET / HTTP/1.1\r\nHost: none.example\r\n"
     "Connection: upgrade\r\nUpgrade: websocket\r\n\r\n",
     "GET / HTTP/1.1\r\nHost: none.example\r\n\r\nGET / HTTP/1.1\r\nHost: none.example\r\n"
     "Connection: upgrade\r\n\r\n",
     NULL, ADIT_OK},
    /* which hosts may be asked */
    {"GET / HTTP/1.1\r\nHost: A.EXAMPLE\r\n\r\n", "GET / HTTP/1.1\r\nHost: A.EXAMPLE\r\n" RULED,
     "a.example", ADIT_OK},
    {"GET / HTTP/1.1\r\nHost: b.example\r\n\r\n", "", "a.example", ADIT_ERR_DENIED},
    {"GET / HTTP/1.1\r\nHost: 192.0.2.1\r\n\r\n", "", "a.example", ADIT_ERR_DENIED},
    {"GET / HTTP/1.0\r\n\r\n", "", "a.example", ADIT_ERR_DENIED},
    {"GET http://b.example/ HTTP/1.1\r\nHost: a.example\r\n\r\n", "", "a.example",
     ADIT_ERR_BAD_INPUT},
    {"POST / HTTP/1.1\r\nHost: a.example\r\nContent-Length: 0\r\n\r\nGET / HTTP/1.1\r\n"
     "Host: b.example\r\n\r\n",
     "POST / HTTP/1.1\r\nHost: a.example\r\nContent-Length: 0\r\n" RULED, "a.example",
     ADIT_ERR_DENIED},
    /* what can be read in two ways */
    {"GET / HTTP/1.1\r\nHost: a.example\r\nHost: b.example\r\n\r\n", "", NULL, ADIT_ERR_BAD_INPUT},
    {"POST / HTTP/1.1\r\nHost: a.example\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n"
     "\r\n",
     "", NULL, ADIT_ERR_BAD_INPUT},
    {"GET / HTTP/1.1\r\nHost: a.example\r\n folded\r\n\r\n", "", NULL, ADIT_ERR_BAD_INPUT},
    {"SSH-2.0-x\r\n", "", NULL, ADIT_ERR_BAD_INPUT},
};

START_TEST(egress_inject_sends_each_request)
{
    static const size_t steps[] = {SIZE_MAX, 1, 7};
    const struct row *r = &rows[_i];
    int rc;
    allowed = r->allowed;
    for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
        open_it();
        (void)feed(r->in, steps[i], &rc);
        ck_assert_msg(rc == r->code, "%s: %d", r->in, rc);
        assert_sent(r->out);
        egress_inject_free(inject);
    }
}
END_TEST

START_TEST(egress_inject_sets_nothing_for_a_host_that_is_somewhere_else)
{
    static const char request[] = "GET / HTTP/1.1\r\nHost: a.example\r\nX-Own: 1\r\n\r\n";
    int rc;
    inject = egress_inject_new(rules, pass, NULL);
    ck_assert_ptr_nonnull(inject);
    (void)feed(request, SIZE_MAX, &rc);
    ck_assert_int_eq(rc, ADIT_OK);
    assert_sent(request);
    egress_inject_free(inject);
}
END_TEST

START_TEST(egress_inject_sends_chunks_anew)
{
    int rc;
    open_it();
    (void)feed("POST / HTTP/1.1\r\nHost: none.example\r\nTransfer-Encoding: chunked\r\n\r\n"
               "005;x=y\r\nhello\r\n1\r\n!\r\n0\r\nTrailer: dropped\r\n\r\nGET / HTTP/1.1\r\n"
               "Host: none.example\r\n\r\n",
               SIZE_MAX, &rc);
    ck_assert_int_eq(rc, ADIT_OK);
    assert_sent("POST / HTTP/1.1\r\nHost: none.example\r\nTransfer-Encoding: chunked\r\n\r\n"
                "5\r\nhello\r\n1\r\n!\r\n0\r\n\r\nGET / HTTP/1.1\r\nHost: none.example\r\n\r\n");
    egress_inject_free(inject);
}
END_TEST

#define WEBSOCKET                                                                                  \
    "GET /w HTTP/1.1\r\nHost: a.example\r\nConnection: Upgrade\r\nUpgrade: WebSocket\r\n"

static void see(const char *reply, size_t step)
{
    for (size_t i = 0; i < strlen(reply); i += step) {
        size_t len = strlen(reply) - i < step ? strlen(reply) - i : step;
        egress_inject_see_reply(inject, adit_view_mem(reply + i, len));
    }
}

START_TEST(egress_inject_ends_with_a_websocket)
{
    static const char bytes[] = "\x81\x05hello GET / HTTP/1.1\r\n\r\n";
    int rc;
    for (size_t step = 1; step <= 1000; step *= 1000) {
        open_it();
        ck_assert_uint_eq(feed(WEBSOCKET "\r\nearly", SIZE_MAX, &rc), strlen(WEBSOCKET) + 2);
        ck_assert_int_eq(rc, ADIT_OK);
        assert_sent(WEBSOCKET RULED);
        ck_assert(egress_inject_is_waiting(inject));
        ck_assert_uint_eq(feed("early", SIZE_MAX, &rc), 0);
        see("HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 101 Switch\r\nUpgrade: websocket"
            "\r\nConnection: Upgrade\r\n\r\n\x81\x01x",
            step);
        ck_assert(!egress_inject_is_waiting(inject) && egress_inject_is_raw(inject));
        adit_buf_clear(&out);
        ck_assert_uint_eq(feed(bytes, SIZE_MAX, &rc), sizeof(bytes) - 1);
        assert_sent(bytes);
        egress_inject_free(inject);
    }
}
END_TEST

START_TEST(egress_inject_goes_on_where_a_websocket_was_refused)
{
    static const char *const replies[] = {
        "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 404 Not Found\r\nContent-Length: 3\r\n\r\nno!",
        "SSH-2.0-x\r\n",
    };
    int rc;
    allowed = "a.example";
    for (size_t i = 0; i < sizeof(replies) / sizeof(replies[0]); i++) {
        open_it();
        (void)feed(WEBSOCKET "\r\n", SIZE_MAX, &rc);
        see(replies[i], SIZE_MAX / 2);
        ck_assert(!egress_inject_is_waiting(inject) && !egress_inject_is_raw(inject));
        (void)feed("GET / HTTP/1.1\r\nHost: b.example\r\n\r\n", SIZE_MAX, &rc);
        ck_assert_int_eq(rc, ADIT_ERR_DENIED);
        egress_inject_free(inject);
    }
}
END_TEST

START_TEST(egress_inject_believes_no_reply_before_a_request)
{
    int rc;
    open_it();
    see("HTTP/1.1 101 Switch\r\n\r\n", 1000);
    ck_assert(!egress_inject_is_raw(inject));
    (void)feed(WEBSOCKET "\r\n", SIZE_MAX, &rc);
    ck_assert(!egress_inject_is_waiting(inject));
    assert_sent("GET /w HTTP/1.1\r\nHost: a.example\r\nConnection: Upgrade\r\n" RULED);
    egress_inject_free(inject);
}
END_TEST

/* Many small requests, each of which grows: it stops, and nothing is lost. */
START_TEST(egress_inject_bounds_what_waits)
{
    static const char one[] = "GET / HTTP/1.1\r\nHost: big.example\r\n\r\n";
    static char all[200 * (sizeof(one) - 1)], value[2049], network[4096];
    struct adit_view rest = adit_view_mem(all, sizeof(all));
    struct egress_rules *big;
    size_t stops = 0, total = 0;
    memset(value, 'v', sizeof(value) - 1);
    (void)snprintf(network, sizeof(network),
                   "{\"rules\":{\"*\":[{\"transform\":{\"headers\":{\"X\":\"%s\"}}}]}}", value);
    ck_assert_int_eq(compile(network, &big), ADIT_OK);
    for (size_t i = 0; i < 200; i++)
        memcpy(all + i * (sizeof(one) - 1), one, sizeof(one) - 1);
    inject = egress_inject_new(big, judge, &allowed);
    egress_rules_unref(big); /* the connection has its own reference */
    while (rest.len > 0) {
        ck_assert_int_eq(egress_inject_feed(inject, &rest, &out, NULL), ADIT_OK);
        ck_assert_uint_lt(out.len, EGRESS_INJECT_STEP + 4096);
        total += out.len;
        adit_buf_clear(&out);
        stops++;
    }
    ck_assert_uint_gt(stops, 5);
    ck_assert_uint_eq(total, 200 * (sizeof(one) - 1 + strlen("X: \r\n") + 2048));
    egress_inject_free(inject);
}
END_TEST

START_TEST(egress_inject_takes_a_long_body_in_steps)
{
    static char body[200000];
    struct adit_view rest = adit_view_mem(body, sizeof(body));
    size_t total = 0;
    int rc;
    memset(body, 'b', sizeof(body));
    open_it();
    (void)feed("POST / HTTP/1.1\r\nHost: none.example\r\nContent-Length: 200000\r\n\r\n", SIZE_MAX,
               &rc);
    adit_buf_clear(&out);
    while (rest.len > 0) {
        ck_assert_int_eq(egress_inject_feed(inject, &rest, &out, NULL), ADIT_OK);
        total += out.len;
        adit_buf_clear(&out);
    }
    ck_assert_uint_eq(total, sizeof(body));
    egress_inject_free(inject);
}
END_TEST

START_TEST(egress_rules_refuse_what_nobody_validated)
{
    static const char *const wrong[] = {
        "{\"rules\":{\"a\":7}}",
        "{\"rules\":{\"*a\":[]}}",
        "{\"rules\":{\"a\":[{\"transform\":{\"headers\":{\"X Y\":\"v\"}}}]}}",
        "{\"rules\":{\"a\":[{\"transform\":{\"headers\":{\"X\":\"v\\r\\nY: z\"}}}]}}",
        "{\"rules\":{\"a\":[{\"transform\":{\"headers\":{\"X\":7}}}]}}",
        "{\"rules\":{\"a\":[{\"transform\":{\"headers\":{\"Content-Length\":\"7\"}}}]}}",
        "{\"rules\":{\"a\":[{\"transform\":{\"headers\":{\"transfer-encoding\":\"x\"}}}]}}",
        "{\"rules\":{\"a\":[{\"transform\":{\"headers\":{\"HOST\":\"b\"}}}]}}",
        ("{\"rules\":{\"0\":[],\"1\":[],\"2\":[],\"3\":[],\"4\":[],\"5\":[],\"6\":[],\"7\":[],"
         "\"8\":[],\"9\":[],\"a\":[]}}"),
    };
    struct egress_rules *r;
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
        ck_assert_msg(compile(wrong[i], &r) == ADIT_ERR_BAD_INPUT, "%s", wrong[i]);
    ck_assert_int_eq(compile(NULL, &r), ADIT_OK);
    ck_assert(egress_rules_is_empty(r));
    egress_rules_unref(r);
}
END_TEST

START_TEST(egress_inject_survives_every_failed_allocation)
{
    json_t *doc = json_loads(RULES, 0, NULL);
    int rc = ADIT_ERR_NO_MEMORY;
    for (long n = 1; rc != ADIT_OK; n++) {
        struct egress_rules *r = NULL;
        failing_malloc.countdown = n;
        rc = egress_rules_compile(doc, &r, NULL);
        inject = rc == ADIT_OK ? egress_inject_new(r, judge, &allowed) : NULL;
        if (inject)
            (void)feed(WEBSOCKET "\r\n", 20, &rc);
        bool is_spent = failing_malloc.countdown == 0;
        failing_malloc.countdown = 0;
        if (is_spent)
            rc = ADIT_ERR_NO_MEMORY;
        adit_buf_clear(&out);
        egress_inject_free(inject);
        egress_rules_unref(r);
        ck_assert_int_lt(n, 200);
    }
    json_decref(doc);
}
END_TEST

START_TEST(egress_inject_goes_by_other_rules_from_the_next_request_on)
{
    static const char request[] = "GET / HTTP/1.1\r\nHost: a.example\r\n\r\n";
    struct egress_rules *others;
    int rc;
    ck_assert_int_eq(compile("{}", &others), ADIT_OK);
    open_it();
    (void)feed(request, sizeof request, &rc);
    egress_inject_set_rules(inject, others);
    egress_rules_unref(others);
    (void)feed(request, sizeof request, &rc);
    assert_sent("GET / HTTP/1.1\r\nHost: a.example\r\n" RULED
                "GET / HTTP/1.1\r\nHost: a.example\r\n\r\n");
    egress_inject_free(inject);
}
END_TEST

SUITE_MAIN_WITH("egress_inject", .fixtures = {{setup, teardown}},
                TESTS(egress_inject_goes_by_other_rules_from_the_next_request_on,
                      egress_inject_sets_nothing_for_a_host_that_is_somewhere_else,
                      egress_inject_sends_chunks_anew, egress_inject_ends_with_a_websocket,
                      egress_inject_goes_on_where_a_websocket_was_refused,
                      egress_inject_believes_no_reply_before_a_request,
                      egress_inject_bounds_what_waits, egress_inject_takes_a_long_body_in_steps,
                      egress_rules_refuse_what_nobody_validated,
                      egress_inject_survives_every_failed_allocation),
                LOOPS({egress_inject_sends_each_request, sizeof(rows) / sizeof(rows[0])}))
