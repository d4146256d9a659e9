/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which system calls a container may make: one table, in the two forms that runtimes take.
 */
#ifndef BROKER_LAUNCHER_OCI_SECCOMP_H
#define BROKER_LAUNCHER_OCI_SECCOMP_H

#include <jansson.h>

#include "base/buf.h"

/* Room for the compiled filter in base64. */
#define OCI_SECCOMP_BPF_CAP (64u * 1024)

/* The "seccomp" object of config.json; the caller's. Return: NULL without memory. */
json_t *oci_seccomp_json(void);
/* Append the compiled filter of this machine in base64. Errors: NO_MEMORY, LIMIT, IO. */
ADIT_MUST_CHECK int oci_seccomp_bpf(struct adit_buf *out, struct adit_err *err);

#endif
