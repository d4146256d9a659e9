/* SPDX-License-Identifier: Apache-2.0 */
/* How much teams and keys have, and how fast keys make more. No I/O, no clock. */
#ifndef SCHEDULER_QUOTA_H
#define SCHEDULER_QUOTA_H

#include "base/limit.h"
#include "base/map.h"
#include "scheduler.pb-c.h"

/* @teams, @keys: id → struct use */
struct quota {
    struct adit_map teams, keys;
};

void quota_init(struct quota *q);
void quota_fini(struct quota *q);

/* Count a sandbox, and no longer. Errors: NO_MEMORY; then nothing is counted. */
ADIT_MUST_CHECK int quota_add(struct quota *q, const Scheduler__RunningSandbox *s);
void quota_sub(struct quota *q, const Scheduler__RunningSandbox *s);
size_t quota_team_cnt(const struct quota *q, const char *team_id);
size_t quota_key_cnt(const struct quota *q, const char *key_id);
/* The teams that have sandboxes: start with *pos = 0; false at the end. */
bool quota_next_team(const struct quota *q, size_t *pos, struct adit_view *team_id, size_t *cnt);

/*
 * Take one create of a key. @rate 0: as many as it likes. Other figures than the last time begin
 * with a full bucket. *is_allowed false: too fast, a create is there again within a second.
 * Errors: NO_MEMORY.
 */
ADIT_MUST_CHECK int quota_take_create(struct quota *q, const char *key_id, uint32_t rate,
                                      uint32_t burst, uint64_t now_ns, bool *is_allowed);
/* The key is gone: so is its bucket. */
void quota_forget_key(struct quota *q, struct adit_view key_id);

/* @own where it says something, else @base. Either may be NULL. */
Scheduler__Limits quota_limits(const Scheduler__Limits *own, const Scheduler__Limits *base);

#endif
