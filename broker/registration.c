/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Keeping the scheduler informed.
 *
 * Theory of operation
 *
 *   OFFLINE ── due ──> SCANNING ──> REGISTERING ──> PUTTING (one template after the other) ──>
 * ONLINE ^                                 |               | |
 *      |_____ back-off __________________|_______________|____________ a heartbeat failed ________|
 *
 * What: the node introduces itself with all it runs, puts its templates, and then says at intervals
 * that it is there. Whatever goes wrong is mended the same way: introduce again. Renewing while
 * something runs is remembered (@is_stale) and done after it. A template sync (scan and put) runs
 * through the same states; those who wait for one are told when the states come to ONLINE or
 * OFFLINE. Failure: an own scheduler that stays silent for REGISTRATION_PATIENCE_MS is started
 * anew.
 */
#include "broker/registration.h"

#include <fcntl.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/limit.h"
#include "base/log.h"
#include "base/rand.h"

#define NS_PER_S 1000000000

enum state { OFFLINE, SCANNING, REGISTERING, PUTTING, ONLINE, BEATING };

struct waiter {
    struct adit_list node;
    struct registration *owner;
    void (*on_done)(void *user);
    void *user;
};

/*
 * @put_at:    the template to put next
 * @is_stale:  introduce again when the running step is over
 * @waiting:   for a template sync / @starting: for the first time online
 * @silent_ns: since when nothing was heard; 0: something was
 */
struct registration {
    struct registration_conf conf;
    char incarnation[33];
    enum state state;
    struct net_deadline due;
    uint64_t begun_ns, retry_ms, heartbeat_ms, silent_ns;
    size_t put_at;
    bool has_started, is_stale, is_closing, is_busy;
    struct adit_limit scans;
    struct adit_list waiting, starting;
    size_t waiter_cnt;
};

static void begin(struct registration *r);

/* ---- waiting for the next thing ---- */

static void serve_waiters(struct adit_list *waiting)
{
    struct adit_list served, *it, *tmp;
    adit_list_init(&served);
    ADIT_LIST_EACH(it, tmp, waiting)
    {
        adit_list_remove(it);
        adit_list_push(&served, it);
    }
    while ((it = adit_list_first(&served))) {
        struct waiter *w = ADIT_CONTAINER_OF(it, struct waiter, node);
        struct waiter told = *w;
        adit_list_remove(it);
        told.owner->waiter_cnt--;
        free(w);
        told.on_done(told.user);
    }
}

static bool add_waiter(struct registration *r, struct adit_list *waiting, void (*on_done)(void *),
                       void *user)
{
    if (r->waiter_cnt >= REGISTRATION_WAITERS_MAX)
        return false;
    struct waiter *w = malloc(sizeof(*w));
    if (!w)
        return false;
    *w = (struct waiter){{NULL, NULL}, r, on_done, user};
    adit_list_push(waiting, &w->node);
    r->waiter_cnt++;
    return true;
}

static void end_start(struct registration *r)
{
    r->has_started = true;
    serve_waiters(&r->starting);
}

static void go_offline(struct registration *r, const struct adit_err *err)
{
    uint64_t now = adit_clock_mono_ns();
    adit_log(r->state >= ONLINE ? ADIT_LOG_WARN : ADIT_LOG_DEBUG, "scheduler_unreachable",
             LOG_ERR(err), LOG_U("retry_ms", r->retry_ms));
    if (r->silent_ns == 0)
        r->silent_ns = now;
    if (r->conf.child && now - r->silent_ns >= REGISTRATION_PATIENCE_MS * UINT64_C(1000000)) {
        r->silent_ns = now;
        scheduler_child_kick(r->conf.child);
    }
    r->state = OFFLINE;
    net_deadline_arm(&r->due, r->retry_ms);
    r->retry_ms *= 2;
    if (r->retry_ms > REGISTRATION_RETRY_MAX_MS)
        r->retry_ms = REGISTRATION_RETRY_MAX_MS;
    if (!r->has_started && now - r->begun_ns >= REGISTRATION_GRACE_MS * UINT64_C(1000000))
        end_start(r);
    serve_waiters(&r->waiting);
}

static void go_online(struct registration *r)
{
    bool was_offline = r->state != BEATING;
    r->state = ONLINE;
    r->silent_ns = 0;
    r->retry_ms = REGISTRATION_RETRY_MIN_MS;
    if (r->is_stale) {
        begin(r);
        return;
    }
    net_deadline_arm(&r->due, r->heartbeat_ms);
    if (!was_offline)
        return;
    serve_waiters(&r->waiting);
    end_start(r);
    r->conf.on_online(r->conf.owner);
}

