/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Teams on record.
 *
 * Theory of operation
 *
 * What: a team is a word that keys and sandboxes carry; nobody has to make one. On record are the
 * default team, whose id is a UUID made at the first start, and those that were given limits.
 * Ownership: records belong to by_id; default_id points into one.
 */
#include "scheduler/teams.h"

#include "scheduler/message.h"

void teams_init(struct teams *t)
{
    adit_map_init(&t->by_id);
    t->default_id = NULL;
}

void teams_fini(struct teams *t)
{
    size_t pos = 0;
    struct adit_view id;
    void *record;
    while (adit_map_next(&t->by_id, &pos, &id, &record))
        message_free(record);
    adit_map_fini(&t->by_id);
}

int teams_put(struct teams *t, Scheduler__Store__TeamRecord *take_record, struct adit_err *err)
{
    struct adit_view id = adit_view_str(take_record->team_id);
    Scheduler__Store__TeamRecord *old = adit_map_get(&t->by_id, id);
    if (!id.len || adit_map_put(&t->by_id, id, take_record)) {
        int code = id.len ? ADIT_ERR_NO_MEMORY : ADIT_ERR_BAD_INPUT;
        message_free(take_record);
        return adit_err_set(err, code, "the record is not whole, or no memory");
    }
    if (strcmp(take_record->name, TEAMS_DEFAULT_NAME) == 0)
        t->default_id = take_record->team_id;
    message_free(old);
    return 0;
}

const Scheduler__Store__TeamRecord *teams_find(const struct teams *t, const char *team_id)
{
    return adit_map_get(&t->by_id, adit_view_str(team_id));
}

const Scheduler__Store__TeamRecord *teams_next(const struct teams *t, size_t *pos)
{
    struct adit_view id;
    void *record;
    return adit_map_next(&t->by_id, pos, &id, &record) ? record : NULL;
}

size_t teams_cnt(const struct teams *t)
{
    return t->by_id.len;
}
