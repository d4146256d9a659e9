/* SPDX-License-Identifier: Apache-2.0 */
/* HTTP/2 connections: requests that are refused, floods, and bytes that are no HTTP/2. */
#include "tests/unit/suite.h"

#include "http2_server_fixture.h"

/* ---- what is refused ---- */

#define GET H2_NV(":method", "GET")
#define HTTP H2_NV(":scheme", "http")
#define PATH H2_NV(":path", "/now")
#define HOST H2_NV(":authority", "a")

/* Requests that two readers may read in two ways, or that no client may send. */
static const struct {
    const char *what;
    nghttp2_nv nv[8];
    size_t body_len; /* 0: none */
    int status;      /* 0: the stream is reset */
} refused[] = {
    {"no method", {HTTP, PATH, HOST}, 0, 0},
    {"no path", {GET, HTTP, HOST}, 0, 0},
    {"no scheme", {GET, PATH, HOST}, 0, 0},
    {"no authority", {GET, HTTP, PATH}, 0, 0},
    {"two methods", {GET, GET, HTTP, PATH, HOST}, 0, 0},
    {"two paths", {GET, HTTP, PATH, PATH, HOST}, 0, 0},
    {"two authorities", {GET, HTTP, PATH, HOST, HOST}, 0, 0},
    {"unknown pseudo", {GET, HTTP, PATH, HOST, H2_NV(":evil", "1")}, 0, 0},
    {"status in a request", {GET, HTTP, PATH, HOST, H2_NV(":status", "200")}, 0, 0},
    {"pseudo behind a field", {GET, HTTP, PATH, H2_NV("a", "b"), HOST}, 0, 0},
    {"empty path", {GET, HTTP, H2_NV(":path", ""), HOST}, 0, 0},
    {"path without slash", {GET, HTTP, H2_NV(":path", "now"), HOST}, 0, 0},
    {"absolute path", {GET, HTTP, H2_NV(":path", "http://b/"), HOST}, 0, 0},
    {"star for GET", {GET, HTTP, H2_NV(":path", "*"), HOST}, 0, 0},
    {"space in path", {GET, HTTP, H2_NV(":path", "/a b"), HOST}, 0, -1},
    {"request line in path", {GET, HTTP, H2_NV(":path", "/ HTTP/1.1\r\nX: y"), HOST}, 0, 0},
    {"fragment in path", {GET, HTTP, H2_NV(":path", "/a#b"), HOST}, 0, 400},
    {"tab in path", {GET, HTTP, H2_NV(":path", "/a\tb"), HOST}, 0, -1},
    {"high byte in path", {GET, HTTP, H2_NV(":path", "/\x80"), HOST}, 0, -1},
    {"space in method", {H2_NV(":method", "GET /"), HTTP, PATH, HOST}, 0, -1},
    {"lower case method", {H2_NV(":method", "get"), HTTP, PATH, HOST}, 0, 400},
    {"unknown method", {H2_NV(":method", "BREW"), HTTP, PATH, HOST}, 0, 400},
    {"CR LF in method", {H2_NV(":method", "GET\r\n"), HTTP, PATH, HOST}, 0, 0},
    {"odd scheme", {GET, H2_NV(":scheme", "ftp"), PATH, HOST}, 0, -1},
    {"CR in authority", {GET, HTTP, PATH, H2_NV(":authority", "a\rb")}, 0, 0},
    {"host differs", {GET, HTTP, PATH, HOST, H2_NV("host", "b")}, 0, 400},
    {"two hosts", {GET, HTTP, PATH, H2_NV("host", "a"), H2_NV("host", "a")}, 0, 0},
    {"CR LF in a value", {GET, HTTP, PATH, HOST, H2_NV("x", "a\r\nEvil: 1")}, 0, 0},
    {"LF in a value", {GET, HTTP, PATH, HOST, H2_NV("x", "a\nb")}, 0, 0},
    {"NUL in a value", {GET, HTTP, PATH, HOST, H2_NV("x", "a\0b")}, 0, 0},
    {"space before a value", {GET, HTTP, PATH, HOST, H2_NV("x", " a")}, 0, -1},
    {"empty name", {GET, HTTP, PATH, HOST, H2_NV("", "a")}, 0, 0},
    {"colon in a name", {GET, HTTP, PATH, HOST, H2_NV("a:b", "c")}, 0, 0},
    {"space in a name", {GET, HTTP, PATH, HOST, H2_NV("a b", "c")}, 0, 0},
    {"CR LF in a name", {GET, HTTP, PATH, HOST, H2_NV("a\r\nb", "c")}, 0, 0},
    {"connection", {GET, HTTP, PATH, HOST, H2_NV("connection", "close")}, 0, 0},
    {"keep-alive", {GET, HTTP, PATH, HOST, H2_NV("keep-alive", "1")}, 0, 0},
    {"proxy-connection", {GET, HTTP, PATH, HOST, H2_NV("proxy-connection", "a")}, 0, 0},
    {"upgrade", {GET, HTTP, PATH, HOST, H2_NV("upgrade", "websocket")}, 0, 0},
    {"transfer-encoding", {GET, HTTP, PATH, HOST, H2_NV("transfer-encoding", "chunked")}, 5, 0},
    {"te", {GET, HTTP, PATH, HOST, H2_NV("te", "gzip")}, 0, 0},
    {"expectation", {GET, HTTP, PATH, HOST, H2_NV("expect", "miracle")}, 0, 400},
    {"length twice",
     {GET, HTTP, PATH, HOST, H2_NV("content-length", "5"), H2_NV("content-length", "5")},
     5,
     0},
    {"length with sign", {GET, HTTP, PATH, HOST, H2_NV("content-length", "+5")}, 5, 0},
    {"length as list", {GET, HTTP, PATH, HOST, H2_NV("content-length", "5, 5")}, 5, 0},
    {"length with zero in front", {GET, HTTP, PATH, HOST, H2_NV("content-length", "05")}, 5, 400},
    {"length without body", {GET, HTTP, PATH, HOST, H2_NV("content-length", "5")}, 0, 0},
    {"CONNECT", {H2_NV(":method", "CONNECT"), HOST}, 0, 501},
    {"CONNECT to a port", {H2_NV(":method", "CONNECT"), H2_NV(":authority", "a:22")}, 5, 501},
    {"protocol without CONNECT", {GET, H2_NV(":protocol", "websocket"), HTTP, PATH, HOST}, 0, 0},
    {"other protocol",
     {H2_NV(":method", "CONNECT"), H2_NV(":protocol", "connect-udp"), HTTP, PATH, HOST},
     5,
     501},
};
#define REFUSED_CNT (sizeof(refused) / sizeof(refused[0]))

