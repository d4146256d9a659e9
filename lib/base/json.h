/* SPDX-License-Identifier: Apache-2.0 */
/* JSON text as jansson documents, also when memory runs out. */
#ifndef ADIT_BASE_JSON_H
#define ADIT_BASE_JSON_H

#include <jansson.h>

#include "base/view.h"

/*
 * json_loadb() that bears a failing malloc: jansson 2.14 ignores that the buffer of a token did not
 * grow, and then reads and writes behind it. @flags and @where: as there; @where may be NULL.
 * Return: a new reference, or NULL. Thread-safe.
 */
ADIT_MUST_CHECK json_t *adit_json_load(struct adit_view text, size_t flags, json_error_t *where);

#endif
