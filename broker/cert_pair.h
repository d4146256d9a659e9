/* SPDX-License-Identifier: Apache-2.0 */
/* A P-256 key with its X.509 certificate: made, signed, written and read as PEM. */
#ifndef BROKER_CERT_PAIR_H
#define BROKER_CERT_PAIR_H

#include <openssl/x509v3.h>

#include "base/buf.h"

/* Largest PEM text of one. */
#define CERT_PAIR_CAP (64u * 1024)

struct cert_pair {
    EVP_PKEY *key;
    X509 *cert;
};

/* @value as in OpenSSL's configuration files: nothing of a stranger's may be in it unchecked. */
struct cert_extension {
    int nid;
    const char *value; /* NULL ends a list */
};

/*
 * @issuer:    signs it; NULL: it signs itself
 * @key:       borrowed; NULL: a new one
 * @good_days: from now on; an hour before, too, as clocks of clients may be late
 */
struct cert_pair_conf {
    const struct cert_pair *issuer;
    EVP_PKEY *key;
    const char *organization, *common_name;
    long good_days;
    const struct cert_extension *extensions;
};

/* Extensions of an authority that signs no further ones. */
extern const struct cert_extension cert_pair_authority[];

/* Errors: IO with OpenSSL's reason; there is nothing to free then. */
ADIT_MUST_CHECK int cert_pair_make(const struct cert_pair_conf *conf, struct cert_pair *out,
                                   struct adit_err *err);
void cert_pair_fini(struct cert_pair *p);
/* Append its certificate, or its key, without a passphrase. Errors: IO, NO_MEMORY, LIMIT. */
ADIT_MUST_CHECK int cert_pair_write_cert(const struct cert_pair *p, struct adit_buf *out,
                                         struct adit_err *err);
ADIT_MUST_CHECK int cert_pair_write_key(const struct cert_pair *p, struct adit_buf *out,
                                        struct adit_err *err);
/* Both texts may be one. Errors: BAD_INPUT (no authority with its key), NO_MEMORY. */
ADIT_MUST_CHECK int cert_pair_read_authority(struct adit_view cert, struct adit_view key,
                                             struct cert_pair *out, struct adit_err *err);
/* Free a buffer that held a key. */
void cert_pair_wipe(struct adit_buf *b);

#endif
