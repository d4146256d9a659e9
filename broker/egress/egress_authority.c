/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A sandbox's certificate authority.
 *
 * Theory of operation
 *
 * What:      each server has a certificate for its name alone, all with one key, made when the name
 * is first met and kept with its TLS context. The subject of all authorities is the same, so that a
 * guest knows under which name OpenSSL looks for it (envd/ca_store.h).
 * Ownership: it owns its pair and the kept contexts; connections hold references.
 * Limits:    EGRESS_AUTHORITY_LEAVES_MAX.
 * Trust:     the name is the guest's; the caller has checked its letters, as it becomes part of a
 * configuration text of OpenSSL's. The key is the broker's: a sandbox has its own, so what leaks of
 * one is of no use in another.
 * Failure:   what cannot be made fails that connection.
 */
#include "broker/egress/egress_authority.h"

#include <stdio.h>
#include <stdlib.h>

#include "broker/cert_pair.h"
#include "broker/egress/egress_domain.h"

#define ORGANIZATION "Adit"
#define CERTIFICATE_BEGIN "-----BEGIN CERTIFICATE-----"

struct leaf {
    char name[EGRESS_DOMAIN_MAX + 1];
    struct tls_context *tls;
};

/* @leaves: a ring; @oldest: the one that gives way */
struct egress_authority {
    struct cert_pair pair;
    EVP_PKEY *leaf_key;
    struct adit_buf leaf_key_pem;
    struct leaf leaves[EGRESS_AUTHORITY_LEAVES_MAX];
    size_t oldest;
};

/* ---- the text ---- */

static int write_pair(const struct cert_pair *p, char out[EGRESS_AUTHORITY_CAP],
                      struct adit_err *err)
{
    struct adit_buf text;
    adit_buf_init(&text, EGRESS_AUTHORITY_CAP - 1);
    int rc = cert_pair_write_key(p, &text, err);
    if (rc == ADIT_OK)
        rc = cert_pair_write_cert(p, &text, err);
    if (rc == ADIT_OK) /* it fits */
        (void)snprintf(out, EGRESS_AUTHORITY_CAP, "%.*s", ADIT_VIEW_ARG(adit_buf_view(&text)));
    cert_pair_wipe(&text);
    return rc;
}

int egress_authority_make(char out[EGRESS_AUTHORITY_CAP], struct adit_err *err)
{
    struct cert_pair_conf conf = {.organization = ORGANIZATION,
                                  .common_name = "Adit sandbox authority",
                                  .good_days = EGRESS_AUTHORITY_DAYS,
                                  .extensions = cert_pair_authority};
    struct cert_pair p;
    int rc = cert_pair_make(&conf, &p, err);
    if (rc != ADIT_OK)
        return rc;
    rc = write_pair(&p, out, err);
    cert_pair_fini(&p);
    return rc;
}

const char *egress_authority_certificate(const char *pem)
{
    const char *at = strstr(pem, CERTIFICATE_BEGIN);
    return at ? at : "";
}

/* ---- the object ---- */

void egress_authority_free(struct egress_authority *a)
{
    if (!a)
        return;
    for (size_t i = 0; i < EGRESS_AUTHORITY_LEAVES_MAX; i++)
        tls_context_unref(a->leaves[i].tls);
    cert_pair_fini(&a->pair);
    EVP_PKEY_free(a->leaf_key);
    cert_pair_wipe(&a->leaf_key_pem);
    free(a);
}

static int make_leaf_key(struct egress_authority *a, struct adit_err *err)
{
    a->leaf_key = EVP_EC_gen("P-256");
    if (!a->leaf_key)
        return adit_err_set(err, ADIT_ERR_NO_MEMORY, "no memory for a key");
    return cert_pair_write_key(&(struct cert_pair){.key = a->leaf_key}, &a->leaf_key_pem, err);
}

int egress_authority_open(const char *pem, struct egress_authority **out, struct adit_err *err)
{
    struct egress_authority *a = calloc(1, sizeof *a);
    if (!a)
        return adit_err_set(err, ADIT_ERR_NO_MEMORY, "no memory for an authority");
    adit_buf_init(&a->leaf_key_pem, EGRESS_AUTHORITY_CAP);
    int rc = cert_pair_read_authority(adit_view_str(pem), adit_view_str(pem), &a->pair, err);
    if (rc == ADIT_OK)
        rc = make_leaf_key(a, err);
    if (rc == ADIT_OK)
        *out = a;
    else
        egress_authority_free(a);
    return rc;
}

/* ---- certificates of servers ---- */

static int make_leaf(const struct egress_authority *a, struct adit_view name, struct adit_buf *out,
                     struct adit_err *err)
{
    char alt[sizeof("DNS:") + EGRESS_DOMAIN_MAX];
    const struct cert_extension extensions[] = {
        {NID_basic_constraints, "critical,CA:FALSE"},
        {NID_key_usage, "critical,digitalSignature"},
        {NID_ext_key_usage, "serverAuth"},
        {NID_authority_key_identifier, "keyid"},
        {NID_subject_alt_name, alt},
        {0, NULL},
    };
    struct cert_pair_conf conf = {.issuer = &a->pair,
                                  .key = a->leaf_key,
                                  .organization = ORGANIZATION,
                                  .common_name = "Adit sandbox egress",
                                  .good_days = EGRESS_AUTHORITY_LEAF_DAYS,
                                  .extensions = extensions};
    struct cert_pair p;
    (void)snprintf(alt, sizeof(alt), "DNS:%.*s", ADIT_VIEW_ARG(name)); /* names are not longer */
    int rc = cert_pair_make(&conf, &p, err);
    if (rc != ADIT_OK)
        return rc;
    rc = cert_pair_write_cert(&p, out, err);
    cert_pair_fini(&p);
    return rc;
}

static int make_context(const struct egress_authority *a, struct adit_view name,
                        struct tls_context **out, struct adit_err *err)
{
    struct adit_buf cert;
    adit_buf_init(&cert, EGRESS_AUTHORITY_CAP);
    int rc = make_leaf(a, name, &cert, err);
    if (rc == ADIT_OK)
        rc = tls_context_parse(adit_buf_view(&cert), adit_buf_view(&a->leaf_key_pem), out, err);
    adit_buf_fini(&cert);
    return rc;
}

static struct leaf *find(struct egress_authority *a, struct adit_view name)
{
    for (size_t i = 0; i < EGRESS_AUTHORITY_LEAVES_MAX; i++)
        if (a->leaves[i].tls && adit_view_eq_str(name, a->leaves[i].name))
            return &a->leaves[i];
    return NULL;
}

int egress_authority_context(struct egress_authority *a, struct adit_view name,
                             struct tls_context **out, struct adit_err *err)
{
    struct tls_context *tls;
    struct leaf *leaf = find(a, name);
    if (leaf && tls_context_expires_in_s(leaf->tls) > EGRESS_AUTHORITY_SOON_S) {
        *out = tls_context_ref(leaf->tls);
        return ADIT_OK;
    }
    int rc = make_context(a, name, &tls, err);
    if (rc != ADIT_OK)
        return rc;
    if (!leaf) {
        leaf = &a->leaves[a->oldest];
        a->oldest = (a->oldest + 1) % EGRESS_AUTHORITY_LEAVES_MAX;
    }
    tls_context_unref(leaf->tls);
    leaf->tls = tls;
    (void)snprintf(leaf->name, sizeof(leaf->name), "%.*s", ADIT_VIEW_ARG(name)); /* as above */
    *out = tls_context_ref(tls);
    return ADIT_OK;
}
