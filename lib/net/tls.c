/* SPDX-License-Identifier: Apache-2.0 */
/*
 * TLS connections: OpenSSL as a filter of a stream.
 *
 * Theory of operation
 *
 * What: OpenSSL reads and writes through a BIO of ours. Its reads take from the bytes that the
 * socket has just brought (@in), its writes go straight to the stream, which tries the socket at
 * once and queues the rest; so OpenSSL never has to wait for room, and its only "want" is input.
 *
 *   socket → scratch[16 KiB …] ──BIO──> record → plain text at scratch[0 …] → on_read
 *   write  → record of up to 16 KiB ──BIO──> socket, or the stream's queue
 *
 * All records of one read are decrypted before the owner hears of any: what it is given at once is
 * less than the scratch holds, and nothing decrypted is left when it stops reading. The first
 * record may have begun in earlier reads and yields at most 16 KiB more than it takes from this
 * one; every other yields less than it takes. So plain text never overtakes what is still to read
 * (NET_STREAM_FILTER_ROOM).
 *
 * Writing gathers small pieces, so that a head and its body are one record.
 *
 * Limits: a connection holds a piece of a record only while one is coming in or going out
 * (SSL_MODE_RELEASE_BUFFERS). What input makes OpenSSL say after the handshake is counted, and
 * above TLS_TALK_MAX the connection ends: a flood of key updates would fill the queue.
 *
 * Failure: the first error ends the connection for both directions (@is_dead). OpenSSL's alert is
 * on its way then, and the owner's graceful close gives the peer time to read it.
 */
#include "net/tls_int.h"

#include <stdlib.h>

#include <openssl/err.h>
#include <openssl/x509v3.h>

#include "net/stream_filter.h"

#define RECORD_MAX ((size_t)SSL3_RT_MAX_PLAIN_LENGTH)

_Static_assert(NET_STREAM_FILTER_ROOM >= SSL3_RT_MAX_PLAIN_LENGTH, "room for one record");

/*
 * @in:      input that OpenSSL has not taken yet; empty between reads
 * @sent:    bytes given to the stream; @talk_len: those of them that input caused by itself
 * @send_rc: why the stream took no more, 0 while it does
 * @is_dead: nothing more is read or written
 * @on_up:   called once; then NULL
 * @twin:    tls_pass_cuts(), borrowed; @is_cut: it has ended without close_notify
 */
struct tls_conn {
    struct net_stream_filter filter;
    SSL *ssl;
    struct adit_view in;
    uint64_t sent, talk_len;
    int send_rc;
    bool is_dead, is_cut;
    tls_up_fn on_up;
    struct tls_conn *twin;
};

static struct tls_conn *conn_of(struct net_stream_filter *f)
{
    return ADIT_CONTAINER_OF(f, struct tls_conn, filter);
}

/* ---- the BIO ---- */

static BIO_METHOD *bio_method;

static int bio_read(BIO *bio, char *out, int cap)
{
    struct tls_conn *c = BIO_get_data(bio);
    size_t n = cap < 0 ? 0 : (size_t)cap;

    BIO_clear_retry_flags(bio);
    if (c->in.len == 0) {
        BIO_set_retry_read(bio);
        return -1;
    }
    if (n > c->in.len)
        n = c->in.len;
    memcpy(out, c->in.ptr, n);
    c->in = adit_view_mem(c->in.ptr + n, c->in.len - n);
    return (int)n;
}

static int bio_write(BIO *bio, const char *bytes, int len)
{
    struct tls_conn *c = BIO_get_data(bio);

    BIO_clear_retry_flags(bio);
    if (len <= 0)
        return 0;
    c->sent += (size_t)len;
    if (c->send_rc == ADIT_OK)
        c->send_rc = net_stream_filter_send(c->filter.stream, adit_view_mem(bytes, (size_t)len));
    return c->send_rc == ADIT_OK ? len : -1;
}

static long bio_ctrl(BIO *bio, int cmd, long num, void *ptr)
{
    (void)bio;
    (void)num;
    (void)ptr;
    return cmd == BIO_CTRL_FLUSH; /* there is nothing to flush */
}

int tls_prepare(void)
{
    BIO_METHOD *m = bio_method ? bio_method : BIO_meth_new(BIO_TYPE_SOURCE_SINK, "stream");

    if (!m || !BIO_meth_set_read(m, bio_read) || !BIO_meth_set_write(m, bio_write) ||
        !BIO_meth_set_ctrl(m, bio_ctrl))
        return ADIT_ERR_NO_MEMORY; /* setting cannot fail */
    bio_method = m;
    return ADIT_OK;
}

/* ---- reading ---- */

