/* SPDX-License-Identifier: Apache-2.0 */
/* The name in the first bytes of a connection: right ones, two-faced ones, and each cut. */
#include "tests/unit/suite.h"

#include <openssl/ssl.h>

#include "broker/egress/egress_peek.h"

/* ---- ClientHello messages ---- */

struct bytes {
    size_t len;
    unsigned char at[40000];
};

static void put(struct bytes *b, const void *p, size_t len)
{
    ck_assert_uint_le(b->len + len, sizeof(b->at));
    memcpy(b->at + b->len, p, len);
    b->len += len;
}

static void put_number(struct bytes *b, size_t n, size_t len)
{
    ck_assert_uint_le(b->len + len, sizeof(b->at));
    while (len-- > 0)
        b->at[b->len++] = (unsigned char)(n >> (8 * len));
}

static void put_vector(struct bytes *b, size_t len_len, const struct bytes *part)
{
    put_number(b, part->len, len_len);
    put(b, part->at, part->len);
}

static void put_server_name(struct bytes *extensions, const char *name, size_t name_len)
{
    static struct bytes list, entry;
    list.len = entry.len = 0;
    put_number(&entry, 0, 1);
    put_number(&entry, name_len, 2);
    put(&entry, name, name_len);
    put_vector(&list, 2, &entry);
    put_number(extensions, 0, 2);
    put_vector(extensions, 2, &list);
}

static void put_extension(struct bytes *extensions, unsigned type, const void *p, size_t len)
{
    put_number(extensions, type, 2);
    put_number(extensions, len, 2);
    put(extensions, p, len);
}

/* @extensions: NULL: the field is missing. */
static void put_hello(struct bytes *message, const struct bytes *extensions)
{
    static struct bytes body;
    body.len = 0;
    put_number(&body, 0x0303, 2);
    for (int i = 0; i < 4; i++)
        put_number(&body, 0x1122334455667788u, 8);
    put_number(&body, 0, 1);
    put_number(&body, 2, 2);
    put_number(&body, 0x1301, 2);
    put_number(&body, 1, 1);
    put_number(&body, 0, 1);
    if (extensions)
        put_vector(&body, 2, extensions);
    put_number(message, 1, 1);
    put_vector(message, 3, &body);
}

/* In records of at most @step bytes. */
static void put_records(struct bytes *out, const struct bytes *message, size_t step)
{
    for (size_t i = 0; i < message->len; i += step) {
        size_t len = message->len - i < step ? message->len - i : step;
        put_number(out, 0x160301, 3);
        put_number(out, len, 2);
        put(out, message->at + i, len);
    }
}

static struct bytes extensions, message, wire;

static void begin(void)
{
    extensions.len = message.len = wire.len = 0;
}

static void hello_with(const char *name)
{
    begin();
    put_extension(&extensions, 43, "\2\3\4", 3);
    put_server_name(&extensions, name, strlen(name));
    put_extension(&extensions, 10, "\0\2\0\35", 4);
    put_hello(&message, &extensions);
}

/* ---- peeking ---- */

static struct egress_peek peek;

static enum egress_peek_result feed(const void *p, size_t len, size_t step)
{
    enum egress_peek_result result = EGRESS_PEEK_MORE;
    egress_peek_init(&peek);
    for (size_t n = step < len ? step : len; result == EGRESS_PEEK_MORE; n += step) {
        n = n < len ? n : len;
        result = egress_peek_feed(&peek, adit_view_mem(p, n));
        if (n == len)
            break;
    }
    return result;
}

static enum egress_peek_result feed_wire(void)
{
    enum egress_peek_result whole = feed(wire.at, wire.len, wire.len);
    ck_assert_int_eq(feed(wire.at, wire.len, 1), whole);
    return whole;
}

static enum egress_peek_result feed_text(const char *text)
{
    size_t len = strlen(text);
    enum egress_peek_result whole = feed(text, len, len);
    ck_assert_int_eq(feed(text, len, 1), whole);
    return whole;
}

static void assert_named(const char *name)
{
    ck_assert_msg(adit_view_eq_str(egress_peek_name(&peek), name), "%.*s",
                  ADIT_VIEW_ARG(egress_peek_name(&peek)));
}

START_TEST(egress_peek_reads_the_server_name_in_any_records)
{
    static const size_t steps[] = {16384, 100, 7, 3, 1};
    for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
        hello_with("Www.Example.com");
        put_records(&wire, &message, steps[i]);
        ck_assert_int_eq(feed_wire(), EGRESS_PEEK_NAMED);
        ck_assert_int_eq(peek.kind, EGRESS_PEEK_TLS);
        assert_named("www.example.com");
    }
}
END_TEST

