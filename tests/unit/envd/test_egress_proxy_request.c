/* SPDX-License-Identifier: Apache-2.0 */
/* What clients of the proxies say first: CONNECT, SOCKS5, or HTTP for a server. */
#include "tests/unit/suite.h"

#include "envd/egress/egress_proxy_request.h"

static struct egress_proxy_request r;

static void setup(void)
{
    egress_proxy_request_init(&r);
}

static void teardown(void)
{
    egress_proxy_request_fini(&r);
}

static enum egress_proxy_step say(const void *p, size_t len)
{
    ck_assert_int_eq(egress_proxy_request_feed(&r, adit_view_mem(p, len)), ADIT_OK);
    return egress_proxy_request_next(&r);
}

static enum egress_proxy_step say_text(const char *text)
{
    return say(text, strlen(text));
}

static void start_again(void)
{
    teardown();
    setup();
}

START_TEST(request_of_connect_names_a_host_and_a_port)
{
    static const char *const targets[][3] = {{"a.example:443", "a.example", "443"},
                                             {"a.example.:1", "a.example", "1"},
                                             {"[fd00::1]:65535", "fd00::1", "65535"},
                                             {"10.0.0.1:80", "10.0.0.1", "80"}};
    char text[128];
    for (size_t i = 0; i < sizeof(targets) / sizeof(targets[0]); i++) {
        (void)snprintf(text, sizeof text, "CONNECT %s HTTP/1.1\r\nHost: x\r\n\r\nrest",
                       targets[i][0]);
        ck_assert_int_eq(say_text(text), EGRESS_PROXY_CONNECT);
        ck_assert_str_eq(r.target.host, targets[i][1]);
        ck_assert_int_eq(r.target.port, atoi(targets[i][2]));
        ck_assert(adit_view_eq_str(adit_buf_view(&r.gathered), "rest"));
        start_again();
    }
}
END_TEST

START_TEST(request_of_connect_that_is_malformed_is_refused)
{
    static const char *const heads[] = {
        "CONNECT  a:1 HTTP/1.1\r\n\r\n",         "CONNECT a HTTP/1.1\r\n\r\n",
        "CONNECT a:0 HTTP/1.1\r\n\r\n",          "CONNECT a:065 HTTP/1.1\r\n\r\n",
        "CONNECT a:65536 HTTP/1.1\r\n\r\n",      "CONNECT u@a:1 HTTP/1.1\r\n\r\n",
        "CONNECT http://a:1 HTTP/1.1\r\n\r\n",   "CONNECT a..b:1 HTTP/1.1\r\n\r\n",
        "CONNECT [a]:1 HTTP/2.0\r\n\r\n",        "CONNECT a:1 HTTP/1.1\n\n",
        "CONNECT a:1 HTTP/1.1\r\nX : y\r\n\r\n", "CONNECT a:1\r\n\r\n"};
    for (size_t i = 0; i < sizeof(heads) / sizeof(heads[0]); i++) {
        ck_assert_msg(say_text(heads[i]) == EGRESS_PROXY_REFUSE, "%s", heads[i]);
        ck_assert_int_eq(r.refusal, EGRESS_PROXY_MALFORMED);
        start_again();
    }
}
END_TEST

START_TEST(request_without_end_is_too_long)
{
    enum egress_proxy_step step = say_text("CONNECT a:1 HTTP/1.1\r\nX: ");
    while (step == EGRESS_PROXY_MORE)
        step = say_text("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa");
    ck_assert_int_eq(step, EGRESS_PROXY_REFUSE);
    ck_assert_int_eq(r.refusal, EGRESS_PROXY_TOO_LONG);
    ck_assert_uint_le(r.gathered.len, HTTP_HEAD_CAP);
}
END_TEST

START_TEST(request_that_is_other_http_is_served)
{
    static const char *const texts[] = {"G", "CONNECTED / HTTP/1.1", "CONNEcT ", "\4\1", "\xff"};
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        ck_assert_msg(say_text(texts[i]) == EGRESS_PROXY_SERVE, "%s", texts[i]);
        ck_assert(adit_view_eq_str(adit_buf_view(&r.gathered), texts[i]));
        start_again();
    }
    ck_assert_int_eq(say_text("CONNECT"), EGRESS_PROXY_MORE);
}
END_TEST

START_TEST(request_of_socks_byte_by_byte)
{
    static const char text[] = "\5\3\1\2\0\5\1\0\3\x09"
                               "a.example\x1f\x90more";
    size_t greeting = 5, len = sizeof text - 1 - 4;
    for (size_t i = 0; i < len; i++) {
        enum egress_proxy_step step = say(text + i, 1);
        ck_assert_int_eq(step, i + 1 == greeting ? EGRESS_PROXY_GREETED
                               : i + 1 == len    ? EGRESS_PROXY_CONNECT
                                                 : EGRESS_PROXY_MORE);
    }
    ck_assert_str_eq(r.target.host, "a.example");
    ck_assert_int_eq(r.target.port, 8080);
    ck_assert_uint_eq(r.gathered.len, 0);
}
END_TEST