START_TEST(http2_server_refuses_what_could_be_read_in_two_ways)
{
    size_t cnt = 0;
    struct h2_reply *r;

    while (refused[_i].nv[cnt].name)
        cnt++;
    start();
    r = h2_reply(h2_submit(refused[_i].nv, cnt, refused[_i].body_len ? 5 : SIZE_MAX));
    h2_until(r->is_closed);
    ck_assert_msg(T.request_cnt == 0, "%s: reached the handler", refused[_i].what);
    if (refused[_i].status == 0)
        ck_assert_msg(r->status == 0 && r->error == NGHTTP2_PROTOCOL_ERROR, "%s: %d, %u",
                      refused[_i].what, r->status, r->error);
    else if (refused[_i].status > 0)
        ck_assert_msg(r->status == refused[_i].status, "%s: %d", refused[_i].what, r->status);
    else
        ck_assert_msg(r->status == 400 || r->error, "%s: %d", refused[_i].what, r->status);
    connection_still_serves();
    finish();
}
END_TEST

START_TEST(http2_server_counts_the_body_against_its_length)
{
    nghttp2_nv nv[] = {H2_NV(":method", "POST"), HTTP, H2_NV(":path", "/wait"), HOST,
                       H2_NV("content-length", "10")};
    int32_t longer, shorter;

    start();
    longer = h2_submit(nv, 5, 11);
    shorter = h2_submit(nv, 5, 9);
    h2_until(h2_reply(longer)->is_closed && h2_reply(shorter)->is_closed);
    ck_assert_uint_eq(h2_reply(longer)->error, NGHTTP2_PROTOCOL_ERROR);
    ck_assert_uint_eq(h2_reply(shorter)->error, NGHTTP2_PROTOCOL_ERROR);
    h2_until(T.abort_cnt == 2);
    ck_assert_int_eq(T.end_cnt, 0);
    connection_still_serves();
    finish();
}
END_TEST

