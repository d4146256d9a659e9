/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A certificate for a try, from an authority of one's own.
 *
 * Theory of operation
 *
 * What: mkcert's habits. One authority (ca.crt, ca.key), kept, so that a client that trusts it
 * trusts every later certificate; one certificate (tls.crt, tls.key), new at each run. Keys are
 * P-256, serial numbers random, validity is below what clients bear, and names are in
 * subjectAltName, where alone clients look.
 *
 * Trust: whoever reads ca.key can pretend to be any host to those who trust ca.crt. It is for
 * machines of developers; the authority can sign no further ones. The domain becomes part of a
 * configuration text of OpenSSL's, so it is checked first.
 *
 * Failure: files are replaced whole, keys before certificates; a running broker takes the pair when
 * both are there.
 */
#include "broker/dev_cert.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <sys/stat.h>

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/rand.h"

#define SERIAL_LEN 16
#define PEM_CAP (64u * 1024)
/* Clocks of clients may be a little late. */
#define EARLY_S 3600

struct pair {
    EVP_PKEY *key;
    X509 *cert;
};

static void pair_fini(struct pair *p)
{
    EVP_PKEY_free(p->key);
    X509_free(p->cert);
}

static int library_failed(struct adit_err *err, const char *what)
{
    const char *reason = ERR_reason_error_string(ERR_peek_error());

    ERR_clear_error();
    return adit_err_set(err, ADIT_ERR_IO, "%s: %s", what, reason ? reason : "no memory");
}

/* ---- certificates ---- */

struct extension {
    int nid;
    const char *value;
};

static bool add_extensions(X509 *cert, X509 *issuer, const struct extension *list)
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

static bool set_name(X509 *cert, const char *common_name)
{
    X509_NAME *name = X509_get_subject_name(cert);

    return X509_NAME_add_entry_by_txt(name, "O", MBSTRING_UTF8,
                                      (const unsigned char *)"Adit development", -1, -1, 0) == 1 &&
           X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8, (const unsigned char *)common_name,
                                      -1, -1, 0) == 1;
}

/* A key and its certificate, signed by @issuer (NULL: by itself). */
static int make_pair(const struct pair *issuer, const char *common_name, long days,
                     const struct extension *extensions, struct pair *out, struct adit_err *err)
{
    struct pair p = {EVP_EC_gen("P-256"), X509_new()};
    const struct pair *by = issuer ? issuer : &p;

    if (p.key && p.cert && X509_set_version(p.cert, X509_VERSION_3) == 1 && set_serial(p.cert) &&
        set_times(p.cert, days) && set_name(p.cert, common_name) &&
        X509_set_issuer_name(p.cert, X509_get_subject_name(by->cert)) == 1 &&
        X509_set_pubkey(p.cert, p.key) == 1 && add_extensions(p.cert, by->cert, extensions) &&
        X509_sign(p.cert, by->key, EVP_sha256()) > 0) {
        *out = p;
        return 0;
    }
    pair_fini(&p);
    return library_failed(err, "make a certificate");
}

static int make_ca(struct pair *out, struct adit_err *err)
{
    static const struct extension extensions[] = {
        {NID_basic_constraints, "critical,CA:TRUE,pathlen:0"},
        {NID_key_usage, "critical,keyCertSign,cRLSign"},
        {NID_subject_key_identifier, "hash"},
        {0, NULL},
    };
    char name[40], tag[9];

    adit_rand_hex(tag, 4); /* two authorities are told apart by it */
    (void)snprintf(name, sizeof(name), "Adit development CA %s", tag);
    return make_pair(NULL, name, DEV_CERT_CA_DAYS, extensions, out, err);
}

static int make_leaf(const struct pair *ca, const char *domain, struct pair *out,
                     struct adit_err *err)
{
    char names[600];
    const struct extension extensions[] = {
        {NID_basic_constraints, "critical,CA:FALSE"},
        {NID_key_usage, "critical,digitalSignature"},
        {NID_ext_key_usage, "serverAuth"},
        {NID_subject_key_identifier, "hash"},
        {NID_authority_key_identifier, "keyid"},
        {NID_subject_alt_name, names},
        {0, NULL},
    };
    bool is_local = strcmp(domain, "localhost") == 0;

