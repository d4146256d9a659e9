/* SPDX-License-Identifier: Apache-2.0 */
/* Answers of envd's REST endpoints. */
#ifndef ENVD_REST_H
#define ENVD_REST_H

#include "net/http_server.h"

/* {"code":<status>,"message":"<text>"} and a newline, with the headers of the contract. Ends the
 * exchange. */
void rest_reply_error(struct http_exchange *x, unsigned status, const char *message);
/* The same with the status of @err's code. */
void rest_reply_err(struct http_exchange *x, const struct adit_err *err);
/* A JSON document. Ends the exchange. */
void rest_reply_json(struct http_exchange *x, unsigned status, struct adit_view body);

#endif
