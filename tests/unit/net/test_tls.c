/* SPDX-License-Identifier: Apache-2.0 */
/* TLS streams against a real client in the same process. */
#include "tests/unit/suite.h"
#include "tls_fixture.h"

#include <malloc.h>

#include "net/http_server.h"

static struct {
    struct tls_context *context;
    struct net_stream *s;
    struct tls_client *client;
    size_t read_total, read_max;
    char last[64];
    bool is_pattern_ok;
    int end_cnt, drain_cnt, end_code;
    char end_text[ADIT_ERR_MSG_CAP];
    bool echo, close_in_read, stop_in_read;
} T;

static char pattern_at(size_t i)
{
    return (char)('a' + (i * 7 + i / 251) % 26);
}

static void on_read(struct net_stream *s, struct adit_view bytes)
{
    for (size_t i = 0; i < bytes.len; i++)
        T.is_pattern_ok = T.is_pattern_ok && bytes.ptr[i] == pattern_at(T.read_total + i);
    T.read_total += bytes.len;
    T.read_max = bytes.len > T.read_max ? bytes.len : T.read_max;
    (void)snprintf(T.last, sizeof(T.last), "%.*s", bytes.len < 60 ? (int)bytes.len : 60, bytes.ptr);
    if (T.echo)
        ck_assert_int_eq(net_stream_write(s, &bytes, 1), ADIT_OK);
    if (T.stop_in_read)
        net_stream_read_stop(s);
    if (T.close_in_read) {
        net_stream_close(s);
        T.s = NULL;
    }
}

static void on_end(struct net_stream *s, const struct adit_err *err)
{
    (void)s;
    T.end_cnt++;
    T.end_code = err ? err->code : 0;
    (void)snprintf(T.end_text, sizeof(T.end_text), "%s", err ? err->msg : "");
}

static void on_drain(struct net_stream *s)
{
    (void)s;
    T.drain_cnt++;
}

static const struct net_stream_ops ops = {on_read, on_end, on_drain};

static int open_stream(void)
{
    struct adit_err err = ADIT_ERR_INIT;
    int fds[2];

    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds), 0);
    ck_assert_int_eq(net_stream_open_fd(&F.net, fds[1], &ops, &T, &T.s, &err), ADIT_OK);
    ck_assert_int_eq(tls_accept(T.context, T.s, &err), ADIT_OK);
    ck_assert(net_stream_is_encrypted(T.s));
    net_stream_read_start(T.s);
    return fds[0];
}

static void setup(void)
{
    memset(&T, 0, sizeof(T));
    T.is_pattern_ok = true;
    fixture_init();
    struct tls_context_conf conf = make_pair("adit.test");
    T.context = load_pair(&conf);
}

static void teardown(void)
{
    if (T.client)
        client_free(T.client);
    if (T.s)
        net_stream_close(T.s);
    tls_context_unref(T.context);
    fixture_fini();
}

static void connect_client(void)
{
    T.client = client_new(open_stream());
    spin_until(T.client, T.client->is_up);
    (void)uv_run(&F.uv, UV_RUN_NOWAIT); /* the client's last flight */
}

START_TEST(tls_carries_bytes_both_ways)
{
    static const int versions[] = {TLS1_2_VERSION, TLS1_3_VERSION};
    T.echo = true;
    T.client = client_new(open_stream());
    ck_assert_int_eq(SSL_set_min_proto_version(T.client->ssl, versions[_i]), 1);
    ck_assert_int_eq(SSL_set_max_proto_version(T.client->ssl, versions[_i]), 1);
    spin_until(T.client, T.client->is_up);
    ck_assert_int_eq(SSL_version(T.client->ssl), versions[_i]);
    client_send(T.client, "hello");
    spin_until(T.client, T.client->len == 5);
    ck_assert_str_eq(T.client->bytes, "hello");
    ck_assert_int_eq(T.end_cnt, 0);
}
END_TEST

