/* SPDX-License-Identifier: Apache-2.0 */
/* The sandbox's store of certificate authorities: one more is trusted by its programs. */
#ifndef ENVD_CA_STORE_H
#define ENVD_CA_STORE_H

#include "base/buf.h"

/* Longest certificate that is taken, and longest bundle that it is added to. */
#define CA_STORE_PEM_MAX (64u * 1024)
#define CA_STORE_BUNDLE_MAX (4u * 1024 * 1024)
/* Where update-ca-certificates finds it, too. */
#define CA_STORE_FILE "/usr/local/share/ca-certificates/adit-sandbox.crt"
/* Under this name OpenSSL looks for an authority with the subject that the host gives all of them
 * ("openssl x509 -subject_hash"). */
#define CA_STORE_HASH "4326fb8c"

/*
 * Add @pem to the stores below @root (path; "": the sandbox's own root). @bundle: the file of all
 * authorities, which holds it now; "" where there is none. Twice is the same as once. Reads and
 * writes some hundred kilobytes, without waiting for the disk. Errors: BAD_INPUT (no certificate),
 * those of files, when not even CA_STORE_FILE can be written.
 */
ADIT_MUST_CHECK int ca_store_add(const char *root, struct adit_view pem, const char **bundle,
                                 struct adit_err *err);

#endif
