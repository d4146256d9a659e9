/* SPDX-License-Identifier: Apache-2.0 */
/* The teams that have limits of their own, and the default one: the working copy of the store's. */
#ifndef SCHEDULER_TEAMS_H
#define SCHEDULER_TEAMS_H

#include "base/map.h"
#include "scheduler_store.pb-c.h"

/* As KEYS_MAX: new ones are refused above it, what is committed is taken. */
#define TEAMS_MAX 4096
/* The name, not the id, of the team that keys belong to that name none. */
#define TEAMS_DEFAULT_NAME "default"

/* @default_id: borrowed from its record; NULL until there is one */
struct teams {
    struct adit_map by_id;
    const char *default_id;
};

void teams_init(struct teams *t);
void teams_fini(struct teams *t);
/* A change from the store. The message is taken in any case. Errors: NO_MEMORY, BAD_INPUT (a record
 * without its parts). */
ADIT_MUST_CHECK int teams_put(struct teams *t, Scheduler__Store__TeamRecord *take_record,
                              struct adit_err *err);
/* NULL when the team has no record, and so no limits of its own. */
const Scheduler__Store__TeamRecord *teams_find(const struct teams *t, const char *team_id);
/* Start with *pos = 0; NULL at the end. */
const Scheduler__Store__TeamRecord *teams_next(const struct teams *t, size_t *pos);
size_t teams_cnt(const struct teams *t);

#endif