START_TEST(http2_server_bounds_the_fields)
{
    static char value[9000];
    nghttp2_nv nv[140] = {GET, HTTP, PATH, HOST};
    int32_t many, large;

    memset(value, 'v', sizeof(value) - 1);
    start();
    for (size_t i = 4; i < 140; i++)
        nv[i] = h2_nv("x", "y");
    many = h2_submit(nv, 140, SIZE_MAX);
    for (size_t i = 4; i < 12; i++)
        nv[i] = h2_nv("x", value);
    large = h2_submit(nv, 12, SIZE_MAX);
    h2_until(h2_reply(many)->is_closed && h2_reply(large)->is_closed);
    ck_assert_int_eq(h2_reply(many)->status, 431);
    ck_assert_int_eq(h2_reply(large)->status, 431);
    ck_assert_int_eq(T.request_cnt, 0);
    connection_still_serves();
    finish();
}
END_TEST

START_TEST(http2_server_gives_each_its_share_while_it_is_busy)
{
    struct http_server_conf conf = default_conf();
    int32_t ids[HTTP2_STREAMS_FAIR + 2];

    conf.streams_busy = HTTP2_STREAMS_FAIR + 1;
    start_with(&conf);
    for (size_t i = 0; i < HTTP2_STREAMS_FAIR + 2; i++)
        ids[i] = h2_get("/wait");
    h2_until(h2_reply(ids[HTTP2_STREAMS_FAIR + 1])->is_closed);
    ck_assert_uint_eq(h2_reply(ids[HTTP2_STREAMS_FAIR + 1])->error, NGHTTP2_REFUSED_STREAM);
    ck_assert_int_eq(T.request_cnt, HTTP2_STREAMS_FAIR + 1);
    (void)nghttp2_submit_rst_stream(H.session, 0, ids[0], NGHTTP2_CANCEL);
    h2_until(T.abort_cnt == 1);
    connection_still_serves();
    finish();
}
END_TEST

/* ---- floods and odd bytes ---- */

static void calmed(void)
{
    h2_until(H.p->ended);
    h2_step();
    if (!H.is_confused) {
        ck_assert(H.has_goaway);
        ck_assert_uint_eq(H.goaway, NGHTTP2_ENHANCE_YOUR_CALM);
    }
    ck_assert_uint_eq(http_server_connection_cnt(T.s), 0);
    ck_assert_uint_eq(http_server_exchange_cnt(T.s), 0);
}

START_TEST(http2_server_ends_a_rapid_reset)
{
    static const uint32_t codes[] = {NGHTTP2_CANCEL, NGHTTP2_NO_ERROR};

    start();
    for (int i = 0; i < HTTP2_RESETS_BURST + 300 && !H.p->ended; i++) {
        int32_t id = h2_get("/wait");
        h2_step();
        if (nghttp2_session_find_stream(H.session, id))
            (void)nghttp2_submit_rst_stream(H.session, 0, id, codes[_i]);
        h2_step();
    }
    calmed();
    ck_assert_int_eq(T.abort_cnt, T.request_cnt);
    ck_assert_int_ge(T.request_cnt, HTTP2_RESETS_BURST);
    ck_assert_int_lt(T.request_cnt, HTTP2_RESETS_BURST + 300);
    finish();
}
END_TEST

START_TEST(http2_server_lets_a_client_give_up_many_streams_at_once)
{
    int32_t ids[200];

    start();
    for (size_t i = 0; i < 200; i++)
        ids[i] = h2_get("/wait");
    h2_until(T.request_cnt == 200);
    for (size_t i = 0; i < 200; i++)
        (void)nghttp2_submit_rst_stream(H.session, 0, ids[i], NGHTTP2_CANCEL);
    h2_until(T.abort_cnt == 200);
    connection_still_serves();
    finish();
}
END_TEST

