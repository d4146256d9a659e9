/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests read on their way out.
 *
 * Theory of operation
 *
 * What:      bytes between a join and egress_inject.c. What waits for a reply (a WebSocket that was
 * asked for) is kept, and the guest is not read until then. Ownership: its own. Limits: what was
 * read at once, NET_SCRATCH_CAP. Failure: of any kind resets the connection.
 */
#include "broker/egress/egress_filter.h"

#include <stdlib.h>

struct egress_filter {
    struct egress_inject *inject;
    struct adit_buf kept;
};

struct egress_filter *egress_filter_new(struct egress_rules *rules, egress_inject_judge_fn judge,
                                        void *owner)
{
    struct egress_filter *f = calloc(1, sizeof *f);
    if (!f || !(f->inject = egress_inject_new(rules, judge, owner))) {
        free(f);
        return NULL;
    }
    /* what was peeked at, and one read */
    adit_buf_init(&f->kept, 2 * (size_t)NET_SCRATCH_CAP);
    return f;
}

void egress_filter_free(struct egress_filter *f)
{
    if (!f)
        return;
    egress_inject_free(f->inject);
    adit_buf_fini(&f->kept);
    free(f);
}

void egress_filter_set_rules(struct egress_filter *f, struct egress_rules *rules)
{
    egress_inject_set_rules(f->inject, rules);
}

static int feed(struct egress_filter *f, struct join *j, int guest, struct adit_view *in)
{
    struct adit_buf out;
    int rc = ADIT_OK;
    adit_buf_init(&out, EGRESS_INJECT_OUT_MAX);
    do {
        rc = egress_inject_feed(f->inject, in, &out, NULL);
        struct adit_view bytes = adit_buf_view(&out);
        if (rc == ADIT_OK && bytes.len > 0)
            rc = join_write(j, !guest, bytes);
        adit_buf_clear(&out);
    } while (rc == ADIT_OK && in->len > 0 && !egress_inject_is_waiting(f->inject));
    adit_buf_fini(&out);
    return rc;
}

bool egress_filter_request(struct egress_filter *f, struct join *j, int guest,
                           struct adit_view bytes)
{
    if (feed(f, j, guest, &bytes) != ADIT_OK)
        return false;
    if (egress_inject_is_waiting(f->inject))
        join_hold(j, guest, true);
    return bytes.len == 0 || adit_buf_append_view(&f->kept, bytes) == ADIT_OK;
}

bool egress_filter_reply(struct egress_filter *f, struct join *j, int guest, struct adit_view bytes)
{
    bool was_waiting = egress_inject_is_waiting(f->inject);
    egress_inject_see_reply(f->inject, bytes);
    if (join_write(j, guest, bytes) != ADIT_OK)
        return false;
    if (!was_waiting || egress_inject_is_waiting(f->inject))
        return true;
    struct adit_buf kept = f->kept;
    adit_buf_init(&f->kept, kept.max);
    join_hold(j, guest, false);
    bool is_fine = egress_filter_request(f, j, guest, adit_buf_view(&kept));
    adit_buf_fini(&kept);
    return is_fine;
}

bool egress_filter_is_waiting(const struct egress_filter *f)
{
    return egress_inject_is_waiting(f->inject);
}
