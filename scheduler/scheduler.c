/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The scheduler: what its parts share, and its life.
 *
 * Theory of operation
 *
 * What: one loop. Records come from the store into the working copy (apply), brokers' calls come in
 * through the service, a sweep drops claims that were not confirmed. The store has a thread of its
 * own; nothing on the loop waits for a disk.
 *
 * States: SERVING ──scheduler_stop──> STOPPING ──running calls answered, or SCHEDULER_DRAIN_MS──>
 * ENDED: the store commits what it was given, its callbacks come, the loop is empty.
 *
 * Restart: nodes are loaded with the records and count as just heard of, so that a scheduler that
 * was killed places again at once; a node that is gone is noticed after the usual missed
 * heartbeats. Failure: when the working copy cannot take what was committed (memory), it is of no
 * use: the scheduler ends, and whoever started it starts it anew.
 */
#include "scheduler/scheduler.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/rand.h"
#include "scheduler/figures.h"
#include "scheduler/message.h"
#include "scheduler/service.h"
#include "scheduler/store/group_commit.h"

#define HEADER_MS 10000
#define BODY_MS 60000
/* Longer than a broker keeps an idle connection. */
#define IDLE_MS 650000
#define PATH_CAP 4200
#define UNIX_PREFIX "unix:"

uint64_t scheduler_now_ms(void)
{
    return adit_clock_mono_ns() / 1000000;
}

/* ---- records ---- */

static const ProtobufCMessageDescriptor *record_type(enum store_table table)
{
    switch (table) {
    case STORE_TEAM:
        return &scheduler__store__team_record__descriptor;
    case STORE_KEY:
        return &scheduler__store__key_record__descriptor;
    case STORE_TEMPLATE:
        return &scheduler__template__descriptor;
    case STORE_NODE:
        return &scheduler__node__descriptor;
    case STORE_SANDBOX:
        return &scheduler__store__sandbox_record__descriptor;
    }
    return NULL;
}

static int put_record(struct scheduler *s, enum store_table table, void *take_message,
                      struct adit_err *err)
{
    switch (table) {
    case STORE_TEAM:
        return teams_put(&s->teams, take_message, err);
    case STORE_KEY:
        return keys_put(&s->keys, take_message, err);
    case STORE_TEMPLATE:
        return templates_put(&s->templates, take_message, err);
    case STORE_NODE:
        return registry_put_node(&s->registry, take_message, scheduler_now_ms(), err);
    case STORE_SANDBOX:
        return registry_put_sandbox(&s->registry, take_message, scheduler_now_ms(), err);
    }
    return ADIT_ERR_BUG;
}

/* Keys and sandboxes go; nothing else ever does. */
static void drop_record(struct scheduler *s, enum store_table table, struct adit_view id)
{
    if (table == STORE_SANDBOX)
        registry_drop_sandbox(&s->registry, id);
    if (table != STORE_KEY)
        return;
    keys_drop(&s->keys, id);
    quota_forget_key(&s->registry.quota, id);
}

static int apply(void *owner, const struct store_change *c, struct adit_err *err)
{
    struct scheduler *s = owner;
    const ProtobufCMessageDescriptor *type = record_type(c->table);
    void *message = NULL;

    if (!type)
        return adit_err_set(err, ADIT_ERR_BAD_INPUT, "no such table");
    if (!c->value.ptr) {
        drop_record(s, c->table, c->id);
        return 0;
    }
    int rc = message_unpack(type, c->value, &message, err);
    return rc ? rc : put_record(s, c->table, message, err);
}

static void on_broken(void *owner, const struct adit_err *err)
{
    struct scheduler *s = owner;
    adit_log(ADIT_LOG_ERROR, "working_copy_lost", LOG_ERR(err));
    s->is_broken = true;
    scheduler_stop(s);
}

/* ---- the default team ---- */

struct team_write {
    bool is_done;
    struct adit_err err;
};

