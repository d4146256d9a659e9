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

#include "base/cleanup.h"
#include "base/file.h"
#include "base/rand.h"
#include "broker/cert_pair.h"

#define ORGANIZATION "Adit development"

static int make_ca(struct cert_pair *out, struct adit_err *err)
{
    char name[40], tag[9];
    struct cert_pair_conf conf = {.organization = ORGANIZATION,
                                  .common_name = name,
                                  .good_days = DEV_CERT_CA_DAYS,
                                  .extensions = cert_pair_authority};

    adit_rand_hex(tag, 4); /* two authorities are told apart by it */
    (void)snprintf(name, sizeof(name), "Adit development CA %s", tag);
    return cert_pair_make(&conf, out, err);
}

static int make_leaf(const struct cert_pair *ca, const char *domain, struct cert_pair *out,
                     struct adit_err *err)
{
    char names[600];
    const struct cert_extension extensions[] = {
        {NID_basic_constraints, "critical,CA:FALSE"},
        {NID_key_usage, "critical,digitalSignature"},
        {NID_ext_key_usage, "serverAuth"},
        {NID_subject_key_identifier, "hash"},
        {NID_authority_key_identifier, "keyid"},
        {NID_subject_alt_name, names},
        {0, NULL},
    };
    struct cert_pair_conf conf = {.issuer = ca,
                                  .organization = ORGANIZATION,
                                  .common_name = "Adit development certificate",
                                  .good_days = DEV_CERT_DAYS,
                                  .extensions = extensions};
    bool is_local = strcmp(domain, "localhost") == 0;

    (void)snprintf(names, sizeof(names), "DNS:%s,DNS:*.%s%s,IP:127.0.0.1,IP:::1", domain, domain,
                   is_local ? "" : ",DNS:localhost"); /* fits: a domain has at most 253 bytes */
    return cert_pair_make(&conf, out, err);
}

/* ---- files ---- */

/* A file that is replaced keeps its owner: a broker that runs reads the new one as its own user. */
static int write_pem(int dir, const char *file, struct adit_view pem, mode_t mode,
                     struct adit_err *err)
{
    struct stat before;
    bool is_kept = geteuid() == 0 && fstatat(dir, file, &before, AT_SYMLINK_NOFOLLOW) == 0;
    int rc = adit_file_replace(dir, file, pem, mode, err);

    if (rc == 0 && is_kept &&
        fchownat(dir, file, before.st_uid, before.st_gid, AT_SYMLINK_NOFOLLOW) < 0)
        rc = adit_err_sys(err, errno, "give %s to its owner", file);
    return rc;
}

static int save(int dir, const struct cert_pair *p, const char *cert_file, const char *key_file,
                struct adit_err *err)
{
    struct adit_buf key, cert;
    int rc;

    adit_buf_init(&key, CERT_PAIR_CAP);
    adit_buf_init(&cert, CERT_PAIR_CAP);
    if ((rc = cert_pair_write_key(p, &key, err)) == 0 &&
        (rc = cert_pair_write_cert(p, &cert, err)) == 0 &&
        (rc = write_pem(dir, key_file, adit_buf_view(&key), 0600, err)) == 0)
        rc = write_pem(dir, cert_file, adit_buf_view(&cert), 0644, err);
    cert_pair_wipe(&key);
    adit_buf_fini(&cert);
    return rc;
}

static int parse_ca(struct adit_view cert, struct adit_view key, struct cert_pair *out,
                    struct adit_err *err)
{
    int rc = cert_pair_read_authority(cert, key, out, NULL);

    return rc ? adit_err_set(err, rc, "%s and %s are no authority: remove both to get a new one",
                             DEV_CERT_CA, DEV_CERT_CA_KEY)
              : 0;
}

/* Errors: NOT_FOUND when there is no authority at all. */
static int load_ca(int dir, struct cert_pair *out, struct adit_err *err)
{
    struct adit_buf cert, key;
    struct adit_err missing = ADIT_ERR_INIT;
    int rc, key_rc;

    adit_buf_init(&cert, CERT_PAIR_CAP);
    adit_buf_init(&key, CERT_PAIR_CAP);
    rc = adit_file_read(dir, DEV_CERT_CA, &cert, err);
    key_rc = adit_file_read(dir, DEV_CERT_CA_KEY, &key, rc ? &missing : err);
    if (rc == 0 && key_rc == 0)
        rc = parse_ca(adit_buf_view(&cert), adit_buf_view(&key), out, err);
    else if (rc == 0 || (rc == ADIT_ERR_NOT_FOUND && key_rc != ADIT_ERR_NOT_FOUND))
        rc = adit_err_set(err, ADIT_ERR_BAD_INPUT,
                          "of %s and %s one cannot be read: put it back, or remove both",
                          DEV_CERT_CA, DEV_CERT_CA_KEY);
    adit_buf_fini(&cert);
    cert_pair_wipe(&key);
    return rc;
}

static int open_ca(int dir, struct cert_pair *out, struct adit_err *err)
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
    struct cert_pair ca = {NULL, NULL}, leaf = {NULL, NULL};
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
    cert_pair_fini(&leaf);
    cert_pair_fini(&ca);
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
