/* SPDX-License-Identifier: Apache-2.0 */
/* Guest port 49999: the code-interpreter API. */
#ifndef ENVD_KERNEL_SERVICE_H
#define ENVD_KERNEL_SERVICE_H

#include "envd/envd.h"
#include "envd/kernel/kernel_context.h"

/* Contexts at once; beyond it none is made. */
#define KERNEL_SERVICE_CONTEXTS_MAX 64

/* Errors: NO_MEMORY. */
ADIT_MUST_CHECK int kernel_service_new(struct envd *e, struct kernel_service **out,
                                       struct adit_err *err);
/* Kill all kernels and free; no exchange may be running. */
void kernel_service_free(struct kernel_service *s);

/* For http_server_conf.on_request; the server's owner is struct envd. */
void kernel_service_on_request(struct http_exchange *x, const struct http_head *head);

#endif
