/* SPDX-License-Identifier: Apache-2.0 */
/* The templates that are known: the working copy of what the store holds. */
#ifndef SCHEDULER_TEMPLATES_H
#define SCHEDULER_TEMPLATES_H

#include "base/map.h"
#include "scheduler.pb-c.h"

/* As KEYS_MAX: new ones are refused above it, what is committed is taken. */
#define TEMPLATES_MAX 4096
#define TEMPLATES_ALIASES_MAX 32

struct templates {
    struct adit_map by_id, by_alias;
};

void templates_init(struct templates *t);
void templates_fini(struct templates *t);

/* A change from the store. The message is taken in any case. An alias belongs to the template that
 * was put last. Errors: NO_MEMORY. */
ADIT_MUST_CHECK int templates_put(struct templates *t, Scheduler__Template *take_template,
                                  struct adit_err *err);
/* NULL when there is none. */
const Scheduler__Template *templates_by_id(const struct templates *t, const char *template_id);
const Scheduler__Template *templates_by_alias(const struct templates *t, const char *alias);
/* By a client's reference. Errors: BAD_INPUT, NOT_FOUND, in the contract's words. */
ADIT_MUST_CHECK int templates_resolve(const struct templates *t, struct adit_view ref,
                                      const Scheduler__Template **out, struct adit_err *err);
/* Start with *pos = 0; NULL at the end. */
const Scheduler__Template *templates_next(const struct templates *t, size_t *pos);
size_t templates_cnt(const struct templates *t);

#endif
