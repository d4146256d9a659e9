/* SPDX-License-Identifier: Apache-2.0 */
/* The broker's figures for Prometheus, on a listener of their own. */
#ifndef BROKER_EXPOSITION_H
#define BROKER_EXPOSITION_H

#include "broker/broker.h"
#include "broker/launcher/launcher_client.h"

struct exposition;

/* Serve on conf.metrics_listen; *out is NULL when that is empty. Errors: of listener_socket(),
 * NO_MEMORY. */
ADIT_MUST_CHECK int exposition_open(struct broker *b, const struct launcher_client *launcher,
                                    struct exposition **out, struct adit_err *err);
/* After the edge was closed; the loop runs on for a moment. NULL is fine. */
void exposition_close(struct exposition *e);
/* After the loop has ended. NULL is fine. */
void exposition_free(struct exposition *e);

#endif
