/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Certificate, key and rules of a TLS server; authorities and rules of a client.
 *
 * Theory of operation
 *
 * What: a server's files are read whole, then given to OpenSSL from memory; so a file that is
 * replaced meanwhile is seen old or new, never mixed, and one that is too large or unreadable is
 * refused by its name. That key and certificate belong together is checked before either is used. A
 * client's authorities are all in memory, too: nothing is read when a connection is made.
 *
 * Trust: the files are the operator's. A key with a passphrase is refused: nobody could type it.
 * The key's bytes are wiped from the buffer that they were read into.
 *
 * Tickets are sealed with keys that OpenSSL makes for each SSL_CTX, shared by all threads: a
 * session is resumed on any of them, and not after the certificate was replaced.
 */
#include "net/tls_int.h"

#include <fcntl.h>
#include <stdlib.h>

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include "base/file.h"

#define CIPHERS_12                                                                                 \
    "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:"                                   \
    "ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384:"                                   \
    "ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305"
#define CIPHERS_13 "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256"
#define OPTIONS (SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION)

/* Protocols as ALPN writes them, the preferred one first. */
struct alpn {
    unsigned char names[12];
    unsigned len;
};
static const struct alpn alpn_h1 = {"\x08http/1.1", 9};
static const struct alpn alpn_h2 = {"\x02h2\x08http/1.1", 12};

const char *tls_error_text(void)
{
    unsigned long code = ERR_peek_error();
    const char *text = ERR_reason_error_string(code);

    ERR_clear_error();
    if (text)
        return text;
    return code ? "error in the TLS library" : "unknown error";
}

/* ---- reading files ---- */

static int refuse_passphrase(char *buf, int size, int is_writing, void *user)
{
    bool *was_asked = user;

    (void)buf;
    (void)size;
    (void)is_writing;
    *was_asked = true;
    return -1;
}

/* The further certificates of the file. Return: false when one is broken. */
static bool add_chain(SSL_CTX *ssl, BIO *pem)
{
    bool is_end;
    X509 *cert;

    while ((cert = PEM_read_bio_X509(pem, NULL, NULL, NULL))) {
        if (SSL_CTX_add0_chain_cert(ssl, cert) != 1) {
            X509_free(cert);
            return false;
        }
    }
    is_end = ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE;
    if (is_end)
        ERR_clear_error();
    return is_end;
}

static int parse_cert(SSL_CTX *ssl, BIO *pem, const char *file, struct adit_err *err)
{
    X509 *cert = PEM_read_bio_X509_AUX(pem, NULL, NULL, NULL);
    bool is_good = cert && SSL_CTX_use_certificate(ssl, cert) == 1 && add_chain(ssl, pem);

    X509_free(cert); /* the context has its own reference */
    return is_good ? ADIT_OK
                   : adit_err_set(err, ADIT_ERR_BAD_INPUT, "%s is no PEM certificate: %s", file,
                                  tls_error_text());
}

static int parse_key(SSL_CTX *ssl, BIO *pem, const char *file, struct adit_err *err)
{
    bool was_asked = false, is_good;
    EVP_PKEY *key = PEM_read_bio_PrivateKey(pem, NULL, refuse_passphrase, &was_asked);

    if (was_asked) {
        ERR_clear_error();
        EVP_PKEY_free(key);
        return adit_err_set(err, ADIT_ERR_BAD_INPUT, "%s is protected by a passphrase", file);
    }
    if (!key)
        return adit_err_set(err, ADIT_ERR_BAD_INPUT, "%s is no PEM private key: %s", file,
                            tls_error_text());
    is_good = X509_check_private_key(SSL_CTX_get0_certificate(ssl), key) == 1 &&
              SSL_CTX_use_PrivateKey(ssl, key) == 1;
    EVP_PKEY_free(key); /* the context has its own reference */
    return is_good
               ? ADIT_OK
               : adit_err_set(err, ADIT_ERR_BAD_INPUT, "%s is not the key of the certificate: %s",
                              file, tls_error_text());
}

