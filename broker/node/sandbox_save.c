/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Saving the record of a sandbox, and taking back what could not be saved.
 *
 * Theory of operation
 *
 * What: a change is made in memory, so that changes that come together see one another, and saved.
 * Each save remembers what clients may change as it stood then (struct sandbox_options). When it is
 * on disk, that is what the sandbox falls back to; when a save fails and no later one is under way,
 * the sandbox falls back: what clients are told, and when it ends, is what a next broker would
 * read. A change that fails with a later one under way shares the fate of that one, whose text has
 * it too.
 * Ownership: a save frees itself in its callback; its sandbox outlives that.
 */
#include <stdlib.h>

#include "base/log.h"
#include "broker/node/sandbox.h"

struct save {
    struct sandbox *s; /* borrowed */
    struct sandbox_options options;
    record_file_fn on_done;
    void *user;
};

static struct sandbox_options options_of(const struct sandbox *s)
{
    const struct record *r = &s->record;
    return (struct sandbox_options){.end_ns = r->end_ns,
                                    .end_mono_ns = s->end_mono_ns,
                                    .internet = r->internet,
                                    .network = json_incref(r->network)};
}

static void settle(struct sandbox *s, const struct sandbox_options *take_options)
{
    json_decref(s->settled.network);
    s->settled = *take_options;
}

void sandbox_settle(struct sandbox *s)
{
    struct sandbox_options now = options_of(s);
    settle(s, &now);
}

static void fall_back(struct sandbox *s, const struct adit_err *err)
{
    const struct sandbox_options *to = &s->settled;
    bool is_other_end = s->end_mono_ns != to->end_mono_ns;
    adit_log(ADIT_LOG_WARN, "sandbox_change_taken_back", LOG_S("sandbox", s->record.sandbox_id),
             LOG_ERR(err));
    json_decref(s->record.network);
    s->record.network = json_incref(to->network);
    s->record.internet = to->internet;
    s->record.end_ns = to->end_ns;
    s->end_mono_ns = to->end_mono_ns;
    if (is_other_end) /* an ending sandbox needs its timer for other things */
        net_deadline_arm(&s->end, node_remaining_ms(s));
}

static void on_saved(void *user, const struct adit_err *err)
{
    struct save save = *(struct save *)user;
    struct sandbox *s = save.s;
    free(user);
    s->save_cnt--;
    if (!err) {
        bool has_other_rules = s->settled.network != save.options.network ||
                               s->settled.internet != save.options.internet;
        settle(s, &save.options);
        if (has_other_rules)
            sandbox_update_egress(s);
    } else {
        json_decref(save.options.network);
        if (s->save_cnt == 0 && s->phase == SANDBOX_PHASE_RUNNING && !s->is_ending)
            fall_back(s, err);
    }
    if (save.on_done)
        save.on_done(save.user, err);
}

enum way { SYNCED, LAZY, PREPARED };

static int start(struct save *save, enum way way)
{
    struct sandbox *s = save->s;
    struct adit_buf text;
    adit_buf_init(&text, RECORD_CAP);
    memcpy(s->record.boot_id, s->node->boot_id, sizeof(s->record.boot_id));
    s->record.started_mono_ns = (int64_t)s->started_mono_ns;
    s->record.end_mono_ns = (int64_t)s->end_mono_ns;
    int rc = record_encode(&s->record, &text);
    if (rc == 0 && way == PREPARED)
        rc = record_file_prepare(&s->file, adit_buf_view(&text), on_saved, save);
    else if (rc == 0)
        rc = record_file_save(&s->file, adit_buf_view(&text), way == LAZY, on_saved, save);
    adit_buf_fini(&text);
    return rc;
}

static int save_so(struct sandbox *s, enum way way, record_file_fn on_done, void *user)
{
    struct save *save = malloc(sizeof(*save));
    if (!save)
        return ADIT_ERR_NO_MEMORY;
    *save = (struct save){s, options_of(s), on_done, user};
    int rc = start(save, way);
    if (rc == 0) {
        s->save_cnt++;
        return 0;
    }
    json_decref(save->options.network);
    free(save);
    return rc;
}

int sandbox_save(struct sandbox *s, bool is_lazy, record_file_fn on_done, void *user)
{
    return save_so(s, is_lazy ? LAZY : SYNCED, on_done, user);
}

int sandbox_save_warm(struct sandbox *s, record_file_fn on_done, void *user)
{
    return save_so(s, PREPARED, on_done, user);
}