    (void)snprintf(names, sizeof(names), "DNS:%s,DNS:*.%s%s,IP:127.0.0.1,IP:::1", domain, domain,
                   is_local ? "" : ",DNS:localhost"); /* fits: a domain has at most 253 bytes */
    return make_pair(ca, "Adit development certificate", DEV_CERT_DAYS, extensions, out, err);
}

/* ---- files ---- */

/* A file that is replaced keeps its owner: a broker that runs reads the new one as its own user. */
static int write_pem(int dir, const char *file, BIO *pem, mode_t mode, struct adit_err *err)
{
    char *bytes = NULL;
    long len = BIO_get_mem_data(pem, &bytes);
    struct stat before;
    bool is_kept = geteuid() == 0 && fstatat(dir, file, &before, AT_SYMLINK_NOFOLLOW) == 0;
    int rc = adit_file_replace(dir, file, adit_view_mem(bytes, (size_t)len), mode, err);

    if (rc == 0 && is_kept &&
        fchownat(dir, file, before.st_uid, before.st_gid, AT_SYMLINK_NOFOLLOW) < 0)
        rc = adit_err_sys(err, errno, "give %s to its owner", file);
    return rc;
}

static int save(int dir, const struct pair *p, const char *cert_file, const char *key_file,
                struct adit_err *err)
{
    BIO *key = BIO_new(BIO_s_secmem()), *cert = BIO_new(BIO_s_mem());
    int rc;

    if (key && cert && PEM_write_bio_PKCS8PrivateKey(key, p->key, NULL, NULL, 0, NULL, NULL) == 1 &&
        PEM_write_bio_X509(cert, p->cert) == 1) {
        rc = write_pem(dir, key_file, key, 0600, err);
        if (rc == 0)
            rc = write_pem(dir, cert_file, cert, 0644, err);
    } else {
        rc = library_failed(err, "write a certificate");
    }
    BIO_free(key);
    BIO_free(cert);
    return rc;
}

static int read_pem(int dir, const char *file, BIO **out, struct adit_buf *bytes,
                    struct adit_err *err)
{
    int rc = adit_file_read(dir, file, bytes, err);

    if (rc)
        return rc;
    *out = BIO_new_mem_buf(bytes->len ? bytes->data + bytes->off : "", (int)bytes->len);
    return *out ? 0 : adit_err_set(err, ADIT_ERR_NO_MEMORY, "no memory to read %s", file);
}

static int parse_ca(BIO *cert, BIO *key, struct pair *out, struct adit_err *err)
{
    struct pair p = {PEM_read_bio_PrivateKey(key, NULL, NULL, NULL),
                     PEM_read_bio_X509(cert, NULL, NULL, NULL)};

    if (p.key && p.cert && X509_check_private_key(p.cert, p.key) == 1 &&
        X509_check_ca(p.cert) == 1) {
        *out = p;
        return 0;
    }
    pair_fini(&p);
    ERR_clear_error();
    return adit_err_set(err, ADIT_ERR_BAD_INPUT,
                        "%s and %s are no authority: remove both to get a new one", DEV_CERT_CA,
                        DEV_CERT_CA_KEY);
}

/* Errors: NOT_FOUND when there is no authority at all. */
static int load_ca(int dir, struct pair *out, struct adit_err *err)
{
    struct adit_buf cert_bytes, key_bytes;
    struct adit_err missing = ADIT_ERR_INIT;
    BIO *cert = NULL, *key = NULL;
    int rc, key_rc;

    adit_buf_init(&cert_bytes, PEM_CAP);
    adit_buf_init(&key_bytes, PEM_CAP);
    rc = read_pem(dir, DEV_CERT_CA, &cert, &cert_bytes, err);
    key_rc = read_pem(dir, DEV_CERT_CA_KEY, &key, &key_bytes, rc ? &missing : err);
    if (rc == 0 && key_rc == 0)
        rc = parse_ca(cert, key, out, err);
    else if (rc == 0 || (rc == ADIT_ERR_NOT_FOUND && key_rc != ADIT_ERR_NOT_FOUND))
        rc = adit_err_set(err, ADIT_ERR_BAD_INPUT,
                          "of %s and %s one cannot be read: put it back, or remove both",
                          DEV_CERT_CA, DEV_CERT_CA_KEY);
    BIO_free(cert);
    BIO_free(key);
    if (key_bytes.data)
        OPENSSL_cleanse(key_bytes.data, key_bytes.cap);
    adit_buf_fini(&cert_bytes);
    adit_buf_fini(&key_bytes);
    return rc;
}