typedef int (*parse_fn)(SSL_CTX *ssl, BIO *pem, const char *file, struct adit_err *err);

static int parse_text(SSL_CTX *ssl, struct adit_view text, const char *file, parse_fn parse,
                      struct adit_err *err)
{
    BIO *pem = BIO_new_mem_buf(text.len ? text.ptr : "", (int)text.len);
    int rc = pem ? parse(ssl, pem, file, err)
                 : adit_err_set(err, ADIT_ERR_NO_MEMORY, "no memory to read %s", file);

    BIO_free(pem);
    return rc;
}

static int load_file(SSL_CTX *ssl, const char *file, size_t cap, parse_fn parse,
                     struct adit_err *err)
{
    struct adit_buf bytes;
    int rc;

    adit_buf_init(&bytes, cap);
    rc = adit_file_read(AT_FDCWD, file, &bytes, err);
    if (rc == ADIT_OK)
        rc = parse_text(ssl, adit_buf_view(&bytes), file, parse, err);
    if (bytes.data)
        OPENSSL_cleanse(bytes.data, bytes.cap);
    adit_buf_fini(&bytes);
    return rc;
}

/* Authorities; a file may hold other things beside them. */
static int parse_trust(SSL_CTX *ssl, BIO *pem, const char *file, struct adit_err *err)
{
    X509_STORE *store = SSL_CTX_get_cert_store(ssl);
    size_t cnt = 0;
    bool is_good = true;
    X509 *cert;

    while (is_good && (cert = PEM_read_bio_X509_AUX(pem, NULL, refuse_passphrase, NULL))) {
        is_good = X509_STORE_add_cert(store, cert) == 1; /* one that is there is fine */
        X509_free(cert);                                 /* the store has its own reference */
        cnt += is_good;
    }
    is_good = is_good && cnt > 0 && ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE;
    if (!is_good)
        return adit_err_set(err, ADIT_ERR_BAD_INPUT, "%s holds no PEM certificates: %s", file,
                            tls_error_text());
    ERR_clear_error();
    return ADIT_OK;
}

/* ---- the context ---- */

static int choose_protocol(SSL *ssl, const unsigned char **out, unsigned char *out_len,
                           const unsigned char *offered, unsigned offered_len, void *arg)
{
    const struct alpn *alpn = arg;
    unsigned char *chosen = NULL;

    (void)ssl;
    if (SSL_select_next_proto(&chosen, out_len, alpn->names, alpn->len, offered, offered_len) !=
        OPENSSL_NPN_NEGOTIATED)
        return SSL_TLSEXT_ERR_ALERT_FATAL; /* RFC 7301, 3.2: no_application_protocol */
    *out = chosen;
    return SSL_TLSEXT_ERR_OK;
}

static bool set_rules(SSL_CTX *ssl)
{
    int groups[] = {NID_X25519, NID_X9_62_prime256v1, NID_secp384r1};

    (void)SSL_CTX_set_options(ssl, OPTIONS);                       /* returns the options */
    (void)SSL_CTX_set_mode(ssl, SSL_MODE_RELEASE_BUFFERS);         /* returns the mode */
    (void)SSL_CTX_set_session_cache_mode(ssl, SSL_SESS_CACHE_OFF); /* returns the old mode */
    return SSL_CTX_set_min_proto_version(ssl, TLS1_2_VERSION) == 1 &&
           SSL_CTX_set_cipher_list(ssl, CIPHERS_12) == 1 &&
           SSL_CTX_set_ciphersuites(ssl, CIPHERS_13) == 1 &&
           SSL_CTX_set1_groups(ssl, groups, 3) == 1;
}

