/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A key with its certificate.
 *
 * Theory of operation
 *
 * What: keys are P-256, serial numbers random, signatures SHA-256. Making one takes less than a
 * millisecond, so it may be done on a loop. Ownership: a pair owns both. Trust: what is read is the
 * state directory's, but the disk may have torn it. Failure: OpenSSL's queue of errors is empty
 * afterwards.
 */
#include "broker/cert_pair.h"

#include <openssl/err.h>
#include <openssl/pem.h>

#include "base/rand.h"

#define SERIAL_LEN 16
#define EARLY_S 3600

const struct cert_extension cert_pair_authority[] = {
    {NID_basic_constraints, "critical,CA:TRUE,pathlen:0"},
    {NID_key_usage, "critical,keyCertSign,cRLSign"},
    {NID_subject_key_identifier, "hash"},
    {0, NULL},
};

void cert_pair_fini(struct cert_pair *p)
{
    EVP_PKEY_free(p->key);
    X509_free(p->cert);
    *p = (struct cert_pair){NULL, NULL};
}

void cert_pair_wipe(struct adit_buf *b)
{
    if (b->data)
        OPENSSL_cleanse(b->data, b->cap);
    adit_buf_fini(b);
}

static int library_failed(struct adit_err *err, const char *what)
{
    const char *reason = ERR_reason_error_string(ERR_peek_error());

    ERR_clear_error();
    return adit_err_set(err, ADIT_ERR_IO, "%s: %s", what, reason ? reason : "no memory");
}

/* ---- making ---- */

static bool add_extensions(X509 *cert, X509 *issuer, const struct cert_extension *list)
{
    X509V3_CTX ctx;

    X509V3_set_ctx(&ctx, issuer, cert, NULL, NULL, 0);
    for (; list->value; list++) {
        X509_EXTENSION *e = X509V3_EXT_conf_nid(NULL, &ctx, list->nid, list->value);
        bool is_added = e && X509_add_ext(cert, e, -1) == 1;

        X509_EXTENSION_free(e);
        if (!is_added)
            return false;
    }
    return true;
}

/* RFC 5280, 4.1.2.2: positive, and not longer than 20 bytes. */
static bool set_serial(X509 *cert)
{
    unsigned char bytes[SERIAL_LEN];
    BIGNUM *number;
    bool is_set;

    adit_rand_bytes(bytes, sizeof(bytes));
    bytes[0] = (bytes[0] & 0x3f) | 0x40;
    number = BN_bin2bn(bytes, sizeof(bytes), NULL);
    is_set = number && BN_to_ASN1_INTEGER(number, X509_get_serialNumber(cert));
    BN_free(number);
    return is_set;
}

static bool set_times(X509 *cert, long days)
{
    return X509_gmtime_adj(X509_getm_notBefore(cert), -EARLY_S) &&
           X509_time_adj_ex(X509_getm_notAfter(cert), (int)days, -EARLY_S, NULL);
}

static bool add_name(X509_NAME *name, const char *field, const char *value)
{
    return X509_NAME_add_entry_by_txt(name, field, MBSTRING_UTF8, (const unsigned char *)value, -1,
                                      -1, 0) == 1;
}

static bool sign(const struct cert_pair_conf *conf, struct cert_pair *p)
{
    const struct cert_pair *by = conf->issuer ? conf->issuer : p;
    X509_NAME *name = X509_get_subject_name(p->cert);

    return X509_set_version(p->cert, X509_VERSION_3) == 1 && set_serial(p->cert) &&
           set_times(p->cert, conf->good_days) && add_name(name, "O", conf->organization) &&
           add_name(name, "CN", conf->common_name) &&
           X509_set_issuer_name(p->cert, X509_get_subject_name(by->cert)) == 1 &&
           X509_set_pubkey(p->cert, p->key) == 1 &&
           add_extensions(p->cert, by->cert, conf->extensions) &&
           X509_sign(p->cert, by->key, EVP_sha256()) > 0;
}

int cert_pair_make(const struct cert_pair_conf *conf, struct cert_pair *out, struct adit_err *err)
{
    struct cert_pair p = {conf->key ? conf->key : EVP_EC_gen("P-256"), X509_new()};

    if (conf->key)
        (void)EVP_PKEY_up_ref(conf->key); /* it counts atomically */
    if (p.key && p.cert && sign(conf, &p)) {
        *out = p;
        return ADIT_OK;
    }
    cert_pair_fini(&p);
    return library_failed(err, "make a certificate");
}

/* ---- PEM ---- */

static int take_pem(BIO *pem, bool is_written, struct adit_buf *out, struct adit_err *err)
{
    char *bytes = NULL;
    int rc = ADIT_OK;

    if (!pem || !is_written) {
        rc = library_failed(err, "write a certificate");
    } else {
        long len = BIO_get_mem_data(pem, &bytes);
        rc = adit_buf_append(out, bytes, (size_t)len);
        if (rc != ADIT_OK)
            (void)adit_err_set(err, rc, "no room for a certificate");
    }
    BIO_free(pem);
    return rc;
}

int cert_pair_write_cert(const struct cert_pair *p, struct adit_buf *out, struct adit_err *err)
{
    BIO *pem = BIO_new(BIO_s_mem());

    return take_pem(pem, pem && PEM_write_bio_X509(pem, p->cert) == 1, out, err);
}

int cert_pair_write_key(const struct cert_pair *p, struct adit_buf *out, struct adit_err *err)
{
    BIO *pem = BIO_new(BIO_s_secmem());

    return take_pem(
        pem, pem && PEM_write_bio_PKCS8PrivateKey(pem, p->key, NULL, NULL, 0, NULL, NULL) == 1, out,
        err);
}

/* Nobody could type one. */
static int refuse_passphrase(char *buf, int size, int is_writing, void *user)
{
    (void)buf;
    (void)size;
    (void)is_writing;
    (void)user;
    return -1;
}

int cert_pair_read_authority(struct adit_view cert, struct adit_view key, struct cert_pair *out,
                             struct adit_err *err)
{
    BIO *cert_pem = BIO_new_mem_buf(cert.len ? cert.ptr : "", (int)cert.len);
    BIO *key_pem = BIO_new_mem_buf(key.len ? key.ptr : "", (int)key.len);
    bool has_memory = cert_pem && key_pem;
    struct cert_pair p = {NULL, NULL};

    if (has_memory) {
        p.key = PEM_read_bio_PrivateKey(key_pem, NULL, refuse_passphrase, NULL);
        p.cert = PEM_read_bio_X509(cert_pem, NULL, refuse_passphrase, NULL);
    }
    BIO_free(cert_pem);
    BIO_free(key_pem);
    if (p.key && p.cert && X509_check_private_key(p.cert, p.key) == 1 &&
        X509_check_ca(p.cert) == 1) {
        *out = p;
        return ADIT_OK;
    }
    cert_pair_fini(&p);
    ERR_clear_error();
    return has_memory ? adit_err_set(err, ADIT_ERR_BAD_INPUT, "no authority with its key")
                      : adit_err_set(err, ADIT_ERR_NO_MEMORY, "no memory to read a certificate");
}
