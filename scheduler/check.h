/* SPDX-License-Identifier: Apache-2.0 */
/* Limits of what brokers may send, field by field. All errors are BAD_INPUT and name the field. */
#ifndef SCHEDULER_CHECK_H
#define SCHEDULER_CHECK_H

#include "base/err.h"
#include "base/view.h"
#include "scheduler.pb-c.h"

#define CHECK_ID_MAX 64
#define CHECK_TEXT_MAX 256
#define CHECK_KEY_NAME_MAX 128
#define CHECK_PATH_MAX 4096
#define CHECK_CMD_MAX (16 * 1024)
#define CHECK_CPUS_MAX 65536u
#define CHECK_MEBIBYTES_MAX (UINT64_C(1) << 32)
#define CHECK_NODE_SANDBOXES_MAX 8192
#define CHECK_NODE_TEMPLATES_MAX 4096
#define CHECK_ISOLATIONS_MAX 8

/* Sandbox and template ids: 1 to CHECK_ID_MAX of [a-z0-9]. */
ADIT_MUST_CHECK int check_id(const char *field, const char *text, struct adit_err *err);
/* Names that a program chose (teams, nodes, incarnations, builds, keys): 1 to CHECK_ID_MAX of
 * [A-Za-z0-9._-]. */
ADIT_MUST_CHECK int check_name(const char *field, const char *text, struct adit_err *err);
/* UTF-8 without control characters, at most @max bytes; may be empty. */
ADIT_MUST_CHECK int check_text(const char *field, const char *text, size_t max,
                               struct adit_err *err);

ADIT_MUST_CHECK int check_node(const Scheduler__Node *n, struct adit_err *err);
ADIT_MUST_CHECK int check_running(const Scheduler__RunningSandbox *s, struct adit_err *err);
ADIT_MUST_CHECK int check_template(const Scheduler__Template *t, struct adit_err *err);

#endif