static int new_context(const SSL_METHOD *method, struct tls_context **out, struct adit_err *err)
{
    struct tls_context *c = calloc(1, sizeof(*c));
    int rc = c ? tls_prepare() : ADIT_ERR_NO_MEMORY;

    ERR_clear_error();
    if (rc == ADIT_OK)
        c->ssl = SSL_CTX_new(method);
    if (rc == ADIT_OK && c->ssl && set_rules(c->ssl)) {
        atomic_init(&c->refs, 1);
        *out = c;
        return ADIT_OK;
    }
    rc = adit_err_set(err, ADIT_ERR_NO_MEMORY, "no TLS context: %s", tls_error_text());
    if (c)
        SSL_CTX_free(c->ssl);
    free(c);
    return rc;
}

static int new_server(const struct alpn *alpn, struct tls_context **out, struct adit_err *err)
{
    int rc = new_context(TLS_server_method(), out, err);

    if (rc == ADIT_OK) /* only read */
        SSL_CTX_set_alpn_select_cb((*out)->ssl, choose_protocol, (void *)(uintptr_t)alpn);
    return rc;
}

int tls_context_load(const struct tls_context_conf *conf, struct tls_context **out,
                     struct adit_err *err)
{
    struct tls_context *c;
    int rc = new_server(conf->offers_h2 ? &alpn_h2 : &alpn_h1, &c, err);

    if (rc != ADIT_OK)
        return rc;
    rc = load_file(c->ssl, conf->cert_file, TLS_FILE_CAP, parse_cert, err);
    if (rc == ADIT_OK)
        rc = load_file(c->ssl, conf->key_file, TLS_FILE_CAP, parse_key, err);
    if (rc == ADIT_OK)
        *out = c;
    else
        tls_context_unref(c);
    return rc;
}

int tls_context_parse(struct adit_view cert, struct adit_view key, struct tls_context **out,
                      struct adit_err *err)
{
    struct tls_context *c;
    int rc = new_server(&alpn_h1, &c, err);

    if (rc != ADIT_OK)
        return rc;
    rc = parse_text(c->ssl, cert, "the text", parse_cert, err);
    if (rc == ADIT_OK)
        rc = parse_text(c->ssl, key, "the text", parse_key, err);
    if (rc == ADIT_OK)
        *out = c;
    else
        tls_context_unref(c);
    return rc;
}

int tls_context_new_client(struct tls_context **out, struct adit_err *err)
{
    int rc = new_context(TLS_client_method(), out, err);

    if (rc != ADIT_OK)
        return rc;
    SSL_CTX_set_verify((*out)->ssl, SSL_VERIFY_PEER, NULL);
    if (SSL_CTX_set_alpn_protos((*out)->ssl, alpn_h1.names, alpn_h1.len) == 0)
        return ADIT_OK;
    tls_context_unref(*out);
    return adit_err_set(err, ADIT_ERR_NO_MEMORY, "no TLS context: %s", tls_error_text());
}

int tls_context_trust(struct tls_context *c, const char *file, struct adit_err *err)
{
    return load_file(c->ssl, file, TLS_TRUST_FILE_CAP, parse_trust, err);
}

struct tls_context *tls_context_ref(struct tls_context *c)
{
    atomic_fetch_add(&c->refs, 1);
    return c;
}

void tls_context_unref(struct tls_context *c)
{
    if (!c || atomic_fetch_sub(&c->refs, 1) != 1)
        return;
    SSL_CTX_free(c->ssl);
    free(c);
}

bool tls_context_covers(const struct tls_context *c, const char *host)
{
    X509 *cert = SSL_CTX_get0_certificate(c->ssl);
    bool covers = X509_check_host(cert, host, 0, 0, NULL) == 1;

    ERR_clear_error();
    return covers;
}

int64_t tls_context_expires_in_s(const struct tls_context *c)
{
    const ASN1_TIME *end = X509_get0_notAfter(SSL_CTX_get0_certificate(c->ssl));
    int days = 0, seconds = 0;

    if (ASN1_TIME_diff(&days, &seconds, NULL, end) != 1)
        ERR_clear_error(); /* a time that cannot be read is over */
    return (int64_t)days * 86400 + seconds;
}
