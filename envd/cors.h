/* SPDX-License-Identifier: Apache-2.0 */
/* What browsers ask before and read after a call from a page (CORS), for every port of envd. */
#ifndef ENVD_CORS_H
#define ENVD_CORS_H

#include "net/http_server.h"

bool cors_is_preflight(const struct http_head *head);
/* Ends the exchange. */
void cors_answer_preflight(struct http_exchange *x, const struct http_head *head);
/* Put the headers of an answer. Errors: as http_exchange_header(). */
ADIT_MUST_CHECK int cors_put(struct http_exchange *x, const struct http_head *head);

#endif
