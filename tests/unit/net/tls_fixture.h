/* SPDX-License-Identifier: Apache-2.0 */
/* Certificates, and a TLS client over a plain descriptor that the test drives by hand. */
#ifndef ADIT_TESTS_TLS_FIXTURE_H
#define ADIT_TESTS_TLS_FIXTURE_H

#include "net_fixture.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include "net/tls.h"

#define CLIENT_CAP (4u * 1024 * 1024)

struct tls_client {
    SSL_CTX *ctx;
    SSL *ssl;
    int fd;
    bool is_up, got_close_notify, has_failed;
    size_t len;
    char *bytes; /* NUL-terminated */
};

static UNUSED EVP_PKEY *make_key(void)
{
    EVP_PKEY *key = EVP_EC_gen("P-256");

    ck_assert_ptr_nonnull(key);
    return key;
}

static UNUSED X509 *make_cert(EVP_PKEY *key, const char *name)
{
    X509 *x = X509_new();
    X509V3_CTX ctx;
    char alt[200];

    (void)snprintf(alt, sizeof(alt), "DNS:%s,DNS:*.%s", name, name);
    ck_assert_ptr_nonnull(x);
    ck_assert_int_eq(X509_set_version(x, 2), 1);
    ck_assert_int_eq(ASN1_INTEGER_set(X509_get_serialNumber(x), 7), 1);
    ck_assert_ptr_nonnull(X509_gmtime_adj(X509_getm_notBefore(x), -60));
    ck_assert_ptr_nonnull(X509_gmtime_adj(X509_getm_notAfter(x), 3600));
    ck_assert_int_eq(X509_set_pubkey(x, key), 1);
    X509V3_set_ctx(&ctx, x, x, NULL, NULL, 0);
    X509_EXTENSION *san = X509V3_EXT_conf_nid(NULL, &ctx, NID_subject_alt_name, alt);
    ck_assert_ptr_nonnull(san);
    ck_assert_int_eq(X509_add_ext(x, san, -1), 1);
    X509_EXTENSION_free(san);
    ck_assert_int_gt(X509_sign(x, key, EVP_sha256()), 0);
    return x;
}

static UNUSED void write_key(const char *path, EVP_PKEY *key, const char *passphrase)
{
    FILE *f = fopen(path, "we");

    ck_assert_ptr_nonnull(f);
    ck_assert_int_eq(PEM_write_PrivateKey(f, key, passphrase ? EVP_aes_128_cbc() : NULL, NULL, 0,
                                          NULL, (void *)(uintptr_t)passphrase),
                     1);
    ck_assert_int_eq(fclose(f), 0);
}

static UNUSED void write_cert(const char *path, X509 *cert)
{
    FILE *f = fopen(path, "we");

    ck_assert_ptr_nonnull(f);
    ck_assert_int_eq(PEM_write_X509(f, cert), 1);
    ck_assert_int_eq(fclose(f), 0);
}

/* "<dir>/<name>.crt" and ".key". */
static UNUSED struct tls_context_conf make_pair(const char *name)
{
    static char paths[4][2][128];
    static size_t used;
    char(*p)[128] = paths[used++ % 4];
    EVP_PKEY *key = make_key();
    X509 *cert = make_cert(key, name);

    (void)snprintf(p[0], sizeof(p[0]), "%s/%s.crt", F.dir, name);
    (void)snprintf(p[1], sizeof(p[1]), "%s/%s.key", F.dir, name);
    write_cert(p[0], cert);
    write_key(p[1], key, NULL);
    X509_free(cert);
    EVP_PKEY_free(key);
    return (struct tls_context_conf){.cert_file = p[0], .key_file = p[1]};
}

static UNUSED struct tls_context *load_pair(const struct tls_context_conf *conf)
{
    struct adit_err err = ADIT_ERR_INIT;
    struct tls_context *c = NULL;

    ck_assert_msg(tls_context_load(conf, &c, &err) == ADIT_OK, "%s", err.msg);
    return c;
}

/* ---- the client ---- */

static UNUSED struct tls_client *client_new(int fd)
{
    static char stores[2][CLIENT_CAP + 1];
    static size_t used;
    struct tls_client *c = calloc(1, sizeof(*c));

    ck_assert_ptr_nonnull(c);
    c->bytes = stores[used++ % 2];
    c->bytes[0] = '\0';
    c->fd = fd;
    c->ctx = SSL_CTX_new(TLS_client_method());
    ck_assert_ptr_nonnull(c->ctx);
    c->ssl = SSL_new(c->ctx);
    ck_assert_ptr_nonnull(c->ssl);
    ck_assert_int_eq(SSL_set_fd(c->ssl, fd), 1);
    SSL_set_connect_state(c->ssl);
    return c;
}

static UNUSED void client_free(struct tls_client *c)
{
    SSL_free(c->ssl);
    SSL_CTX_free(c->ctx);
    if (c->fd >= 0)
        ck_assert_int_eq(close(c->fd), 0);
    free(c);
}

/* Take what is there. */
static UNUSED void client_step(struct tls_client *c)
{
    size_t got;

    ERR_clear_error();
    if (c->has_failed || c->got_close_notify)
        return;
    while (c->len < CLIENT_CAP && SSL_read_ex(c->ssl, c->bytes + c->len, CLIENT_CAP - c->len, &got))
        c->len += got;
    c->bytes[c->len] = '\0';
    c->is_up = SSL_is_init_finished(c->ssl);
    int reason = SSL_get_error(c->ssl, 0);
    c->got_close_notify = reason == SSL_ERROR_ZERO_RETURN;
    c->has_failed = reason == SSL_ERROR_SSL || reason == SSL_ERROR_SYSCALL;
}

/* Return: bytes taken by the socket. */
static UNUSED size_t client_push(struct tls_client *c, const void *bytes, size_t len)
{
    size_t taken = 0;

    ERR_clear_error();
    (void)SSL_set_mode(c->ssl, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    return len && SSL_write_ex(c->ssl, bytes, len, &taken) ? taken : 0;
}

static UNUSED void client_send(struct tls_client *c, const char *text)
{
    ck_assert_uint_eq(client_push(c, text, strlen(text)), strlen(text));
}

/* Turns of loop and client until it holds. Both are in this process: nothing waits in the kernel.
 */
#define spin_until(client, condition)                                                              \
    do {                                                                                           \
        uint64_t limit_ = now_ms() + RUN_LIMIT_MS;                                                 \
        while (!(condition)) {                                                                     \
            (void)uv_run(&F.uv, UV_RUN_NOWAIT);                                                    \
            client_step(client);                                                                   \
            ck_assert_msg(now_ms() < limit_, "never came: %s", #condition);                        \
        }                                                                                          \
    } while (0)

#endif
