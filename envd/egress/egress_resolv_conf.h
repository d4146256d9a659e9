/* SPDX-License-Identifier: Apache-2.0 */
/* The file by which programs find their resolver: /etc/resolv.conf. */
#ifndef ENVD_EGRESS_EGRESS_RESOLV_CONF_H
#define ENVD_EGRESS_EGRESS_RESOLV_CONF_H

#include "base/buf.h"

/* A longer file is replaced, not extended. */
#define EGRESS_RESOLV_CONF_MAX (16u * 1024)

/*
 * Does it name a server that leads to the stub? The stub's own address does, and with redirection
 * any outside; another address of the loopback does not, nor does a file that names none, for which
 * the C library takes 127.0.0.1.
 */
bool egress_resolv_conf_is_usable(struct adit_view text, bool is_redirected);
/* Write a file that names the stub in place of one that is not usable; its other lines (search,
 * options) are kept. A link is replaced, not followed. Errors: of the file system, NO_MEMORY. */
ADIT_MUST_CHECK int egress_resolv_conf_mend(const char *path, bool is_redirected,
                                            struct adit_err *err);

#endif
