/* SPDX-License-Identifier: Apache-2.0 */
/* Whom the host trusts to say who a server is. */
#ifndef BROKER_EGRESS_EGRESS_TRUST_H
#define BROKER_EGRESS_EGRESS_TRUST_H

#include "net/tls.h"

/*
 * The authorities of the system (SSL_CERT_FILE, else where distributions keep them) and those of
 * @extra_file ("": none). Reads files, so before the broker is confined. A system without any is
 * told of in the log. Errors: NO_MEMORY; of @extra_file as tls_context_trust().
 */
ADIT_MUST_CHECK int egress_trust_load(const char *extra_file, struct tls_context **out,
                                      struct adit_err *err);

#endif