START_TEST(egress_peek_wants_more_until_the_hello_is_whole)
{
    hello_with("a.example");
    put_records(&wire, &message, 50);
    size_t whole = wire.len;
    for (wire.len = 0; wire.len < whole; wire.len++)
        ck_assert_int_eq(feed_wire(), EGRESS_PEEK_MORE);
    wire.len = whole;
    put(&wire, "\24\3\3\0\1\1 and what else follows", 28);
    ck_assert_int_eq(feed_wire(), EGRESS_PEEK_NAMED);
}
END_TEST

START_TEST(egress_peek_reads_what_a_real_client_sends)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
    SSL *ssl = SSL_new(ctx);
    char *bytes;
    SSL_set_bio(ssl, BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
    ck_assert_int_eq(SSL_ctrl(ssl, SSL_CTRL_SET_TLSEXT_HOSTNAME, TLSEXT_NAMETYPE_host_name,
                              (char[]){"real.example"}),
                     1);
    ck_assert_int_lt(SSL_connect(ssl), 0);
    size_t len = (size_t)BIO_get_mem_data(SSL_get_wbio(ssl), &bytes);
    ck_assert_int_eq(feed(bytes, len, len), EGRESS_PEEK_NAMED);
    assert_named("real.example");
    ck_assert_int_eq(feed(bytes, len, 1), EGRESS_PEEK_NAMED);
    SSL_free(ssl);
    SSL_CTX_free(ctx);
}
END_TEST

START_TEST(egress_peek_finds_no_name_in_a_hello_without)
{
    begin();
    put_hello(&message, NULL);
    put_records(&wire, &message, 16384);
    ck_assert_int_eq(feed_wire(), EGRESS_PEEK_NAMELESS);
    begin();
    put_extension(&extensions, 43, "\2\3\4", 3);
    put_hello(&message, &extensions);
    put_records(&wire, &message, 16384);
    ck_assert_int_eq(feed_wire(), EGRESS_PEEK_NAMELESS);
    hello_with("192.0.2.1");
    put_records(&wire, &message, 16384);
    ck_assert_int_eq(feed_wire(), EGRESS_PEEK_NAMELESS);
}
END_TEST

START_TEST(egress_peek_takes_the_outer_name_of_an_encrypted_hello)
{
    begin();
    put_extension(&extensions, 0xfe0d, "\0secret.example", 15);
    put_server_name(&extensions, "outer.example", 13);
    put_hello(&message, &extensions);
    put_records(&wire, &message, 16384);
    ck_assert_int_eq(feed_wire(), EGRESS_PEEK_NAMED);
    assert_named("outer.example");
}
END_TEST

static void assert_hello_broken(const char *why)
{
    put_hello(&message, &extensions);
    put_records(&wire, &message, 16384);
    ck_assert_msg(feed_wire() == EGRESS_PEEK_BROKEN, "%s: %d", why, (int)peek.result);
}

START_TEST(egress_peek_refuses_names_that_can_be_read_in_two_ways)
{
    begin();
    put_server_name(&extensions, "a.example", 9);
    put_server_name(&extensions, "b.example", 9);
    assert_hello_broken("two extensions");
    begin();
    put_extension(&extensions, 0, "\0\20\0\0\5a.exa\0\0\5b.exa", 18);
    assert_hello_broken("two names");
    begin();
    put_extension(&extensions, 0, "\0\10\0\0\5a.exa!", 11);
    assert_hello_broken("bytes behind the list");
    begin();
    put_extension(&extensions, 0, "\0\10\1\0\5a.exa", 10);
    assert_hello_broken("a type that is not known");
    begin();
    put_extension(&extensions, 0, "", 0);
    assert_hello_broken("no list");
    begin();
    put_extension(&extensions, 0, "\0\3\0\0\0", 5);
    assert_hello_broken("no name");
    begin();
    put_server_name(&extensions, "a.example\0b", 11);
    assert_hello_broken("NUL");
    begin();
    put_server_name(&extensions, "a..example", 10);
    assert_hello_broken("an empty label");
    begin();
    put_server_name(&extensions, "a/b.example", 11);
    assert_hello_broken("a slash");
}
END_TEST

