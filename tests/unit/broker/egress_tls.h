/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A server and a program that speak TLS with the host's half of egress: certificates of a private
 * authority, OpenSSL on plain descriptors.
 */
#ifndef ADIT_TESTS_UNIT_BROKER_EGRESS_TLS_H
#define ADIT_TESTS_UNIT_BROKER_EGRESS_TLS_H

#include "egress_guest.h"

#include <fcntl.h>

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>

#include "base/file.h"
#include "broker/cert_pair.h"
#include "broker/egress/egress_authority.h"

#define TLS_RULES                                                                                  \
    "{\"allowOut\":[\"127.0.0.1\"],\"rules\":{\"api.test\":[{\"transform\":{\"headers\":{"         \
    "\"X-Key\":\"s3cret\"}}}]}}"

/* A pair for @name, signed by @issuer. */
static inline struct cert_pair tls_pair(const struct cert_pair *issuer, const char *name)
{
    char alt[80];
    const struct cert_extension extensions[] = {{NID_subject_alt_name, alt}, {0, NULL}};
    struct cert_pair_conf conf = {.issuer = issuer,
                                  .organization = "test",
                                  .common_name = issuer ? "server" : "authority",
                                  .good_days = 1,
                                  .extensions = issuer ? extensions : cert_pair_authority};
    struct cert_pair p;
    (void)snprintf(alt, sizeof(alt), "DNS:%s", name);
    ck_assert_int_eq(cert_pair_make(&conf, &p, NULL), ADIT_OK);
    return p;
}

/* Whoever trusts @p alone. */
static inline struct tls_context *tls_trust(const struct cert_pair *p)
{
    char file[] = "/tmp/egress.XXXXXX";
    struct adit_buf pem;
    struct tls_context *c;
    int fd = mkstemp(file);
    ck_assert_int_ge(fd, 0);
    adit_buf_init(&pem, CERT_PAIR_CAP);
    ck_assert_int_eq(cert_pair_write_cert(p, &pem, NULL), ADIT_OK);
    ck_assert_int_eq(write(fd, adit_buf_view(&pem).ptr, pem.len), (ssize_t)pem.len);
    ck_assert_int_eq(tls_context_new_client(&c, NULL), ADIT_OK);
    ck_assert_int_eq(tls_context_trust(c, file, NULL), ADIT_OK);
    adit_buf_fini(&pem);
    (void)close(fd);
    (void)unlink(file);
    return c;
}

/* The certificate of the sandbox's authority, as its guest gets it. */
static inline X509 *tls_bundle(const char *authority)
{
    const char *pem = egress_authority_certificate(authority);
    BIO *bio = BIO_new_mem_buf(pem, (int)strlen(pem));
    X509 *cert = PEM_read_bio_X509(bio, NULL, NULL, NULL);
    ck_assert_ptr_nonnull(cert);
    BIO_free(bio);
    return cert;
}

/* ---- the two ends ---- */

static inline SSL *tls_open(const SSL_METHOD *method, int fd)
{
    SSL_CTX *ctx = SSL_CTX_new(method);
    SSL *ssl = SSL_new(ctx);
    SSL_CTX_free(ctx); /* the connection has its own reference */
    ck_assert_ptr_nonnull(ssl);
    ck_assert_int_eq(SSL_set_fd(ssl, fd), 1);
    return ssl;
}

static inline SSL *tls_server(int fd, const struct cert_pair *p)
{
    SSL *ssl = tls_open(TLS_server_method(), fd);
    ck_assert_int_eq(SSL_use_certificate(ssl, p->cert), 1);
    ck_assert_int_eq(SSL_use_PrivateKey(ssl, p->key), 1);
    return ssl;
}

/* Has said its ClientHello, and trusts @authority (NULL: anybody). */
static inline SSL *tls_program(int fd, const char *name, const char *authority)
{
    union {
        const char *in;
        char *out; /* OpenSSL's macro asks for one, and copies it */
    } host = {name};
    SSL *ssl = tls_open(TLS_client_method(), fd);
    int flags = fcntl(fd, F_GETFL);
    ck_assert_int_eq(SSL_set_tlsext_host_name(ssl, host.out), 1);
    if (authority) {
        X509 *cert = tls_bundle(authority);
        ck_assert_int_eq(X509_STORE_add_cert(SSL_CTX_get_cert_store(SSL_get_SSL_CTX(ssl)), cert),
                         1);
        X509_free(cert);
        ck_assert_int_eq(SSL_set1_host(ssl, name), 1);
        SSL_set_verify(ssl, SSL_VERIFY_PEER, NULL);
    }
    ck_assert_int_eq(fcntl(fd, F_SETFL, flags | O_NONBLOCK), 0);
    ck_assert_int_eq(SSL_connect(ssl), -1); /* nobody answers that fast */
    ERR_clear_error();
    ck_assert_int_eq(fcntl(fd, F_SETFL, flags), 0);
    return ssl;
}

/* With each other, through a host that only passes bytes. */
static inline void tls_shake_hands(SSL *a, SSL *b)
{
    SSL *ends[] = {a, b};
    int flags[2];
    for (int i = 0; i < 2; i++) {
        flags[i] = fcntl(SSL_get_fd(ends[i]), F_GETFL);
        ck_assert_int_eq(fcntl(SSL_get_fd(ends[i]), F_SETFL, flags[i] | O_NONBLOCK), 0);
        if (i == 1)
            SSL_set_accept_state(b);
    }
    while (!SSL_is_init_finished(a) || !SSL_is_init_finished(b)) {
        struct pollfd p[] = {{.fd = SSL_get_fd(a), .events = POLLIN},
                             {.fd = SSL_get_fd(b), .events = POLLIN}};
        ck_assert_msg(poll(p, 2, GUEST_WAIT_MS) > 0, "nothing comes");
        for (int i = 0; i < 2; i++)
            ck_assert(SSL_do_handshake(ends[i]) == 1 ||
                      SSL_get_error(ends[i], -1) == SSL_ERROR_WANT_READ);
    }
    for (int i = 0; i < 2; i++)
        ck_assert_int_eq(fcntl(SSL_get_fd(ends[i]), F_SETFL, flags[i]), 0);
}

static inline void tls_close(SSL *ssl)
{
    int fd = SSL_get_fd(ssl);
    SSL_free(ssl);
    (void)close(fd);
}

static inline void tls_send(SSL *ssl, const char *text)
{
    ck_assert_int_eq(SSL_write(ssl, text, (int)strlen(text)), (int)strlen(text));
}

static inline void tls_expect(SSL *ssl, const char *text)
{
    char got[512];
    int len = 0, want = (int)strlen(text);
    ck_assert_int_lt(want, (int)sizeof(got));
    while (len < want) {
        int n = SSL_read(ssl, got + len, want - len);
        ck_assert_msg(n > 0, "the connection ends instead");
        len += n;
    }
    got[len] = '\0';
    ck_assert_str_eq(got, text);
}

/* The program's handshake fails for this reason. */
static inline void tls_expect_failure(SSL *ssl, int reason)
{
    ERR_clear_error();
    ck_assert_int_le(SSL_connect(ssl), 0);
    ck_assert_int_eq(ERR_GET_REASON(ERR_peek_error()), reason);
    ERR_clear_error();
}

#endif
