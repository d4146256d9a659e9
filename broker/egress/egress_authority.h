/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A sandbox's own certificate authority: it signs what the broker shows the sandbox's programs in
 * place of a server whose requests get headers. Its key never leaves the broker.
 */
#ifndef BROKER_EGRESS_EGRESS_AUTHORITY_H
#define BROKER_EGRESS_EGRESS_AUTHORITY_H

#include "net/tls.h"

/* Room for key and certificate as text, with the NUL. */
#define EGRESS_AUTHORITY_CAP 4096
/* Its certificate is good for a sandbox's life, however long that is paused. */
#define EGRESS_AUTHORITY_DAYS 3650
/* Certificates of servers, and how many are kept; the oldest gives way. */
#define EGRESS_AUTHORITY_LEAF_DAYS 90
#define EGRESS_AUTHORITY_LEAVES_MAX 32
/* One that ends sooner is made anew. */
#define EGRESS_AUTHORITY_SOON_S 86400

struct egress_authority;

/* A new one: PEM of its key, then of its certificate. Errors: IO with OpenSSL's reason, LIMIT,
 * NO_MEMORY. */
ADIT_MUST_CHECK int egress_authority_make(char out[EGRESS_AUTHORITY_CAP], struct adit_err *err);
/* The certificate in such a text: what a guest is given to trust. */
const char *egress_authority_certificate(const char *pem);

/* Errors: BAD_INPUT, IO, NO_MEMORY. */
ADIT_MUST_CHECK int egress_authority_open(const char *pem, struct egress_authority **out,
                                          struct adit_err *err);
/* NULL is allowed. */
void egress_authority_free(struct egress_authority *a);
/* To speak as the server @name (egress_reply_is_name()); one reference is the caller's. Less than a
 * millisecond of work for a name that is new. Errors: IO, NO_MEMORY. */
ADIT_MUST_CHECK int egress_authority_context(struct egress_authority *a, struct adit_view name,
                                             struct tls_context **out, struct adit_err *err);

#endif