static int open_ca(int dir, struct pair *out, struct adit_err *err)
{
    struct adit_err missing = ADIT_ERR_INIT;
    int rc = load_ca(dir, out, &missing);

    if (rc == ADIT_ERR_NOT_FOUND) {
        rc = make_ca(out, err);
        return rc ? rc : save(dir, out, DEV_CERT_CA, DEV_CERT_CA_KEY, err);
    }
    if (rc && err)
        *err = missing;
    return rc;
}

/* ---- the command ---- */

/* Letters, digits, dots and dashes: what a host name is made of. */
static bool is_domain(const char *s)
{
    size_t len = strlen(s);

    return len > 0 && len <= 200 && s[0] != '.' && s[0] != '-' &&
           strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-") == len;
}

int dev_cert_make(const char *domain, const char *dir, struct adit_err *err)
{
    struct pair ca = {NULL, NULL}, leaf = {NULL, NULL};
    int rc;

    if (!is_domain(domain))
        return adit_err_set(err, ADIT_ERR_BAD_INPUT, "domain: \"%s\" is no host name", domain);
    rc = adit_file_mkdirs(dir, 0755, err);
    if (rc)
        return rc;
    /* No link: in the state directory the broker's user could make one. */
    ADIT_CLEANUP_CLOSE int fd = open(dir, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return adit_err_sys(err, errno, "open %s", dir);
    rc = open_ca(fd, &ca, err);
    if (rc == 0)
        rc = make_leaf(&ca, domain, &leaf, err);
    if (rc == 0)
        rc = save(fd, &leaf, DEV_CERT_CERT, DEV_CERT_KEY, err);
    pair_fini(&leaf);
    pair_fini(&ca);
    return rc ? adit_err_wrap(err, "%s", dir) : 0;
}

static void print_use(const char *domain, const char *dir)
{
    (void)printf("A certificate for %s, *.%s, localhost, 127.0.0.1 and ::1, good for %d days:\n\n"
                 "  %s/" DEV_CERT_CERT "\n  %s/" DEV_CERT_KEY "\n\n"
                 "signed by an authority of your own, which a later run uses again:\n\n"
                 "  %s/" DEV_CERT_CA "\n  %s/" DEV_CERT_CA_KEY " (keep it to yourself)\n\n",
                 domain, domain, DEV_CERT_DAYS, dir, dir, dir, dir);
    (void)printf("For the broker, as options or as lines of its configuration:\n\n"
                 "  listen = 127.0.0.1:3000, tls::443\n"
                 "  domain = %s\n"
                 "  tls-cert = %s/" DEV_CERT_CERT "\n"
                 "  tls-key = %s/" DEV_CERT_KEY "\n\n",
                 domain, dir, dir);
    (void)printf(
        "For clients, which then trust this authority (the first and the last in place of\n"
        "the system's):\n\n"
        "  export SSL_CERT_FILE='%s/" DEV_CERT_CA "'\n"
        "  export NODE_EXTRA_CA_CERTS='%s/" DEV_CERT_CA "'\n"
        "  export REQUESTS_CA_BUNDLE='%s/" DEV_CERT_CA "'\n",
        dir, dir, dir);
}

int dev_cert_main(const struct broker_conf *c, const char *dir, struct adit_err *err)
{
    char place[PATH_MAX], full[PATH_MAX];
    int rc;

    (void)snprintf(place, sizeof(place), "%s%s", dir[0] ? dir : c->state_dir, dir[0] ? "" : "/tls");
    rc = dev_cert_make(c->domain, place, err);
    if (rc)
        return rc;
    print_use(c->domain, realpath(place, full) ? full : place);
    return 0;
}