static void tell_plain_http(const struct tls_conn *c)
{
    static const struct adit_view answer =
        ADIT_VIEW("HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 49\r\n"
                  "Content-Type: text/plain; charset=utf-8\r\n\r\nThis port speaks TLS: use "
                  "https:// in the address");

    (void)net_stream_filter_send(c->filter.stream, answer); /* the connection ends in any case */
}

static void say_why(const struct tls_conn *c, struct adit_err *err)
{
    long verified = SSL_get_verify_result(c->ssl);

    if (c->send_rc)
        (void)adit_err_set(err, c->send_rc, "the TLS connection is lost"); /* only told */
    else if (verified != X509_V_OK)
        (void)adit_err_set(err, ADIT_ERR_UNAUTHENTICATED, "certificate: %s",
                           X509_verify_cert_error_string(verified)); /* the same */
    else
        (void)adit_err_set(err, ADIT_ERR_PROTOCOL, "TLS: %s", tls_error_text()); /* the same */
    ERR_clear_error();
}

/* What stopped SSL_read(). Return: false when it only wants more input. */
static bool has_ended(struct tls_conn *c, int reason, struct adit_err *err)
{
    if (reason == SSL_ERROR_WANT_READ)
        return false;
    if (reason == SSL_ERROR_ZERO_RETURN)
        return true;
    c->is_dead = true;
    if (ERR_GET_REASON(ERR_peek_error()) == SSL_R_HTTP_REQUEST)
        tell_plain_http(c);
    say_why(c, err);
    return true;
}

/* @before: what was sent before the input that has just been read. Return: false above the limit.
 */
static bool may_talk(struct tls_conn *c, bool was_up, uint64_t before, struct adit_err *err)
{
    if (was_up)
        c->talk_len += c->sent - before;
    if (c->talk_len <= TLS_TALK_MAX)
        return true;
    c->is_dead = true;
    (void)adit_err_set(err, ADIT_ERR_LIMIT, "the client makes TLS talk by itself"); /* only told */
    return false;
}

static void tell_up(struct tls_conn *c)
{
    tls_up_fn on_up = c->on_up;

    if (!on_up || !SSL_is_init_finished(c->ssl))
        return;
    c->on_up = NULL;
    on_up(c->filter.stream);
}

static void on_input(struct net_stream_filter *f, struct adit_view bytes)
{
    struct tls_conn *c = conn_of(f);
    char *plain = net_stream_loop(f->stream)->scratch;
    struct adit_err err = ADIT_ERR_INIT;
    size_t len = 0, got = 0;
    uint64_t sent = c->sent;
    bool was_up = SSL_is_init_finished(c->ssl), is_end;

    c->in = bytes;
    ERR_clear_error();
    while (len < NET_SCRATCH_CAP && SSL_read_ex(c->ssl, plain + len, NET_SCRATCH_CAP - len, &got))
        len += got;
    is_end = has_ended(c, SSL_get_error(c->ssl, 0), &err) || !may_talk(c, was_up, sent, &err);
    c->in = adit_view_mem(NULL, 0);
    tell_up(c);
    if (len)
        net_stream_filter_deliver(f->stream, adit_view_mem(plain, len));
    if (is_end)
        net_stream_filter_end(f->stream, err.code ? &err : NULL);
}

static void on_input_end(struct net_stream_filter *f)
{
    struct tls_conn *c = conn_of(f);
    struct adit_err err = ADIT_ERR_INIT;

    if (c->twin) {
        c->twin->is_cut = true;
        net_stream_filter_end(f->stream, NULL);
        return;
    }
    c->is_dead = true;
    (void)adit_err_set(&err, ADIT_ERR_CLOSED,
                       "the connection was cut: no TLS close before its end");
    net_stream_filter_end(f->stream, &err);
}

/* ---- writing ---- */

/* Small pieces on their way into one record. */
struct gather {
    struct tls_conn *conn;
    size_t len;
    char record[RECORD_MAX];
};

static int write_records(struct tls_conn *c, const char *bytes, size_t len)
{
    size_t taken;

    if (len == 0 || SSL_write_ex(c->ssl, bytes, len, &taken))
        return ADIT_OK;
    ERR_clear_error();
    c->is_dead = true;
    return c->send_rc ? c->send_rc : ADIT_ERR_CLOSED;
}

static int flush(struct gather *g)
{
    int rc = write_records(g->conn, g->record, g->len);

    g->len = 0;
    return rc;
}

/* Whole records, and the end of all, are written from where they lie; the rest waits in @g for what
 * comes after it. */
static int put(struct gather *g, struct adit_view v, bool is_last)
{
    size_t room = RECORD_MAX - g->len, n = 0;
    int rc = ADIT_OK;

    if (v.len == 0)
        return rc;
    if (g->len) {
        n = v.len < room ? v.len : room;
        memcpy(g->record + g->len, v.ptr, n);
        g->len += n;
        rc = n == room || is_last ? flush(g) : ADIT_OK;
    }
    v = adit_view_mem(v.ptr + n, v.len - n);
    if (rc != ADIT_OK || v.len == 0)
        return rc;
    n = is_last ? v.len : v.len - v.len % RECORD_MAX;
    rc = write_records(g->conn, v.ptr, n);
    memcpy(g->record, v.ptr + n, v.len - n);
    g->len = v.len - n;
    return rc;
}