START_TEST(request_of_socks_that_cannot_be_met_is_refused)
{
    static const struct {
        const char *bytes;
        size_t len;
        enum egress_proxy_outcome why;
    } requests[] = {
        {"\4\1\0\1\1\2\3\4\0\1", 10, EGRESS_PROXY_MALFORMED},
        {"\5\2\0\1\1\2\3\4\0\1", 10, EGRESS_PROXY_NO_COMMAND},
        {"\5\3\0\1\1\2\3\4\0\1", 10, EGRESS_PROXY_NO_COMMAND},
        {"\5\1\0\2\1\2\3\4\0\1", 10, EGRESS_PROXY_NO_ADDRESS},
        {"\5\1\0\1\1\2\3\4\0\0", 10, EGRESS_PROXY_MALFORMED},
        {"\5\1\0\3\0\0\1", 7, EGRESS_PROXY_MALFORMED},
        {"\5\1\0\3\3a\0b\0\1", 10, EGRESS_PROXY_MALFORMED},
        {"\5\1\0\3\3a b\0\1", 10, EGRESS_PROXY_MALFORMED},
        {"\5\1\0\3\4a..b\0\1", 11, EGRESS_PROXY_MALFORMED},
    };
    ck_assert_int_eq(say("\5\1\2", 3), EGRESS_PROXY_REFUSE);
    ck_assert_int_eq(r.refusal, EGRESS_PROXY_NO_METHOD);
    start_again();
    ck_assert_int_eq(say("\5\0", 2), EGRESS_PROXY_REFUSE);
    for (size_t i = 0; i < sizeof(requests) / sizeof(requests[0]); i++) {
        start_again();
        ck_assert_int_eq(say("\5\1\0", 3), EGRESS_PROXY_GREETED);
        ck_assert_int_eq(say(requests[i].bytes, requests[i].len), EGRESS_PROXY_REFUSE);
        ck_assert_msg(r.refusal == requests[i].why, "%zu: %d", i, r.refusal);
    }
}
END_TEST

/* ---- answers ---- */

START_TEST(answer_fits_for_the_longest_host)
{
    struct egress_proxy_target t = {.port = 65535};
    memset(t.host, 'h', sizeof t.host - 1);
    for (int outcome = 0; outcome < EGRESS_PROXY_OUTCOME_CNT; outcome++)
        for (int p = EGRESS_PROXY_SOCKS; p <= EGRESS_PROXY_TUNNEL; p++) {
            struct adit_buf out;
            adit_buf_init(&out, EGRESS_PROXY_ANSWER_MAX);
            ck_assert_int_eq(egress_proxy_answer(&out, (enum egress_proxy_protocol)p, &t,
                                                 (enum egress_proxy_outcome)outcome),
                             ADIT_OK);
            ck_assert_uint_gt(out.len, 1);
            adit_buf_fini(&out);
        }
}
END_TEST

START_TEST(answer_of_socks_names_the_method_or_the_reply)
{
    struct egress_proxy_target t = {.port = 1};
    struct adit_buf out;
    adit_buf_init(&out, EGRESS_PROXY_ANSWER_MAX);
    ck_assert_int_eq(egress_proxy_answer(&out, EGRESS_PROXY_SOCKS, &t, EGRESS_PROXY_NO_METHOD), 0);
    ck_assert(adit_view_eq(adit_buf_view(&out), adit_view_mem("\5\xff", 2)));
    adit_buf_clear(&out);
    ck_assert_int_eq(egress_proxy_answer(&out, EGRESS_PROXY_SOCKS, &t, EGRESS_PROXY_NO_COMMAND), 0);
    ck_assert(adit_view_eq(adit_buf_view(&out), adit_view_mem("\5\7\0\1\0\0\0\0\0\0", 10)));
    adit_buf_fini(&out);
}
END_TEST

SUITE_MAIN_WITH("egress proxy request", .fixtures = {{setup, teardown}},
                TESTS(request_of_connect_names_a_host_and_a_port,
                      request_of_connect_that_is_malformed_is_refused,
                      request_without_end_is_too_long, request_that_is_other_http_is_served,
                      request_of_socks_byte_by_byte, request_of_socks_that_cannot_be_met_is_refused,
                      answer_fits_for_the_longest_host,
                      answer_of_socks_names_the_method_or_the_reply))