START_TEST(egress_peek_refuses_broken_records_and_messages)
{
    static const struct {
        size_t at;
        unsigned char value;
        const char *why;
    } changes[] = {{1, 2, "version"},     {5, 2, "another message"},  {5 + 38, 33, "session id"},
                   {5 + 40, 3, "suites"}, {5 + 43, 0, "compression"}, {5 + 46, 200, "extensions"}};
    for (size_t i = 0; i < sizeof(changes) / sizeof(changes[0]); i++) {
        hello_with("a.example");
        put_records(&wire, &message, 16384);
        wire.at[changes[i].at] = changes[i].value;
        ck_assert_msg(feed_wire() == EGRESS_PEEK_BROKEN, "%s", changes[i].why);
    }
    hello_with("a.example");
    put(&message, "\1", 1); /* the record goes on behind it */
    put_records(&wire, &message, 16384);
    ck_assert_int_eq(feed_wire(), EGRESS_PEEK_BROKEN);
    begin();
    put(&wire, "\26\3\1\0\0", 5);
    ck_assert_int_eq(feed_wire(), EGRESS_PEEK_BROKEN);
    begin();
    put(&wire, "\26\3\1\0\1\1\25\3\1\0\1\1", 12); /* an alert between */
    ck_assert_int_eq(feed_wire(), EGRESS_PEEK_BROKEN);
}
END_TEST

START_TEST(egress_peek_bounds_the_hello)
{
    static char filler[EGRESS_PEEK_MAX];
    begin();
    put_extension(&extensions, 21, filler, EGRESS_PEEK_MAX - 100);
    put_server_name(&extensions, "a.example", 9);
    put_hello(&message, &extensions);
    put_records(&wire, &message, 16384);
    ck_assert_uint_le(wire.len, EGRESS_PEEK_MAX);
    ck_assert_int_eq(feed_wire(), EGRESS_PEEK_NAMED);
    wire.len = 0;
    put_records(&wire, &message, 64); /* the heads of records count as well */
    ck_assert_int_eq(feed_wire(), EGRESS_PEEK_BROKEN);
    begin();
    put(&wire, "\26\3\1\0\4\1\1\0\0", 9);
    ck_assert_int_eq(feed_wire(), EGRESS_PEEK_BROKEN);
}
END_TEST