START_TEST(tls_writes_many_views_in_order)
{
    static char big[100000];
    connect_client();
    for (size_t i = 0; i < sizeof(big); i++)
        big[i] = pattern_at(i);
    /* Each cut of 100,000 bytes in three pieces, sizes around a record's. */
    static const size_t cuts[][2] = {{1, 2},         {200, 16384},   {200, 16584},   {0, 50000},
                                     {16384, 32768}, {16383, 99999}, {99999, 99999}, {0, 0}};
    for (size_t k = 0; k < sizeof(cuts) / sizeof(cuts[0]); k++) {
        struct adit_view views[] = {adit_view_mem(big, cuts[k][0]),
                                    adit_view_mem(big + cuts[k][0], cuts[k][1] - cuts[k][0]),
                                    adit_view_mem(big + cuts[k][1], sizeof(big) - cuts[k][1]),
                                    adit_view_mem(NULL, 0)};
        T.client->len = 0;
        ck_assert_int_eq(net_stream_write(T.s, views, 4), ADIT_OK);
        spin_until(T.client, T.client->len == sizeof(big));
        ck_assert_int_eq(memcmp(T.client->bytes, big, sizeof(big)), 0);
    }
}
END_TEST

START_TEST(tls_takes_a_handshake_in_single_bytes)
{
    BIO *in = BIO_new(BIO_s_mem()), *out = BIO_new(BIO_s_mem());
    int fd = open_stream();
    char byte;
    T.client = client_new(fd);
    SSL_set_bio(T.client->ssl, in, out);
    for (int i = 0; i < 100000 && T.read_total < 5; i++) {
        char got[4096];
        ssize_t n = read(fd, got, sizeof(got));
        if (n > 0)
            ck_assert_int_eq(BIO_write(in, got, (int)n), (int)n);
        client_step(T.client);
        T.client->has_failed = false; /* an empty memory BIO reads as an end */
        if (T.client->is_up && i % 7 == 0 && T.read_total == 0 && BIO_pending(out) == 0)
            client_send(T.client, "hello");
        if (BIO_read(out, &byte, 1) == 1)
            ck_assert_int_eq(write(fd, &byte, 1), 1);
        (void)uv_run(&F.uv, UV_RUN_NOWAIT);
    }
    ck_assert_uint_eq(T.read_total, 5);
    ck_assert_str_eq(T.last, "hello");
    ck_assert_int_eq(T.end_cnt, 0);
}
END_TEST

/* ---- protocols ---- */

static void offer(const char *wire, bool has_h2)
{
    struct tls_context_conf conf = make_pair("alpn.test");
    conf.offers_h2 = has_h2;
    tls_context_unref(T.context);
    T.context = load_pair(&conf);
    T.client = client_new(open_stream());
    ck_assert_int_eq(
        SSL_set_alpn_protos(T.client->ssl, (const unsigned char *)wire, (unsigned)strlen(wire)), 0);
    spin_until(T.client, T.client->is_up || T.client->has_failed);
}

static void assert_chosen(const char *name)
{
    const unsigned char *chosen;
    unsigned len;
    SSL_get0_alpn_selected(T.client->ssl, &chosen, &len);
    ck_assert(adit_view_eq_str(adit_view_mem(chosen, len), name));
}

START_TEST(tls_chooses_h1_when_h2_is_not_served)
{
    offer("\x02h2\x08http/1.1", false);
    assert_chosen("http/1.1");
}
END_TEST

START_TEST(tls_prefers_h2_when_it_is_served)
{
    offer("\x08http/1.1\x02h2", true);
    assert_chosen("h2");
}
END_TEST

START_TEST(tls_refuses_foreign_protocols)
{
    offer("\x04imap", true);
    ck_assert(T.client->has_failed);
    spin_until(T.client, T.end_cnt);
    ck_assert_int_eq(T.end_code, ADIT_ERR_PROTOCOL);
}
END_TEST

START_TEST(tls_refuses_old_versions)
{
    T.client = client_new(open_stream());
    SSL_set_security_level(T.client->ssl, 0);
    ck_assert_int_eq(SSL_set_min_proto_version(T.client->ssl, TLS1_VERSION), 1);
    ck_assert_int_eq(SSL_set_max_proto_version(T.client->ssl, TLS1_1_VERSION), 1);
    spin_until(T.client, T.client->has_failed && T.end_cnt);
    ck_assert_int_eq(T.end_code, ADIT_ERR_PROTOCOL);
    ck_assert_uint_eq(T.read_total, 0);
}
END_TEST