static void on_team_written(void *user, const struct adit_err *err)
{
    struct team_write *w = user;
    w->is_done = true;
    if (err)
        w->err = *err;
}

/* Runs the loop, in which nothing but the store is yet, until it is committed. */
static int create_default_team(struct scheduler *s, uv_loop_t *uv, struct adit_err *err)
{
    struct team_write write = {false, ADIT_ERR_INIT};
    Scheduler__Store__TeamRecord team;
    char name[] = TEAMS_DEFAULT_NAME, id[37];
    struct store_change change = {.table = STORE_TEAM};

    adit_rand_uuid(id);
    scheduler__store__team_record__init(&team);
    team.team_id = id;
    team.name = name;
    uint8_t *bytes = message_pack(&team.base, &change.value.len);
    if (!bytes)
        return adit_err_set(err, ADIT_ERR_NO_MEMORY, "no memory");
    change.id = adit_view_str(id);
    change.value.ptr = (char *)bytes;
    int rc = store_write(s->store, &change, 1, on_team_written, &write, err);
    free(bytes);
    while (rc == 0 && !write.is_done)
        (void)uv_run(uv, UV_RUN_ONCE); /* what it returns says nothing about us */
    if (rc == 0 && write.err.code) {
        *err = write.err;
        rc = write.err.code;
    }
    if (rc == 0)
        adit_log(ADIT_LOG_INFO, "default_team_created", LOG_S("team", id));
    return rc;
}

/* ---- claims ---- */

static void on_claim_dropped(void *user, const struct adit_err *err)
{
    (void)user;
    if (err)
        adit_log(ADIT_LOG_ERROR, "write_failed", LOG_ERR(err)); /* tried again one ttl later */
}

static void drop_claim(struct scheduler *s, struct registry_sandbox *claim, uint64_t now_ms)
{
    const char *id = claim->record->sandbox->sandbox_id;
    struct store_change change = {.table = STORE_SANDBOX, .id = adit_view_str(id)};
    struct adit_err err = ADIT_ERR_INIT;

    registry_postpone(&s->registry, claim, now_ms);
    adit_log(ADIT_LOG_WARN, "claim_dropped", LOG_S("sandbox", id),
             LOG_S("node", claim->record->node_id));
    if (store_write(s->store, &change, 1, on_claim_dropped, NULL, &err))
        adit_log(ADIT_LOG_ERROR, "write_failed", LOG_ERR(&err));
}

static void on_sweep(struct net_deadline *d)
{
    struct scheduler *s = ADIT_CONTAINER_OF(d, struct scheduler, sweep);
    uint64_t now_ms = scheduler_now_ms();
    struct registry_sandbox *claim;

    if (s->state != SCHEDULER_SERVING)
        return;
    for (int i = 0; i < SCHEDULER_SWEEP_MAX; i++) {
        claim = registry_due_claim(&s->registry, now_ms);
        if (!claim)
            break;
        drop_claim(s, claim, now_ms);
    }
    net_deadline_arm(&s->sweep, SCHEDULER_SWEEP_MS);
}

/* ---- life ---- */

static int open_store(struct scheduler *s, uv_loop_t *uv, struct adit_err *err)
{
    char path[PATH_CAP];
    struct store_owner owner = {s, apply, on_broken};
    int n = snprintf(path, sizeof(path), "%s/%s", s->conf->data_dir, SCHEDULER_STORE_FILE);
    if (n < 0 || (size_t)n >= sizeof(path))
        return adit_err_set(err, ADIT_ERR_BAD_INPUT, "data-dir: too long");
    int rc = adit_file_mkdirs(s->conf->data_dir, 0700, err);
    if (rc == 0)
        rc = group_commit_open(uv, path, &owner, &s->store, err);
    if (rc == 0 && !s->teams.default_id)
        rc = create_default_team(s, uv, err);
    return rc;
}

/* Calls carry no credential: a socket that only one user can open, or the loopback. Who hands us a
 * descriptor has seen to that. */
