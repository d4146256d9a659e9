/* SPDX-License-Identifier: Apache-2.0 */
/* Sandbox ids: made, checked, and taken from paths. */
#ifndef BROKER_SANDBOX_ID_H
#define BROKER_SANDBOX_ID_H

#include "base/view.h"

/* "i" and 20 characters of [a-z0-9]. */
#define SANDBOX_ID_LEN 21
/* Longest id taken from outside, with NUL; the same as EDGE_ID_CAP and VMM_ID_CAP. */
#define SANDBOX_ID_CAP 64
/* The constant that old clients join to the id. */
#define SANDBOX_ID_CLIENT "6532622b"

void sandbox_id_make(char out[SANDBOX_ID_CAP]);
/* [a-z0-9]+, shorter than SANDBOX_ID_CAP: fit for a path or a host label. */
bool sandbox_id_is_valid(struct adit_view id);
/* "ID" or "ID-anything" → ID. Errors: BAD_INPUT "Invalid sandbox ID" (also for a second "-"). */
ADIT_MUST_CHECK int sandbox_id_parse(struct adit_view text, char out[SANDBOX_ID_CAP],
                                     struct adit_err *err);

#endif