START_TEST(tls_does_not_renegotiate)
{
    T.client = client_new(open_stream());
    ck_assert_int_eq(SSL_set_max_proto_version(T.client->ssl, TLS1_2_VERSION), 1);
    spin_until(T.client, T.client->is_up);
    ck_assert_int_eq(SSL_renegotiate(T.client->ssl), 1);
    (void)SSL_do_handshake(T.client->ssl);
    spin_until(T.client, T.client->has_failed);
}
END_TEST

/* Each asks for an answer, of which the client takes none. */
START_TEST(tls_ends_a_flood_of_key_updates)
{
    size_t most = 0;
    connect_client();
    ck_assert_int_eq(SSL_version(T.client->ssl), TLS1_3_VERSION);
    for (int i = 0; i < 100000 && T.end_cnt == 0; i++) {
        ERR_clear_error();
        (void)SSL_key_update(T.client->ssl, SSL_KEY_UPDATE_REQUESTED);
        (void)SSL_do_handshake(T.client->ssl);
        (void)uv_run(&F.uv, UV_RUN_NOWAIT);
        most = net_stream_queued(T.s) > most ? net_stream_queued(T.s) : most;
    }
    ck_assert_int_eq(T.end_cnt, 1);
    ck_assert_int_eq(T.end_code, ADIT_ERR_LIMIT);
    ck_assert_uint_le(most, 2 * TLS_TALK_MAX);
}
END_TEST

START_TEST(tls_resumes_sessions_by_ticket)
{
    SSL_SESSION *session;
    T.echo = true;
    connect_client();
    client_send(T.client, "x");
    spin_until(T.client, T.client->len == 1); /* the ticket came before it */
    session = SSL_get1_session(T.client->ssl);
    SSL_set_shutdown(T.client->ssl, SSL_SENT_SHUTDOWN); /* else it forgets the session */
    net_stream_close(T.s);
    client_free(T.client);
    T.client = client_new(open_stream());
    ck_assert_int_eq(SSL_set_session(T.client->ssl, session), 1);
    SSL_SESSION_free(session);
    spin_until(T.client, T.client->is_up);
    ck_assert_int_eq(SSL_session_reused(T.client->ssl), 1);
}
END_TEST

/* ---- ends ---- */

START_TEST(tls_close_notify_is_a_half_close)
{
    struct adit_view bye = ADIT_VIEW("last words");
    connect_client();
    ck_assert_int_ge(SSL_shutdown(T.client->ssl), 0);
    spin_until(T.client, T.end_cnt == 1);
    ck_assert_int_eq(T.end_code, 0);
    ck_assert_int_eq(net_stream_write(T.s, &bye, 1), ADIT_OK);
    net_stream_close_gracefully(T.s);
    T.s = NULL;
    spin_until(T.client, T.client->got_close_notify);
    ck_assert_str_eq(T.client->bytes, "last words");
}
END_TEST

START_TEST(tls_shutdown_sends_close_notify_after_the_queue)
{
    static char big[3u * 1024 * 1024];
    struct adit_view v = adit_view_mem(big, sizeof(big));
    connect_client();
    ck_assert_int_eq(net_stream_write(T.s, &v, 1), ADIT_OK);
    net_stream_shutdown(T.s);
    ck_assert_int_eq(net_stream_write(T.s, &v, 1), ADIT_ERR_CLOSED);
    client_send(T.client, "still here");
    spin_until(T.client, T.client->got_close_notify && T.read_total == 10);
    ck_assert_uint_eq(T.client->len, sizeof(big));
}
END_TEST

START_TEST(tls_end_without_close_notify_is_an_error)
{
    connect_client();
    client_send(T.client, "half of it");
    spin_until(T.client, T.read_total == 10);
    ck_assert_int_eq(shutdown(T.client->fd, SHUT_WR), 0);
    spin_until(T.client, T.end_cnt == 1);
    ck_assert_int_eq(T.end_code, ADIT_ERR_CLOSED);
    ck_assert_ptr_nonnull(strstr(T.end_text, "cut"));
}
END_TEST

