/* SPDX-License-Identifier: Apache-2.0 */
/* The header rules, for http_msg.c. The look-up functions are in http_msg.h. */
#ifndef ADIT_NET_HTTP_HEAD_INT_H
#define ADIT_NET_HTTP_HEAD_INT_H

#include "net/http_msg.h"

/*
 * Apply the rules to a head with start line and headers filled in; set content_length, chunked,
 * keep_alive, upgrade, expect_continue and what belongs to them. Errors: BAD_INPUT, LIMIT,
 * UNIMPLEMENTED.
 */
ADIT_MUST_CHECK int http_head_check(struct http_head *h, struct adit_err *err);

#endif
