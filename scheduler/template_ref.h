/* SPDX-License-Identifier: Apache-2.0 */
/* What a client calls a template: id, alias or namespace/alias, each with an optional :tag. No I/O.
 */
#ifndef SCHEDULER_TEMPLATE_REF_H
#define SCHEDULER_TEMPLATE_REF_H

#include "base/view.h"

/* Of an alias, a namespace and a tag. */
#define TEMPLATE_REF_PART_MAX 128
#define TEMPLATE_REF_NAME_CAP (2 * TEMPLATE_REF_PART_MAX + 2)
#define TEMPLATE_REF_DEFAULT_TAG "default"

/*
 * @name: "alias", "id" or "namespace/alias"
 * @tag:  as given, or "default"
 */
struct template_ref {
    char name[TEMPLATE_REF_NAME_CAP];
    char tag[TEMPLATE_REF_PART_MAX + 1];
};

/* Trimmed and lower-cased. Errors: BAD_INPUT ("Invalid template reference: …"). */
ADIT_MUST_CHECK int template_ref_parse(struct adit_view text, struct template_ref *out,
                                       struct adit_err *err);

#endif
