/* SPDX-License-Identifier: Apache-2.0 */
/* "broker dev-cert": a certificate for a try, from an authority of one's own. */
#ifndef BROKER_DEV_CERT_H
#define BROKER_DEV_CERT_H

#include "broker/broker_conf.h"

/* The files in the directory. Keys are readable by their owner alone. */
#define DEV_CERT_CA "ca.crt"
#define DEV_CERT_CA_KEY "ca.key"
#define DEV_CERT_CERT "tls.crt"
#define DEV_CERT_KEY "tls.key"
/* Below the 825 days that clients accept at most. */
#define DEV_CERT_DAYS 820
#define DEV_CERT_CA_DAYS 3650

/*
 * Make a certificate for @domain, every name right under it, and this machine (localhost,
 * 127.0.0.1, ::1) in the directory @dir, which is made when missing. The authority in @dir is used
 * again, or made. Errors: BAD_INPUT for a domain that is none or an authority that is incomplete;
 * those of files.
 */
ADIT_MUST_CHECK int dev_cert_make(const char *domain, const char *dir, struct adit_err *err);
/* The command: dev_cert_make() for the configured domain in @dir ("": tls in the state directory),
 * and what to do with the files on standard output. */
ADIT_MUST_CHECK int dev_cert_main(const struct broker_conf *c, const char *dir,
                                  struct adit_err *err);

#endif
