/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Debug mode's sandbox.
 *
 * Theory of operation
 *
 *   LOOKING ── none there ──> MAKING ──> LOOKING
 *      ^ every DEBUG_SANDBOX_LOOK_MS └──── failed: logged, DEBUG_SANDBOX_RETRY_MS ────^
 *
 * What: a client of creation and node like any other, with a team of its own and no key. A look
 * finds the team's running sandbox (also that of an earlier broker), tells the edge when it is
 * another than before, and renews its time when half of it is gone.
 *
 * Failure: what failed is logged and tried again; meanwhile debug clients are told to come back.
 */
#include "broker/debug_sandbox.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "broker/creation.h"
#include "broker/sandbox_id.h"

/*
 * @shown_id:   what the edge was told, "" for nothing
 * @claimed_id: of the creation that runs
 */
struct debug_sandbox {
    struct broker *broker;
    struct net_deadline look;
    bool is_started, is_stopped;
    char shown_id[SANDBOX_ID_CAP], claimed_id[SANDBOX_ID_CAP];
};

bool debug_sandbox_may_listen(const char *address)
{
    return strncmp(address, "127.", 4) == 0 || strncmp(address, "[::1]:", 6) == 0 ||
           strncmp(address, "localhost:", 10) == 0;
}

static void again(struct debug_sandbox *d, uint64_t ms)
{
    if (!d->is_stopped)
        net_deadline_arm(&d->look, ms);
}

static void failed(struct debug_sandbox *d, const struct adit_err *err)
{
    if (!d->is_stopped)
        adit_log(ADIT_LOG_ERROR, "debug_sandbox_not_made", LOG_ERR(err));
    again(d, DEBUG_SANDBOX_RETRY_MS);
}

/* Tell the edge, once. */
static void show(struct debug_sandbox *d, const char *sandbox_id)
{
    struct adit_err err = ADIT_ERR_INIT;

    if (strcmp(d->shown_id, sandbox_id) == 0)
        return;
    if (edge_set_debug_sandbox(d->broker->edge, sandbox_id, &err)) {
        adit_log(ADIT_LOG_ERROR, "debug_sandbox_not_shown", LOG_ERR(&err));
        return; /* the next look tries again */
    }
    (void)snprintf(d->shown_id, sizeof(d->shown_id), "%s", sandbox_id); /* ids fit */
    if (sandbox_id[0])
        adit_log(ADIT_LOG_WARN, "debug_sandbox", LOG_S("sandbox", sandbox_id),
                 LOG_S("access", "everybody on this machine, without a key"));
}

/* ---- making it ---- */

static void on_made(void *user, const struct creation_result *r)
{
    struct debug_sandbox *d = user;

    if (r->fault)
        failed(d, r->err);
    else
        again(d, 0); /* the next look finds it */
}

static void make(struct debug_sandbox *d)
{
    struct adit_err err = ADIT_ERR_INIT;
    struct creation_spec spec = {
        .template_ref = DEBUG_SANDBOX_TEMPLATE,
        .sandbox_id = d->claimed_id,
        .wanted = {.team_id = DEBUG_SANDBOX_TEAM,
                   .key_id = "",
                   .timeout_ms = DEBUG_SANDBOX_LIFE_MS,
                   .mask_host = ""},
    };

    d->claimed_id[0] = '\0';
    if (creation_start(d->broker, &spec, on_made, d, &err))
        failed(d, &err);
}

/* ---- looking after it ---- */

static void on_renewed(void *user, const struct adit_err *err)
{
    (void)user;
    (void)err; /* the next look tries again */
}

static void on_look(struct net_deadline *due)
{
    struct debug_sandbox *d = ADIT_CONTAINER_OF(due, struct debug_sandbox, look);
    size_t pos = 0;
    struct sandbox *s = node_next(d->broker->node, DEBUG_SANDBOX_TEAM, &pos);

    if (!s) {
        show(d, "");
        make(d);
        return;
    }
    show(d, node_record(s)->sandbox_id);
    if (node_remaining_ms(s) < DEBUG_SANDBOX_LIFE_MS / 2 &&
        node_set_timeout(s, DEBUG_SANDBOX_LIFE_MS, on_renewed, d))
        adit_log(ADIT_LOG_WARN, "debug_sandbox_not_renewed");
    again(d, DEBUG_SANDBOX_LOOK_MS);
}

int debug_sandbox_new(struct broker *b, struct debug_sandbox **out, struct adit_err *err)
{
    struct debug_sandbox *d = calloc(1, sizeof(*d));

    if (!d)
        return adit_err_set(err, ADIT_ERR_NO_MEMORY, "no memory for debug mode");
    d->broker = b;
    net_deadline_init(&d->look, &b->net, on_look);
    *out = d;
    return 0;
}

void debug_sandbox_start(struct debug_sandbox *d)
{
    if (d->is_started || d->is_stopped)
        return;
    d->is_started = true;
    again(d, 0);
}

void debug_sandbox_stop(struct debug_sandbox *d)
{
    if (!d)
        return;
    d->is_stopped = true;
    net_deadline_cancel(&d->look);
}

void debug_sandbox_free(struct debug_sandbox *d)
{
    free(d);
}