/* Frames that move nothing, and are cheap to send. */
static const struct {
    unsigned type, flags, id;
    size_t len;
} idle[] = {
    {NGHTTP2_PING, 0, 0, 8},          {NGHTTP2_SETTINGS, 0, 0, 0},
    {NGHTTP2_DATA, 0, 1, 0},          {NGHTTP2_PRIORITY, 0, 99, 5},

    {NGHTTP2_WINDOW_UPDATE, 0, 0, 4},
};

START_TEST(http2_server_ends_a_flood_of_frames_that_move_nothing)
{
    const char *frame;

    start();
    H.holds_end = true;
    H.is_confused = idle[_i].type == NGHTTP2_SETTINGS;
    (void)h2_request("POST", "/wait", 0);
    h2_until(T.request_cnt == 1);
    frame = frame_bytes(idle[_i].type, idle[_i].flags, idle[_i].id, idle[_i].len);
    if (idle[_i].type == NGHTTP2_WINDOW_UPDATE)
        memcpy(H.out, frame, 13);
    for (int i = 0; i < 20000 && !H.p->ended; i++) {
        memcpy(H.out + H.out_len, frame, 9 + idle[_i].len);
        if (idle[_i].type == NGHTTP2_WINDOW_UPDATE)
            H.out[H.out_len + 12] = 1; /* by one byte */
        H.out_len += 9 + idle[_i].len;
        if (i % 100 == 0)
            h2_step();
    }
    calmed();
    ck_assert_int_eq(T.abort_cnt, 1);
    finish();
}
END_TEST

START_TEST(http2_server_ends_an_endless_field_section)
{
    start();
    h2_until(H.p->total > 0);
    memcpy(H.out, frame_bytes(NGHTTP2_HEADERS, 0, 1, 1), 10);
    H.out[9] = 0x82; /* :method: GET */
    H.out_len = 10;
    for (int i = 0; i < 1000; i++) {
        memcpy(H.out + H.out_len, frame_bytes(NGHTTP2_CONTINUATION, 0, 1, 1), 10);
        H.out[H.out_len + 9] = 0x84;
        H.out_len += 10;
    }
    run_until((h2_step(), H.p->ended));
    ck_assert_int_eq(T.request_cnt, 0);
    ck_assert_uint_eq(http_server_connection_cnt(T.s), 0);
    finish();
}
END_TEST

/* One long field is put into HPACK's table, and then named by a byte as often as a frame holds. */
START_TEST(http2_server_ends_fields_that_are_made_of_few_bytes)
{
    enum { VALUE = 4000, LEN = 16384 };
    static const char put[] = "\x82\x86\x84\x41\x01h\x40\x01"
                              "a\x7f\xa1\x1e";
    unsigned char *frame = H.out;

    start();
    h2_until(H.p->total > 0);
    memset(frame, 0xbe, 9 + LEN); /* the field again */
    memcpy(frame, "\0\x40\0\1\5\0\0\0\1", 9);
    memcpy(frame + 9, put, sizeof(put) - 1);
    memset(frame + 9 + sizeof(put) - 1, 'v', VALUE);
    H.out_len = 9 + LEN;
    calmed();
    ck_assert_int_eq(T.request_cnt, 0);
    finish();
}
END_TEST

START_TEST(http2_server_closes_after_a_broken_preface)
{
    struct peer *p;
    int fd;

    start();
    p = peer_new(&fd);
    http_server_accept(T.s, fd);
    peer_send(p, "PRI * HTTP/3.0\r\n\r\nSM\r\n\r\n");
    run_until(p->ended);
    connection_still_serves();
    finish();
}
END_TEST

SUITE_MAIN_WITH(
    "http2_server_refusal",
    TESTS(http2_server_counts_the_body_against_its_length, http2_server_bounds_the_fields,
          http2_server_gives_each_its_share_while_it_is_busy,
          http2_server_lets_a_client_give_up_many_streams_at_once,
          http2_server_ends_an_endless_field_section,
          http2_server_ends_fields_that_are_made_of_few_bytes,
          http2_server_closes_after_a_broken_preface),
    LOOPS({http2_server_refuses_what_could_be_read_in_two_ways, REFUSED_CNT},
          {http2_server_ends_a_rapid_reset, 2},
          {http2_server_ends_a_flood_of_frames_that_move_nothing, sizeof(idle) / sizeof(idle[0])}))