START_TEST(tls_forged_record_ends_the_connection_after_what_was_good)
{
    static const char forged[] = "\x17\x03\x03\x00\x20"
                                 "0123456789abcdef0123456789abcdef";
    connect_client();
    client_send(T.client, "good");
    ck_assert_int_eq(write(T.client->fd, forged, sizeof(forged) - 1), (int)sizeof(forged) - 1);
    spin_until(T.client, T.end_cnt == 1);
    ck_assert_int_eq(T.end_code, ADIT_ERR_PROTOCOL);
    ck_assert_str_eq(T.last, "good");
    struct adit_view v = ADIT_VIEW("no");
    ck_assert_int_eq(net_stream_write(T.s, &v, 1), ADIT_ERR_CLOSED);
    spin_until(T.client, T.client->has_failed); /* our alert */
}
END_TEST

START_TEST(tls_garbage_and_plain_http_are_refused)
{
    static const struct {
        const char *request, *answer;
    } cases[] = {
        {"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 400 Bad Request\r\n"},
        {"POST /sandboxes HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 400 Bad Request\r\n"},
        {"DELETE /x HTTP/1.1\r\nHost: x\r\n\r\n", ""},
        {"\x16\x03\x01\x7f\x7fgarbage", ""},
        {"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", ""},
    };
    struct peer *p = peer_of_fd(open_stream());
    peer_send(p, cases[_i].request);
    run_until(T.end_cnt == 1);
    ck_assert_int_eq(T.end_code, ADIT_ERR_PROTOCOL);
    ck_assert_uint_eq(T.read_total, 0);
    net_stream_close_gracefully(T.s);
    T.s = NULL;
    run_until(p->ended);
    ck_assert_int_eq(strncmp(p->bytes, cases[_i].answer, strlen(cases[_i].answer)), 0);
    if (cases[_i].answer[0]) {
        const char *body = strstr(p->bytes, "\r\n\r\n");
        ck_assert_ptr_nonnull(body);
        ck_assert_uint_eq(strlen(body + 4), strtoul(strstr(p->bytes, "Length: ") + 8, NULL, 10));
    }
}
END_TEST

START_TEST(tls_stream_may_be_closed_while_it_reads)
{
    T.close_in_read = true;
    connect_client();
    client_send(T.client, "one");
    client_send(T.client, "two");
    spin_until(T.client, T.s == NULL && T.client->has_failed);
    ck_assert_int_eq(T.end_cnt, 0);
}
END_TEST

START_TEST(tls_nothing_can_be_written_before_the_handshake)
{
    struct adit_view v = ADIT_VIEW("early");
    T.client = client_new(open_stream());
    ck_assert_int_eq(net_stream_write(T.s, &v, 1), ADIT_ERR_CLOSED);
    spin_until(T.client, T.client->is_up);
    (void)uv_run(&F.uv, UV_RUN_NOWAIT);
    ck_assert_int_eq(net_stream_write(T.s, &v, 1), ADIT_OK);
    spin_until(T.client, T.client->len == 5);
}
END_TEST

/* ---- back-pressure ---- */

START_TEST(tls_reads_a_flood_whole_and_in_order)
{
    const size_t total = 3u * 1024 * 1024 + 12345;
    char piece[10000];
    size_t sent = 0, taken;
    connect_client();
    T.stop_in_read = true; /* and every read is asked for anew */
    while (T.read_total < total) {
        do {
            size_t n = total - sent < sizeof(piece) ? total - sent : sizeof(piece);
            for (size_t i = 0; i < n; i++)
                piece[i] = pattern_at(sent + i);
            taken = client_push(T.client, piece, n);
            sent += taken;
        } while (taken);
        net_stream_read_start(T.s);
        (void)uv_run(&F.uv, UV_RUN_NOWAIT);
    }
    ck_assert(T.is_pattern_ok);
    ck_assert_uint_eq(T.read_total, total);
    ck_assert_uint_gt(T.read_max, 32 * 1024); /* many records at once */
    ck_assert_uint_lt(T.read_max, NET_SCRATCH_CAP);
}
END_TEST