static int on_write(struct net_stream_filter *f, const struct adit_view *views, size_t cnt)
{
    struct gather g;
    int rc = ADIT_OK;

    g.conn = conn_of(f);
    g.len = 0;
    if (g.conn->is_dead || !SSL_is_init_finished(g.conn->ssl))
        return ADIT_ERR_CLOSED;
    while (cnt && views[cnt - 1].len == 0)
        cnt--;
    ERR_clear_error();
    for (size_t i = 0; i < cnt && rc == ADIT_OK; i++)
        rc = put(&g, views[i], i + 1 == cnt);
    return rc;
}

static void on_finish(struct net_stream_filter *f)
{
    struct tls_conn *c = conn_of(f);

    if (c->is_dead || c->is_cut || !SSL_is_init_finished(c->ssl))
        return;
    ERR_clear_error();
    if (SSL_shutdown(c->ssl) < 0) /* 0: the peer's close_notify is still to come */
        c->is_dead = true;
    ERR_clear_error();
}

static void on_free(struct net_stream_filter *f)
{
    struct tls_conn *c = conn_of(f);

    if (c->twin)
        c->twin->twin = NULL;
    SSL_free(c->ssl);
    free(c);
}

static const struct net_stream_filter_ops filter_ops = {on_input, on_input_end, on_write, on_finish,
                                                        on_free};

/* Return: NULL without memory. */
static struct tls_conn *put_on(struct tls_context *context, struct net_stream *s, tls_up_fn on_up,
                               struct adit_err *err)
{
    struct tls_conn *c = calloc(1, sizeof(*c));
    BIO *bio = c ? BIO_new(bio_method) : NULL;

    if (bio)
        c->ssl = SSL_new(context->ssl);
    if (!bio || !c->ssl) {
        ERR_clear_error();
        BIO_free(bio);
        free(c);
        (void)adit_err_set(err, ADIT_ERR_NO_MEMORY, "no memory for a TLS connection");
        return NULL;
    }
    BIO_set_data(bio, c);
    BIO_set_init(bio, 1);
    SSL_set_bio(c->ssl, bio, bio); /* takes it over */
    c->filter.ops = &filter_ops;
    c->on_up = on_up;
    net_stream_set_filter(s, &c->filter);
    return c;
}

int tls_accept(struct tls_context *context, struct net_stream *s, struct adit_err *err)
{
    const struct tls_conn *c = put_on(context, s, NULL, err);

    if (!c)
        return ADIT_ERR_NO_MEMORY;
    SSL_set_accept_state(c->ssl);
    return ADIT_OK;
}

int tls_accept_begun(struct tls_context *context, struct net_stream *s, struct adit_view already,
                     tls_up_fn on_up, struct adit_err *err)
{
    struct tls_conn *c = put_on(context, s, on_up, err);

    if (!c)
        return ADIT_ERR_NO_MEMORY;
    SSL_set_accept_state(c->ssl);
    on_input(&c->filter, already);
    return ADIT_OK;
}

/* RFC 6066, 3 and RFC 6125. */
static bool set_host(SSL *ssl, const char *host)
{
    union {
        const char *in;
        char *out; /* OpenSSL's macro asks for one, and copies it */
    } name = {host};
    SSL_set_hostflags(ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    return SSL_set1_host(ssl, host) == 1 && SSL_set_tlsext_host_name(ssl, name.out) == 1;
}

int tls_connect(struct tls_context *context, struct net_stream *s, const char *host,
                tls_up_fn on_up, struct adit_err *err)
{
    struct tls_conn *c = put_on(context, s, on_up, err);

    if (!c)
        return ADIT_ERR_NO_MEMORY;
    ERR_clear_error();
    SSL_set_connect_state(c->ssl);
    if (set_host(c->ssl, host) &&
        SSL_get_error(c->ssl, SSL_do_handshake(c->ssl)) == SSL_ERROR_WANT_READ)
        return ADIT_OK;
    c->is_dead = true;
    ERR_clear_error();
    return adit_err_set(err, c->send_rc ? c->send_rc : ADIT_ERR_NO_MEMORY,
                        "the TLS connection cannot begin");
}

void tls_pass_cuts(struct net_stream *a, struct net_stream *b)
{
    struct tls_conn *one = conn_of(net_stream_filter_of(a));
    struct tls_conn *other = conn_of(net_stream_filter_of(b));

    one->twin = other;
    other->twin = one;
}