/* ---- what the scheduler is told ---- */

/* A message refers to our own text; protobuf-c's fields lack the const. */
static char *text(const char *s)
{
    union {
        const char *in;
        char *out;
    } u = {.in = s};
    return u.out;
}

/* The node's message with what hangs in it. */
struct node_message {
    Scheduler__Node node;
    Scheduler__Resources capacity, allocated, warm;
    Scheduler__Machine machine;
    char *isolations[VMM_SET_MAX];
    char *template_ids[TEMPLATE_DIR_MAX];
};

static void fill_machine(const struct machine *from, Scheduler__Machine *out)
{
    scheduler__machine__init(out);
    out->cpu_family = text(from->cpu_family);
    out->cpu_model = text(from->cpu_model);
    out->cpu_model_name = text(from->cpu_model_name);
    out->cpu_architecture = text(from->cpu_architecture);
}

static void fill_counts(const struct registration *r, Scheduler__Node *out)
{
    const struct node_stats stats = node_stats(r->conf.node);
    out->creating_cnt = (uint32_t)stats.creating;
    out->creates_ok = stats.creates_ok;
    out->creates_failed = stats.creates_failed + stats.creates_refused;
}

static size_t fill_isolations(const struct registration *r, char *out[VMM_SET_MAX])
{
    const char *words[VMM_SET_MAX];
    size_t cnt = vmm_set_isolations(node_vmms(r->conf.node), words);
    for (size_t i = 0; i < cnt; i++)
        out[i] = text(words[i]);
    return cnt;
}

static void fill_node(const struct registration *r, struct node_message *m)
{
    const struct admission *a = node_admission(r->conf.node);
    const struct node_warm_sum warm = node_warm_sum(r->conf.node);
    scheduler__node__init(&m->node);
    scheduler__resources__init(&m->capacity);
    scheduler__resources__init(&m->allocated);
    m->node.node_id = text(r->conf.node_id);
    m->node.incarnation = text(r->incarnation);
    m->node.state = SCHEDULER__NODE_STATE__NODE_STATE_READY;
    m->capacity.cpu_count = (uint32_t)a->cpu_cap;
    m->capacity.memory_mb = a->memory_mb_cap;
    m->allocated.cpu_count = (uint32_t)a->cpu_used;
    m->allocated.memory_mb = a->memory_mb_used;
    m->capacity.disk_mb = a->disk_mb_cap;
    m->allocated.disk_mb = a->disk_mb_used;
    m->node.capacity = &m->capacity;
    m->node.allocated = &m->allocated;
    m->node.sandbox_cnt = (uint32_t)(a->sandbox_cnt - warm.cnt);
    scheduler__resources__init(&m->warm);
    m->warm.cpu_count = (uint32_t)warm.cpu_cnt;
    m->warm.memory_mb = warm.memory_mb;
    m->warm.disk_mb = warm.disk_mb;
    m->node.warm = &m->warm;
    m->node.warm_cnt = (uint32_t)warm.cnt;
    m->node.sandbox_max = (uint32_t)a->sandbox_max;
    m->node.version = text(ADIT_VERSION);
    fill_machine(r->conf.machine, &m->machine);
    m->node.machine = &m->machine;
    fill_counts(r, &m->node);
    m->node.isolations = m->isolations;
    m->node.n_isolations = fill_isolations(r, m->isolations);
    m->node.n_template_ids = template_dir_cnt(r->conf.templates);
    m->node.template_ids = m->template_ids;
    for (size_t i = 0; i < m->node.n_template_ids; i++)
        m->template_ids[i] = text(template_dir_at(r->conf.templates, i)->info.template_id);
}

struct sandbox_list {
    Scheduler__RunningSandbox *items, **refs;
    Scheduler__Resources *resources;
    size_t cnt;
};

static void free_list(struct sandbox_list *l)
{
    free(l->items);
    free(l->refs);
    free(l->resources);
}

static int fill_list(const struct node *n, struct sandbox_list *l)
{
    size_t cap = node_admission(n)->sandbox_cnt + 1, pos = 0;
    struct sandbox *s;
    *l = (struct sandbox_list){calloc(cap, sizeof(*l->items)), calloc(cap, sizeof(*l->refs)),
                               calloc(cap, sizeof(*l->resources)), 0};
    if (!l->items || !l->refs || !l->resources)
        return ADIT_ERR_NO_MEMORY;
    while (l->cnt < cap && (s = node_next_any(n, &pos))) {
        const struct record *r = node_record(s);
        if (!r->team_id[0]) /* an earlier broker's, that was never begun: it is being removed */
            continue;
        Scheduler__RunningSandbox *item = &l->items[l->cnt];
        Scheduler__Resources *resources = &l->resources[l->cnt];
        scheduler__running_sandbox__init(item);
        scheduler__resources__init(resources);
        item->sandbox_id = text(r->sandbox_id);
        item->team_id = text(r->team_id);
        item->key_id = text(r->key_id);
        item->template_id = text(r->template_id);
        resources->cpu_count = r->cpu_count;
        resources->memory_mb = r->memory_mb;
        resources->disk_mb = r->disk_mb;
        item->resources = resources;
        l->refs[l->cnt++] = item;
    }
    return 0;
}