START_TEST(tls_queue_stops_and_drains)
{
    static char big[200000];
    struct adit_view v = adit_view_mem(big, sizeof(big));
    size_t total = 0;
    connect_client();
    for (size_t i = 0; i < sizeof(big); i++)
        big[i] = pattern_at(i);
    while (!net_stream_is_congested(T.s)) {
        ck_assert_int_eq(net_stream_write(T.s, &v, 1), ADIT_OK);
        total += sizeof(big);
    }
    ck_assert_uint_gt(net_stream_queued(T.s), NET_STREAM_HIGH);
    ck_assert_int_eq(T.drain_cnt, 0);
    spin_until(T.client, T.client->len == total);
    spin_until(T.client, T.drain_cnt == 1);
    for (size_t i = 0; i < total; i++)
        if (T.client->bytes[i] != pattern_at(i % sizeof(big)))
            ck_abort_msg("byte %zu differs", i);
}
END_TEST

START_TEST(tls_writer_that_ignores_back_pressure_is_stopped)
{
    static char big[1024 * 1024];
    struct adit_view v = adit_view_mem(big, sizeof(big));
    int rc = ADIT_OK;
    connect_client();
    for (int i = 0; i < 20 && rc == ADIT_OK; i++)
        rc = net_stream_write(T.s, &v, 1);
    ck_assert_int_eq(rc, ADIT_ERR_LIMIT);
    ck_assert_uint_le(net_stream_queued(T.s), NET_STREAM_QUEUE_MAX);
}
END_TEST

START_TEST(tls_peer_that_goes_is_noticed_by_the_writer)
{
    static char big[1024 * 1024];
    struct adit_view v = adit_view_mem(big, sizeof(big));
    connect_client();
    ck_assert_int_eq(net_stream_write(T.s, &v, 1), ADIT_OK);
    ck_assert_int_eq(close(T.client->fd), 0);
    T.client->fd = -1;
    while (!T.end_cnt)
        (void)uv_run(&F.uv, UV_RUN_NOWAIT);
    ck_assert_int_ne(T.end_code, 0);
    ck_assert_int_eq(net_stream_write(T.s, &v, 1), ADIT_ERR_CLOSED);
}
END_TEST

/* ---- certificates ---- */

static void assert_refused(const struct tls_context_conf *conf, int code, const char *text)
{
    struct adit_err err = ADIT_ERR_INIT;
    struct tls_context *c = NULL;
    ck_assert_int_eq(tls_context_load(conf, &c, &err), code);
    ck_assert_ptr_null(c);
    ck_assert_msg(strstr(err.msg, text), "%s", err.msg);
}

static void write_text(const char *path, size_t len, const char *text)
{
    FILE *f = fopen(path, "we");
    ck_assert_ptr_nonnull(f);
    while (len > 0) {
        size_t n = len < strlen(text) ? len : strlen(text);
        ck_assert_uint_eq(fwrite(text, 1, n, f), n);
        len -= n;
    }
    ck_assert_int_eq(fclose(f), 0);
}

START_TEST(tls_refuses_broken_files_by_name)
{
    struct tls_context_conf good = make_pair("good"), other = make_pair("other"), c = good;
    char path[128];
    EVP_PKEY *key = make_key();
    c.cert_file = fixture_path("missing");
    assert_refused(&c, ADIT_ERR_NOT_FOUND, "missing");
    (void)snprintf(path, sizeof(path), "%s", fixture_path("text"));
    write_text(path, 20, "not a certificate");
    c.cert_file = path;
    assert_refused(&c, ADIT_ERR_BAD_INPUT, "text is no PEM certificate");
    write_text(path, TLS_FILE_CAP + 1, "x");
    assert_refused(&c, ADIT_ERR_LIMIT, "text");
    write_text(path, 0, "");
    assert_refused(&c, ADIT_ERR_BAD_INPUT, "text is no PEM certificate");
    c = good;
    c.key_file = other.key_file;
    assert_refused(&c, ADIT_ERR_BAD_INPUT, "is not the key of the certificate");
    c.key_file = good.cert_file;
    assert_refused(&c, ADIT_ERR_BAD_INPUT, "is no PEM private key");
    write_key(path, key, "secret");
    c.key_file = path;
    assert_refused(&c, ADIT_ERR_BAD_INPUT, "passphrase");
    EVP_PKEY_free(key);
}
END_TEST

