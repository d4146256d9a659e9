/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The OCI runtime configuration (config.json) of a sandbox. No I/O.
 */
#ifndef BROKER_LAUNCHER_OCI_CONFIG_H
#define BROKER_LAUNCHER_OCI_CONFIG_H

#include "base/buf.h"

#define OCI_CONFIG_CAP (128u * 1024)
/* The descriptor number on which the entry process finds its listening socket. */
#define OCI_CONFIG_CHANNEL_FD 3
/* Where the agent is inside, whatever the image has there. */
#define OCI_CONFIG_ENVD "/usr/bin/envd"
#define OCI_CONFIG_HOSTNAME "e2b"

/*
 * @envd_source: the agent's file, as the runtime sees it
 * @seccomp_bpf: oci_seccomp_bpf(), for crun, or NULL; other runtimes take the list that is always
 * written
 * @userns:      path of the user namespace to enter, or NULL: the runtime makes one
 * @id_base, @id_cnt: the host's user and group ids that 0 … id_cnt - 1 inside stand for
 * @shm_bytes:   size of /dev/shm
 * @nofile:      soft and hard limit of descriptors
 */
struct oci_config {
    const char *envd_source;
    const char *seccomp_bpf;
    const char *userns;
    uint32_t id_base, id_cnt;
    uint64_t shm_bytes, nofile;
};

/* Append the document to @out. Errors: NO_MEMORY, LIMIT. */
ADIT_MUST_CHECK int oci_config_write(const struct oci_config *c, struct adit_buf *out,
                                     struct adit_err *err);

#endif