/* ---- steps ---- */

static void call(struct registration *r, enum scheduler_method method,
                 const ProtobufCMessage *request, rpc_client_fn on_done)
{
    struct adit_err err = ADIT_ERR_INIT;
    r->is_busy = true;
    if (scheduler_client_call(r->conf.client, method, request, on_done, r, &err)) {
        r->is_busy = false;
        go_offline(r, &err);
    }
}

/* An answer came; false when nothing is to be done about it any more. */
static bool take_answer(struct registration *r)
{
    r->is_busy = false;
    if (!r->is_closing)
        return true;
    free(r);
    return false;
}

static void put_next(struct registration *r);

static void on_put(void *user, const ProtobufCMessage *answer, const struct adit_err *err)
{
    struct registration *r = user;
    (void)answer; /* says nothing */
    if (!take_answer(r))
        return;
    if (err && err->code == ADIT_ERR_UNAVAILABLE) {
        go_offline(r, err);
        return;
    }
    if (err)
        adit_log(ADIT_LOG_ERROR, "template_not_taken", LOG_U("index", r->put_at), LOG_ERR(err));
    r->put_at++;
    put_next(r);
}

static void put(struct registration *r, const struct template_dir_entry *e)
{
    char *aliases[TEMPLATE_ALIASES_MAX];
    Scheduler__PutTemplateRequest request;
    Scheduler__Template t;
    Scheduler__Resources resources;
    Google__Protobuf__Timestamp created;
    const struct template_info *info = &e->info;
    scheduler__put_template_request__init(&request);
    scheduler__template__init(&t);
    scheduler__resources__init(&resources);
    google__protobuf__timestamp__init(&created);
    for (size_t i = 0; i < info->alias_cnt; i++)
        aliases[i] = text(info->aliases[i]);
    resources.cpu_count = info->cpu_count;
    resources.memory_mb = info->memory_mb;
    resources.disk_mb = info->disk_mb;
    created.seconds = info->created_ns / NS_PER_S;
    created.nanos = (int32_t)(info->created_ns % NS_PER_S);
    t.template_id = text(info->template_id);
    t.build_id = text(info->build_id);
    t.n_aliases = info->alias_cnt;
    t.aliases = aliases;
    t.resources = &resources;
    t.artifact = text(e->artifact);
    t.created_at = &created;
    t.start_cmd = text(info->start_cmd);
    t.ready_cmd = text(info->ready_cmd);
    t.default_user = text(info->default_user);
    t.default_workdir = text(info->default_workdir);
    t.isolation = text(info->isolation);
    request.template_ = &t;
    call(r, SCHEDULER_PUT_TEMPLATE, &request.base, on_put);
}

static void put_next(struct registration *r)
{
    r->state = PUTTING;
    if (r->put_at < template_dir_cnt(r->conf.templates))
        put(r, template_dir_at(r->conf.templates, r->put_at));
    else
        go_online(r);
}

static void on_registered(void *user, const ProtobufCMessage *answer, const struct adit_err *err)
{
    struct registration *r = user;
    if (!take_answer(r))
        return;
    if (err) {
        go_offline(r, err);
        return;
    }
    uint32_t ms = ((const Scheduler__RegisterNodeResponse *)answer)->heartbeat_ms;
    r->heartbeat_ms = ms ? ms : REGISTRATION_HEARTBEAT_MS;
    adit_log(ADIT_LOG_INFO, "node_registered", LOG_S("node", r->conf.node_id),
             LOG_U("sandboxes", node_admission(r->conf.node)->sandbox_cnt));
    r->put_at = 0;
    put_next(r);
}

static void introduce(struct registration *r)
{
    struct node_message m;
    struct sandbox_list list;
    Scheduler__RegisterNodeRequest request = SCHEDULER__REGISTER_NODE_REQUEST__INIT;
    r->state = REGISTERING;
    fill_node(r, &m);
    request.node = &m.node;
    if (fill_list(r->conf.node, &list)) {
        struct adit_err err = ADIT_ERR_INIT;
        (void)adit_err_set(&err, ADIT_ERR_NO_MEMORY, "no memory");
        go_offline(r, &err);
    } else {
        request.n_sandboxes = list.cnt;
        request.sandboxes = list.refs;
        call(r, SCHEDULER_REGISTER_NODE, &request.base, on_registered);
    }
    free_list(&list);
}

