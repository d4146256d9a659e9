/* SPDX-License-Identifier: Apache-2.0 */
/* What a sandbox is told about itself and says about itself: /health, /init, /metrics, /envs. */
#ifndef ENVD_STATE_H
#define ENVD_STATE_H

#include "envd/envd.h"

/* Longest /init document. */
#define STATE_INIT_MAX (1024u * 1024)
/* The clock is set when it is further behind, or further ahead, than this. */
#define STATE_CLOCK_BEHIND_NS INT64_C(50000000)
#define STATE_CLOCK_AHEAD_NS INT64_C(5000000000)
/* Where programs in the sandbox find that it is one: files .E2B_SANDBOX, .E2B_SANDBOX_ID, … */
#define STATE_RUN_DIR "/run/e2b"

/*
 * At start: default user root, the variable E2B_SANDBOX and the file of that name, and what a
 * killed envd left. E2B_SANDBOX_ID and E2B_TEMPLATE_ID of envd's own environment are taken over.
 * Errors: NO_MEMORY.
 */
ADIT_MUST_CHECK int state_setup(struct envd *e, struct adit_err *err);
void state_fini(struct envd *e);

/*
 * Take an /init document. @shown: the token that came with it beside the document, or empty.
 * Errors: UNAUTHENTICATED (a token is set, and neither is it), BAD_INPUT, NO_MEMORY, those of files
 * (an authority cannot be added); nothing was changed then, but for files.
 */
ADIT_MUST_CHECK int state_apply(struct envd *e, struct adit_view json, struct adit_view shown,
                                struct adit_err *err);

/* Append the /metrics document. */
ADIT_MUST_CHECK int state_append_metrics(struct envd *e, struct adit_buf *out);

/* Handlers of the route table. */
void state_health(struct http_exchange *x, const struct http_head *head);
void state_init(struct http_exchange *x, const struct http_head *head);
void state_metrics(struct http_exchange *x, const struct http_head *head);
void state_envs(struct http_exchange *x, const struct http_head *head);

#endif