int scheduler_check_listen(const char *address, struct adit_err *err)
{
    static const char *const allowed[] = {UNIX_PREFIX, "127.0.0.1:", "[::1]:", "localhost:", "fd:"};
    for (size_t i = 0; i < sizeof(allowed) / sizeof(allowed[0]); i++) {
        if (adit_view_has_prefix(adit_view_str(address), allowed[i]))
            return 0;
    }
    return adit_err_set(err, ADIT_ERR_BAD_INPUT,
                        "listen: '%s' is neither unix:/path nor fd:n nor on the loopback", address);
}

static int start_server(struct scheduler *s, struct adit_err *err)
{
    const struct http_server_conf conf = {
        .header_ms = HEADER_MS,
        .body_ms = BODY_MS,
        .idle_ms = IDLE_MS,
        .connections_max = SCHEDULER_CONNECTIONS_MAX,
        .owner = s,
        .on_request = service_on_request,
    };
    int fd = -1;
    int rc = scheduler_check_listen(s->conf->listen, err);
    if (rc == 0)
        rc = http_server_new(&s->net, &conf, &s->http, err);
    if (rc == 0)
        rc = listener_socket(s->conf->listen, &fd, err);
    if (rc == 0)
        rc = listener_open(&s->net, fd, http_server_accept, s->http, &s->listener, err);
    return rc;
}

static void on_drained(void *owner)
{
    struct scheduler *s = owner;
    s->http = NULL;
    s->state = SCHEDULER_ENDED;
    net_deadline_cancel(&s->sweep);
    if (s->store)
        store_close(s->store);
    net_loop_close(&s->net);
}

/* No other scheduler can have made the socket anew: we still hold the store. */
static void stop_listening(struct scheduler *s)
{
    listener_close(s->listener);
    s->listener = NULL;
    if (adit_view_has_prefix(adit_view_str(s->conf->listen), UNIX_PREFIX))
        (void)unlink(s->conf->listen + sizeof(UNIX_PREFIX) - 1); /* an operator may have */
}

void scheduler_stop(struct scheduler *s)
{
    if (s->state != SCHEDULER_SERVING)
        return;
    s->state = SCHEDULER_STOPPING;
    metrics_server_close(s->metrics);
    s->metrics = NULL;
    if (s->listener)
        stop_listening(s);
    if (s->http)
        http_server_drain(s->http, SCHEDULER_DRAIN_MS, on_drained);
    else
        on_drained(s);
}

void scheduler_free(struct scheduler *s)
{
    registry_fini(&s->registry);
    templates_fini(&s->templates);
    keys_fini(&s->keys);
    teams_fini(&s->teams);
    free(s);
}

int scheduler_new(uv_loop_t *uv, const struct scheduler_conf *conf, struct scheduler **out,
                  struct adit_err *err)
{
    struct scheduler *s = calloc(1, sizeof(*s));
    if (!s)
        return adit_err_set(err, ADIT_ERR_NO_MEMORY, "no memory");
    s->conf = conf;
    registry_init(&s->registry, conf->claim_ttl_ms);
    templates_init(&s->templates);
    keys_init(&s->keys);
    teams_init(&s->teams);
    adit_list_init(&s->writes);
    int rc = net_loop_init(&s->net, uv, err);
    if (rc) {
        scheduler_free(s);
        return rc;
    }
    net_deadline_init(&s->sweep, &s->net, on_sweep);
    rc = open_store(s, uv, err);
    if (rc == 0)
        rc = start_server(s, err);
    if (rc == 0)
        rc = figures_open(s, err);
    if (rc) {
        scheduler_stop(s);
        (void)uv_run(uv, UV_RUN_DEFAULT); /* until all is closed */
        scheduler_free(s);
        return rc;
    }
    net_deadline_arm(&s->sweep, SCHEDULER_SWEEP_MS);
    *out = s;
    return 0;
}
