/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Orders to a virtual machine monitor that has an HTTP API on a Unix socket: one after another,
 * until all were obeyed or one was not.
 */
#ifndef BROKER_VMM_VMM_API_H
#define BROKER_VMM_VMM_API_H

#include <jansson.h>

#include "net/net_loop.h"

#define VMM_API_STEPS_MAX 8
/* Of one document to it; of an answer, the rest is not read. */
#define VMM_API_BODY_CAP 16384u
#define VMM_API_ANSWER_CAP 4096u

/* @body: owned; NULL: none */
struct vmm_api_step {
    char path[32];
    json_t *body;
};

/* What is put, in order. */
struct vmm_api_plan {
    struct vmm_api_step steps[VMM_API_STEPS_MAX];
    size_t cnt;
};

/* @err: NULL when all was obeyed; else what the monitor said to the step that it refused. */
typedef void (*vmm_api_done_fn)(void *user, const struct adit_err *err);

struct vmm_api;

/* Append PUT @path with @take_body, which is released on failure as well; one that is NULL for want
 * of memory is told by @has_body. Errors: NO_MEMORY, LIMIT. */
ADIT_MUST_CHECK int vmm_api_add(struct vmm_api_plan *plan, const char *path, json_t *take_body,
                                bool has_body, struct adit_err *err);
void vmm_api_plan_fini(struct vmm_api_plan *plan);

/*
 * Send them to the socket @path within @ms. @take_plan is taken over, also on failure. Calls back
 * once, never before it returns. Errors: NO_MEMORY, BAD_INPUT (path); then nothing is called.
 */
ADIT_MUST_CHECK int vmm_api_start(struct net_loop *loop, const char *path,
                                  struct vmm_api_plan *take_plan, uint64_t ms,
                                  vmm_api_done_fn on_done, void *user, struct vmm_api **out,
                                  struct adit_err *err);
/* Give up before it called back. */
void vmm_api_cancel(struct vmm_api *a);

#endif
