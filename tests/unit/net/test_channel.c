/* SPDX-License-Identifier: Apache-2.0 */
/* The lines of the channel handshake and of the tunnel. */
#include "net/channel.h"

#include "tests/unit/suite.h"

static struct adit_view str(const char *s)
{
    return adit_view_str(s);
}

START_TEST(channel_line_ends_at_newline_and_leaves_the_rest)
{
    struct channel_line line;
    struct adit_view in = ADIT_VIEW("OK 7\nGET /\n");
    bool done;
    channel_line_init(&line);
    ck_assert_int_eq(channel_line_feed(&line, &in, &done, NULL), ADIT_OK);
    ck_assert(done);
    ck_assert(adit_view_eq_str(channel_line_view(&line), "OK 7"));
    ck_assert(adit_view_eq_str(in, "GET /\n"));
}
END_TEST

START_TEST(channel_line_is_gathered_byte_by_byte)
{
    static const char text[] = "CONNECT 49983\n";
    struct channel_line line;
    bool done = false;
    channel_line_init(&line);
    for (size_t i = 0; i + 1 < sizeof(text); i++) {
        struct adit_view one = {text + i, 1};
        ck_assert(!done);
        ck_assert_int_eq(channel_line_feed(&line, &one, &done, NULL), ADIT_OK);
        ck_assert_uint_eq(one.len, 0);
    }
    ck_assert(done);
    ck_assert(adit_view_eq_str(channel_line_view(&line), "CONNECT 49983"));
}
END_TEST

START_TEST(channel_line_is_bounded)
{
    char text[CHANNEL_LINE_CAP + 1];
    struct channel_line line;
    struct adit_err err = ADIT_ERR_INIT;
    bool done;
    memset(text, 'x', sizeof(text));
    text[CHANNEL_LINE_CAP - 1] = '\n';
    struct adit_view in = {text, CHANNEL_LINE_CAP};
    channel_line_init(&line);
    ck_assert_int_eq(channel_line_feed(&line, &in, &done, NULL), ADIT_OK);
    ck_assert(done);
    text[CHANNEL_LINE_CAP - 1] = 'x';
    in = adit_view_mem(text, CHANNEL_LINE_CAP);
    channel_line_init(&line);
    ck_assert_int_eq(channel_line_feed(&line, &in, &done, &err), ADIT_ERR_PROTOCOL);
    ck_assert(!done);
}
END_TEST

START_TEST(channel_line_refuses_unprintable_bytes)
{
    struct channel_line line;
    char c = (char)_i;
    struct adit_view in = {&c, 1};
    bool done, printable = _i == '\n' || (_i >= ' ' && _i <= '~');
    channel_line_init(&line);
    ck_assert_int_eq(channel_line_feed(&line, &in, &done, NULL),
                     printable ? ADIT_OK : ADIT_ERR_PROTOCOL);
}
END_TEST

START_TEST(channel_takes_one_spelling_of_connect)
{
    static const char *const bad[] = {"",
                                      "CONNECT",
                                      "CONNECT ",
                                      "CONNECT 0",
                                      "connect 1",
                                      "CONNECT 01",
                                      "CONNECT +1",
                                      "CONNECT  1",
                                      "CONNECT 1 ",
                                      "CONNECT 4294967295",
                                      "CONNECT 1.0",
                                      "CONNECT -1"};
    uint32_t port = 0;
    ck_assert_int_eq(channel_parse_connect(str("CONNECT 49983"), &port, NULL), ADIT_OK);
    ck_assert_uint_eq(port, 49983);
    ck_assert_int_eq(channel_parse_connect(str("CONNECT 4294967294"), &port, NULL), ADIT_OK);
    ck_assert_uint_eq(port, 4294967294u);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        ck_assert_msg(channel_parse_connect(str(bad[i]), &port, NULL) == ADIT_ERR_PROTOCOL, "%s",
                      bad[i]);
}
END_TEST

START_TEST(channel_takes_ok_with_a_number)
{
    static const char *const bad[] = {"OK",  "OK ", "ok 1", "OK 1 2", "OK 4294967296",
                                      "ERR", "OK x"};
    ck_assert_int_eq(channel_parse_ok(str("OK 0"), NULL), ADIT_OK);
    ck_assert_int_eq(channel_parse_ok(str("OK 1073741824"), NULL), ADIT_OK);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        ck_assert_msg(channel_parse_ok(str(bad[i]), NULL) == ADIT_ERR_PROTOCOL, "%s", bad[i]);
}
END_TEST

START_TEST(channel_takes_one_spelling_of_tcp)
{
    static const char *const bad[] = {"TCP", "TCP 0", "TCP 080", "TCP 65536", "TCP +80", "UDP 80"};
    uint16_t port = 0;
    ck_assert_int_eq(channel_parse_tcp(str("TCP 65535"), &port, NULL), ADIT_OK);
    ck_assert_uint_eq(port, 65535);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        ck_assert_msg(channel_parse_tcp(str(bad[i]), &port, NULL) == ADIT_ERR_PROTOCOL, "%s",
                      bad[i]);
}
END_TEST

START_TEST(channel_tells_tunnel_answers_apart)
{
    struct adit_err err = ADIT_ERR_INIT;
    ck_assert_int_eq(channel_parse_tunnel_answer(str("OK"), NULL), ADIT_OK);
    ck_assert_int_eq(channel_parse_tunnel_answer(str("ERR refused"), &err), ADIT_ERR_UNAVAILABLE);
    ck_assert_str_eq(err.msg, "tunnel: refused");
    ck_assert_int_eq(channel_parse_tunnel_answer(str("ERR refused "), NULL), ADIT_ERR_IO);
    ck_assert_int_eq(channel_parse_tunnel_answer(str("ERR out of sockets"), NULL), ADIT_ERR_IO);
    static const char *const bad[] = {"", "OK ", "OK 1", "ERR", "ERR ", "err refused", "NO"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        ck_assert_msg(channel_parse_tunnel_answer(str(bad[i]), NULL) == ADIT_ERR_PROTOCOL, "%s",
                      bad[i]);
}
END_TEST

START_TEST(channel_formats_what_it_parses)
{
    char out[CHANNEL_LINE_CAP];
    uint32_t port;
    uint16_t tcp_port;
    size_t len = channel_format_connect(out, 4294967294u);
    ck_assert_str_eq(out, "CONNECT 4294967294\n");
    ck_assert_int_eq(channel_parse_connect(adit_view_mem(out, len - 1), &port, NULL), ADIT_OK);
    len = channel_format_ok(out, UINT32_MAX);
    ck_assert_str_eq(out, "OK 4294967295\n");
    ck_assert_int_eq(channel_parse_ok(adit_view_mem(out, len - 1), NULL), ADIT_OK);
    len = channel_format_tcp(out, 65535);
    ck_assert_str_eq(out, "TCP 65535\n");
    ck_assert_int_eq(channel_parse_tcp(adit_view_mem(out, len - 1), &tcp_port, NULL), ADIT_OK);
}
END_TEST

SUITE_MAIN_WITH("channel",
                TESTS(channel_line_ends_at_newline_and_leaves_the_rest,
                      channel_line_is_gathered_byte_by_byte, channel_line_is_bounded,
                      channel_takes_one_spelling_of_connect, channel_takes_ok_with_a_number,
                      channel_takes_one_spelling_of_tcp, channel_tells_tunnel_answers_apart,
                      channel_formats_what_it_parses),
                LOOPS({channel_line_refuses_unprintable_bytes, 256}))