START_TEST(tls_refuses_a_key_of_another_kind)
{
    struct tls_context_conf c = make_pair("good");
    EVP_PKEY *key = EVP_RSA_gen(2048);
    char path[128];
    (void)snprintf(path, sizeof(path), "%s", fixture_path("rsa"));
    ck_assert_ptr_nonnull(key);
    write_key(path, key, NULL);
    c.key_file = path;
    assert_refused(&c, ADIT_ERR_BAD_INPUT, "is not the key of the certificate");
    EVP_PKEY_free(key);
}
END_TEST

START_TEST(tls_reads_the_chain_and_refuses_a_broken_one)
{
    struct tls_context_conf c = make_pair("leaf"), next = make_pair("next");
    char command[600];
    (void)snprintf(command, sizeof(command), "cat %s >>%s", next.cert_file, c.cert_file);
    ck_assert_int_eq(system(command), 0);
    tls_context_unref(T.context);
    T.context = load_pair(&c);
    connect_client();
    ck_assert_int_eq(sk_X509_num(SSL_get_peer_cert_chain(T.client->ssl)), 2);
    (void)snprintf(
        command, sizeof(command),
        "printf -- '-----BEGIN CERTIFICATE-----\\nAAAA\\n-----END CERTIFICATE-----\\n' >>%s",
        c.cert_file);
    ck_assert_int_eq(system(command), 0);
    assert_refused(&c, ADIT_ERR_BAD_INPUT, "leaf.crt is no PEM certificate");
}
END_TEST

START_TEST(tls_context_knows_names_and_end)
{
    ck_assert(tls_context_covers(T.context, "adit.test"));
    ck_assert(tls_context_covers(T.context, "49983-abc.adit.test"));
    ck_assert(!tls_context_covers(T.context, "adit.example"));
    ck_assert_int_gt(tls_context_expires_in_s(T.context), 3000);
    ck_assert_int_le(tls_context_expires_in_s(T.context), 3600);
}
END_TEST

START_TEST(tls_connections_outlive_their_context)
{
    struct tls_context_conf conf = make_pair("renewed.test");
    T.echo = true;
    connect_client();
    tls_context_unref(T.context);
    T.context = load_pair(&conf);
    client_send(T.client, "old");
    spin_until(T.client, T.client->len == 3);
    net_stream_close(T.s);
    client_free(T.client);
    connect_client();
    X509 *cert = SSL_get1_peer_certificate(T.client->ssl);
    ck_assert_int_eq(X509_check_host(cert, "renewed.test", 0, 0, NULL), 1);
    X509_free(cert);
}
END_TEST

/* ---- with the HTTP server ---- */

static void on_request(struct http_exchange *x, const struct http_head *head)
{
    (void)head;
    http_exchange_reply(x, 200, adit_view_str("ok"));
}

static bool is_drained;

static void on_drained(void *owner)
{
    (void)owner;
    is_drained = true;
}

static struct http_server *serve(uint64_t header_ms)
{
    struct http_server_conf conf = {.header_ms = header_ms, .on_request = on_request};
    struct http_server *server;
    struct adit_err err = ADIT_ERR_INIT;
    ck_assert_int_eq(http_server_new(&F.net, &conf, &server, &err), ADIT_OK);
    http_server_adopt(server, T.s, adit_view_mem(NULL, 0));
    T.s = NULL;
    return server;
}

static void end_server(struct http_server *server)
{
    is_drained = false;
    http_server_drain(server, 100, on_drained);
    while (!is_drained)
        (void)uv_run(&F.uv, UV_RUN_NOWAIT);
}

