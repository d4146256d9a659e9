/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whom the host trusts.
 *
 * Theory of operation
 *
 * What: where requests in TLS get headers the broker is the server's client, and verifies it as the
 * programs of the host would. All is read at the start: later the broker opens no such files, so a
 * change of them needs a restart. Failure: without authorities no server is trusted, and those
 * requests fail.
 */
#include "broker/egress/egress_trust.h"

#include <stdlib.h>

#include "base/log.h"

/* Return: whether a file of the system's was taken. */
static bool trust_system(struct tls_context *c)
{
    const char *const files[] = {
        getenv("SSL_CERT_FILE"),
        "/etc/ssl/certs/ca-certificates.crt", /* Debian, Alpine, Arch */
        "/etc/pki/tls/certs/ca-bundle.crt",   /* Fedora and its kin */
        "/etc/ssl/ca-bundle.pem",             /* SUSE */
        "/etc/ssl/cert.pem",
    };
    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++)
        if (files[i] && files[i][0] && tls_context_trust(c, files[i], NULL) == ADIT_OK)
            return true;
    return false;
}

int egress_trust_load(const char *extra_file, struct tls_context **out, struct adit_err *err)
{
    struct tls_context *c;
    int rc = tls_context_new_client(&c, err);
    if (rc != ADIT_OK)
        return rc;
    if (!trust_system(c))
        adit_log(ADIT_LOG_WARN, "no_certificate_authorities",
                 LOG_S("effect", "rules for headers do not work over https"));
    if (extra_file[0])
        rc = tls_context_trust(c, extra_file, err);
    if (rc == ADIT_OK)
        *out = c;
    else
        tls_context_unref(c);
    return rc;
}