static void on_scanned(void *user, bool changed)
{
    struct registration *r = user;
    (void)changed; /* everything is put each time: the scheduler may have a new store */
    if (take_answer(r))
        introduce(r);
}

static void begin(struct registration *r)
{
    r->state = SCANNING;
    r->is_stale = false;
    net_deadline_cancel(&r->due);
    r->is_busy = template_dir_scan(r->conf.templates, on_scanned, r);
    if (!r->is_busy)
        introduce(r);
}

static void on_beaten(void *user, const ProtobufCMessage *answer, const struct adit_err *err)
{
    struct registration *r = user;
    (void)answer; /* says nothing */
    if (!take_answer(r))
        return;
    if (err && err->code == ADIT_ERR_NOT_FOUND)
        begin(r);
    else if (err)
        go_offline(r, err);
    else
        go_online(r);
}

static void beat(struct registration *r)
{
    struct node_message m;
    Scheduler__HeartbeatRequest request = SCHEDULER__HEARTBEAT_REQUEST__INIT;
    r->state = BEATING;
    fill_node(r, &m);
    request.node = &m.node;
    call(r, SCHEDULER_HEARTBEAT, &request.base, on_beaten);
}

static void on_due(struct net_deadline *d)
{
    struct registration *r = ADIT_CONTAINER_OF(d, struct registration, due);
    if (r->state == ONLINE && !r->is_stale)
        beat(r);
    else
        begin(r);
}

/* ---- from outside ---- */

int registration_new(const struct registration_conf *conf, struct registration **out,
                     struct adit_err *err)
{
    struct registration *r = calloc(1, sizeof(*r));
    if (!r)
        return adit_err_set(err, ADIT_ERR_NO_MEMORY, "no memory");
    r->conf = *conf;
    r->retry_ms = REGISTRATION_RETRY_MIN_MS;
    r->heartbeat_ms = REGISTRATION_HEARTBEAT_MS;
    adit_rand_hex(r->incarnation, 16);
    adit_list_init(&r->waiting);
    adit_list_init(&r->starting);
    r->begun_ns = adit_clock_mono_ns();
    adit_limit_init(&r->scans, 5, 1, adit_clock_mono_ns());
    net_deadline_init(&r->due, conf->loop, on_due);
    begin(r);
    *out = r;
    return 0;
}

void registration_close(struct registration *r)
{
    net_deadline_cancel(&r->due);
    end_start(r);
    serve_waiters(&r->waiting);
    r->is_closing = true;
    if (!r->is_busy)
        free(r);
}

void registration_renew(struct registration *r)
{
    r->is_stale = true;
    if (r->state == ONLINE)
        net_deadline_arm(&r->due, 0);
}

bool registration_sync_templates(struct registration *r, void (*on_done)(void *user), void *user)
{
    if ((adit_list_empty(&r->waiting) && !adit_limit_take(&r->scans, adit_clock_mono_ns())) ||
        !add_waiter(r, &r->waiting, on_done, user))
        return false;
    registration_renew(r);
    return true;
}

bool registration_wait_start(struct registration *r, void (*on_done)(void *user), void *user)
{
    return !r->has_started && add_waiter(r, &r->starting, on_done, user);
}

int registration_load_node_id(const char *state_dir, char out[REGISTRATION_NODE_ID_CAP],
                              struct adit_err *err)
{
    struct adit_buf content;
    int dir = open(state_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (dir < 0)
        return adit_err_sys(err, errno, "open %s", state_dir);
    adit_buf_init(&content, REGISTRATION_NODE_ID_CAP);
    int rc = adit_file_read(dir, "node-id", &content, err);
    if (rc == ADIT_ERR_NOT_FOUND) {
        memcpy(out, "node-", 5);
        adit_rand_id(out + 5, 12);
        rc = adit_file_replace(dir, "node-id", adit_view_str(out), 0600, err);
    } else if (rc == 0) {
        struct adit_view id = adit_view_trim(adit_buf_view(&content));
        if (id.len == 0 || id.len >= REGISTRATION_NODE_ID_CAP)
            rc = adit_err_set(err, ADIT_ERR_BAD_INPUT, "the file \"node-id\" does not hold a name");
        else
            (void)snprintf(out, REGISTRATION_NODE_ID_CAP, "%.*s", ADIT_VIEW_ARG(id));
    }
    adit_buf_fini(&content);
    (void)close(dir); /* only read through */
    return rc;
}
