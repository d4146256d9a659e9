/* SPDX-License-Identifier: Apache-2.0 */
/* Every HTTP route of envd. */
#ifndef ENVD_ROUTES_H
#define ENVD_ROUTES_H

#include "envd/envd.h"

/* For http_server_conf.on_request; the server's owner is struct envd. */
void routes_on_request(struct http_exchange *x, const struct http_head *head);

#endif