START_TEST(tls_serves_http_with_keep_alive_and_pipelining)
{
    int fd = open_stream();
    struct http_server *server = serve(10000);
    size_t one;
    T.client = client_new(fd);
    spin_until(T.client, T.client->is_up);
    client_send(T.client, "GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    spin_until(T.client, strstr(T.client->bytes, "\r\n\r\nok"));
    one = T.client->len;
    client_send(T.client, "GET / HTTP/1.1\r\nHost: x\r\n\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n");
    spin_until(T.client, T.client->len == 3 * one);
    client_send(T.client, "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    spin_until(T.client, T.client->got_close_notify);
    end_server(server);
}
END_TEST

START_TEST(tls_handshake_that_stalls_is_closed_at_the_header_deadline)
{
    static const char half_hello[] = "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03";
    int fd = open_stream();
    struct http_server *server = serve(200);
    struct peer *p = peer_of_fd(fd);
    uint64_t begin = now_ms();
    if (_i == 1)
        peer_send_mem(p, half_hello, sizeof(half_hello) - 1);
    run_until(p->ended);
    ck_assert_uint_ge(now_ms() - begin, 150);
    ck_assert_uint_eq(p->len, 0);
    end_server(server);
}
END_TEST

START_TEST(tls_finished_handshake_gets_no_more_time_for_its_first_byte)
{
    int fd = open_stream();
    struct http_server *server = serve(200);
    T.client = client_new(fd);
    spin_until(T.client, T.client->is_up);
    spin_until(T.client, T.client->got_close_notify);
    end_server(server);
}
END_TEST

START_TEST(tls_client_that_never_reads_the_close_is_reset_when_the_loop_ends)
{
    static char big[2u * 1024 * 1024];
    struct adit_view v = adit_view_mem(big, sizeof(big));
    connect_client();
    ck_assert_int_eq(net_stream_write(T.s, &v, 1), ADIT_OK);
    net_stream_close_gracefully(
        T.s); /* its deadline is the plain stream's; due at net_loop_close */
    T.s = NULL;
    for (int i = 0; i < 10; i++)
        (void)uv_run(&F.uv, UV_RUN_NOWAIT);
    ck_assert(!T.client->got_close_notify);
} /* teardown demands an empty loop */
END_TEST

/* The figure of docs/spec.md: an idle connection after its handshake, the server's side alone. */
START_TEST(tls_idle_connection_is_small)
{
    enum { CNT = 64 };
    struct tls_client *clients[CNT];
    struct net_stream *streams[CNT];
    size_t before, server = 0;
    T.echo = true;
    for (int i = 0; i < CNT; i++) {
        clients[i] = client_new(open_stream());
        streams[i] = T.s;
        spin_until(clients[i], clients[i]->is_up);
        clients[i]->len = 0;
        client_send(clients[i], "x");
        spin_until(clients[i], clients[i]->len == 1);
    }
    T.s = NULL;
    before = mallinfo2().uordblks;
    for (int i = 0; i < CNT; i++)
        net_stream_close(streams[i]);
    (void)uv_run(&F.uv, UV_RUN_NOWAIT);
    server = (before - mallinfo2().uordblks) / CNT;
    printf("an idle TLS connection holds %zu bytes\n", server);
    for (int i = 0; i < CNT; i++)
        client_free(clients[i]);
    ck_assert_uint_le(server, 32 * 1024);
}
END_TEST

SUITE_MAIN_WITH(
    "tls", .fixtures = {{setup, teardown}},
    TESTS(tls_writes_many_views_in_order, tls_takes_a_handshake_in_single_bytes,
          tls_chooses_h1_when_h2_is_not_served, tls_prefers_h2_when_it_is_served,
          tls_refuses_foreign_protocols, tls_refuses_old_versions, tls_does_not_renegotiate,
          tls_ends_a_flood_of_key_updates, tls_resumes_sessions_by_ticket,
          tls_close_notify_is_a_half_close, tls_shutdown_sends_close_notify_after_the_queue,
          tls_end_without_close_notify_is_an_error,
          tls_forged_record_ends_the_connection_after_what_was_good,
          tls_stream_may_be_closed_while_it_reads, tls_nothing_can_be_written_before_the_handshake,
          tls_reads_a_flood_whole_and_in_order, tls_queue_stops_and_drains,
          tls_writer_that_ignores_back_pressure_is_stopped,
          tls_peer_that_goes_is_noticed_by_the_writer, tls_refuses_broken_files_by_name,
          tls_refuses_a_key_of_another_kind, tls_reads_the_chain_and_refuses_a_broken_one,
          tls_context_knows_names_and_end, tls_connections_outlive_their_context,
          tls_serves_http_with_keep_alive_and_pipelining,
          tls_finished_handshake_gets_no_more_time_for_its_first_byte,
          tls_client_that_never_reads_the_close_is_reset_when_the_loop_ends,
          tls_idle_connection_is_small),
    LOOPS({tls_carries_bytes_both_ways, 2}, {tls_garbage_and_plain_http_are_refused, 5},
          {tls_handshake_that_stalls_is_closed_at_the_header_deadline, 2}))
