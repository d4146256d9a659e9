/* SPDX-License-Identifier: Apache-2.0 */
/* What tls_context.c (certificate, rules) and tls.c (connections) share. */
#ifndef ADIT_NET_TLS_INT_H
#define ADIT_NET_TLS_INT_H

#include <stdatomic.h>

#include "net/tls.h"

#include <openssl/ssl.h>

struct tls_context {
    atomic_uint refs;
    SSL_CTX *ssl;
};

/* Make what all connections share; once done it does nothing. Errors: NO_MEMORY. */
ADIT_MUST_CHECK int tls_prepare(void);
/* The oldest error that OpenSSL has queued, as text; never NULL. Empties the queue. */
const char *tls_error_text(void);

#endif