static const struct http_row {
    const char *text;
    enum egress_peek_result result;
    enum egress_peek_kind kind;
    const char *name;
} rows[] = {
#define HTTP(text, result, name)                                                                   \
    {                                                                                              \
        text, EGRESS_PEEK_##result, EGRESS_PEEK_HTTP, name                                         \
    }
    HTTP("GET / HTTP/1.1\r\nHost: A.Example\r\n\r\n", NAMED, "a.example"),
    HTTP("GET / HTTP/1.1\r\nX: y\r\nHost: a.example.:8080\r\n\r\nGET /", NAMED, "a.example"),
    HTTP("POST /x HTTP/1.1\r\nHost: a.example\r\nContent-Length: 5\r\n\r\nab", NAMED, "a.example"),
    HTTP("OPTIONS * HTTP/1.1\r\nHost: a.example\r\n\r\n", NAMED, "a.example"),
    HTTP("GET http://a.example/x HTTP/1.1\r\nHost: A.EXAMPLE\r\n\r\n", NAMED, "a.example"),
    HTTP("GET http://a.example/x HTTP/1.0\r\n\r\n", NAMED, "a.example"),
    HTTP("GET / HTTP/1.0\r\n\r\n", NAMELESS, ""),
    HTTP("GET / HTTP/1.1\r\nHost: 192.0.2.1\r\n\r\n", NAMELESS, ""),
    HTTP("GET / HTTP/1.1\r\nHost: [2001:db8::1]:80\r\n\r\n", NAMELESS, ""),
    HTTP("GET / HTTP/1.1\r\nHost: a.example\r\n", MORE, ""),
    HTTP("GET / HTTP/1.1\r\nHost: a.example", MORE, ""),
    HTTP("GET / HTTP/1.1\r\n\r\n", BROKEN, ""),
    HTTP("GET / HTTP/1.1\r\nHost:\r\n\r\n", BROKEN, ""),
    HTTP("GET / HTTP/1.1\r\nHost: a.example\r\nHost: a.example\r\n\r\n", BROKEN, ""),
    HTTP("GET / HTTP/1.1\r\nHost: a.example\r\nhOST: b.example\r\n\r\n", BROKEN, ""),
    HTTP("GET / HTTP/1.1\r\nHost: a.example, b.example\r\n\r\n", BROKEN, ""),
    HTTP("GET / HTTP/1.1\r\nHost: a.example\r\n folded\r\n\r\n", BROKEN, ""),
    HTTP("GET / HTTP/1.1\r\nHost : a.example\r\n\r\n", BROKEN, ""),
    HTTP("GET / HTTP/1.1\r\nHost: a.example\n\r\n", BROKEN, ""),
    HTTP("GET / HTTP/1.1\r\nHost: a.example/\r\n\r\n", BROKEN, ""),
    HTTP("GET / HTTP/1.1\r\nHost: u@a.example\r\n\r\n", BROKEN, ""),
    HTTP("GET http://b.example/x HTTP/1.1\r\nHost: a.example\r\n\r\n", BROKEN, ""),
    HTTP("GET http://192.0.2.1/x HTTP/1.1\r\nHost: a.example\r\n\r\n", BROKEN, ""),
    HTTP("GET http://a.example@b.example/x HTTP/1.1\r\nHost: a.example\r\n\r\n", BROKEN, ""),
    HTTP("GET / HTTP/1.1\r\nHost: a.example\r\nContent-Length: 1\r\nTransfer-Encoding: "
         "chunked\r\n\r\n",
         BROKEN, ""),
    HTTP("CONNECT a.example:443 HTTP/1.1\r\nHost: a.example\r\n\r\n", BROKEN, ""),
    {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", EGRESS_PEEK_NAMELESS, EGRESS_PEEK_HTTP2, ""},
    {"PRI * HTTP/2.0\r\n\r\nSM\r\n", EGRESS_PEEK_MORE, EGRESS_PEEK_UNKNOWN, ""},
    {"PRI * HTTP/2.0\r\nHost: a.example\r\n\r\n", EGRESS_PEEK_NAMELESS, EGRESS_PEEK_OTHER, ""},
    {"GET / HTTP/2.0\r\nHost: a.example\r\n\r\n", EGRESS_PEEK_NAMELESS, EGRESS_PEEK_OTHER, ""},
    {"SSH-2.0-OpenSSH_9.2\r\n", EGRESS_PEEK_NAMELESS, EGRESS_PEEK_OTHER, ""},
    {"NICK somebody\r\n", EGRESS_PEEK_NAMELESS, EGRESS_PEEK_OTHER, ""},
    {"*1\r\n$4\r\nPING\r\n", EGRESS_PEEK_NAMELESS, EGRESS_PEEK_OTHER, ""},
    {"\005\001", EGRESS_PEEK_NAMELESS, EGRESS_PEEK_OTHER, ""},
    {" GET / HTTP/1.1\r\n", EGRESS_PEEK_NAMELESS, EGRESS_PEEK_OTHER, ""},
    {"ABCDEFGHIJKLMNOPQRSTUVWXYZABCDEFGHIJ", EGRESS_PEEK_NAMELESS, EGRESS_PEEK_OTHER, ""},
    {"GE", EGRESS_PEEK_MORE, EGRESS_PEEK_UNKNOWN, ""},
    {"", EGRESS_PEEK_MORE, EGRESS_PEEK_UNKNOWN, ""},
};

START_TEST(egress_peek_reads_each_request)
{
    const struct http_row *r = &rows[_i];
    enum egress_peek_result result = feed_text(r->text);
    ck_assert_msg(result == r->result && peek.kind == r->kind, "%s: %d, %d", r->text, (int)result,
                  (int)peek.kind);
    assert_named(r->name);
}
END_TEST

START_TEST(egress_peek_bounds_the_head)
{
    begin();
    put(&wire, "GET / HTTP/1.1\r\n", 16);
    for (int i = 0; i < 3; i++) {
        put(&wire, "X: ", 3);
        memset(wire.at + wire.len, 'x', 6000);
        wire.len += 6000;
        put(&wire, "\r\n", 2);
    }
    put(&wire, "Host: a.example\r\n\r\n", 19);
    ck_assert_int_eq(feed_wire(), EGRESS_PEEK_BROKEN);
}
END_TEST

SUITE_MAIN_WITH("egress_peek",
                TESTS(egress_peek_reads_the_server_name_in_any_records,
                      egress_peek_wants_more_until_the_hello_is_whole,
                      egress_peek_reads_what_a_real_client_sends,
                      egress_peek_finds_no_name_in_a_hello_without,
                      egress_peek_takes_the_outer_name_of_an_encrypted_hello,
                      egress_peek_refuses_names_that_can_be_read_in_two_ways,
                      egress_peek_refuses_broken_records_and_messages, egress_peek_bounds_the_hello,
                      egress_peek_bounds_the_head),
                LOOPS({egress_peek_reads_each_request, sizeof(rows) / sizeof(rows[0])}))
