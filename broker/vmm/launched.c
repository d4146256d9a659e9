/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sandboxes that the launcher starts.
 *
 * Theory of operation
 *
 * What:    turns a driver's calls into launcher requests, watches each sandbox by a pidfd, and
 * hands out slots: a range of user ids and, for a VM, its CID.
 * States:  of one sandbox
 *
 *            CREATING ──> RUNNING ──pidfd──> ENDED (explained, then on_exited)
 *               │            │                 │
 *               └────────────┴─────────────────┴──destroy──> DESTROYING ──> forgotten
 *
 * Watching: a pidfd needs no privilege and is no child relation, so broker and launcher may both
 * come and go. A number from a record is believed only with its start time, which the launcher
 * compares: the broker has no /proc. Until it has, an adopted sandbox counts as running. What a
 * driver attaches to a sandbox (a VMM's monitor) is there while it is watched.
 * Ownership: a sandbox is owned by the map; its memory also waits for its poll handle and for the
 * request that is on its way (@holds).
 * Slots:   of all drivers together, given out in turn, so that a range is not used again soon after
 * its sandbox ended. A slot is free when its sandbox was destroyed.
 * Failure: a create that ends without an answer (launcher died) is undone with a DESTROY before it
 * is reported, so that nothing is left behind.
 */
#include "broker/vmm/launched.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/list.h"
#include "base/log.h"
#include "base/map.h"

#define NO_SLOT UINT32_MAX

enum state { CREATING, RUNNING, ENDED, DESTROYING };

/*
 * @slot:     NO_SLOT for one that this broker never knew running
 * @holds:    poll handle and requests that still point here; the map's own hold counts as one
 * @attached: the driver's, or NULL
 */
struct launched_sandbox {
    struct launched *all;     /* borrowed */
    struct launched_vmm *vmm; /* borrowed */
    enum state state;
    unsigned holds;
    bool is_watched;
    int pidfd;
    uint32_t slot;
    pid_t pid;
    uint64_t pid_start;
    uv_poll_t poll;
    void *attached;
    vmm_created_fn created;
    void *user;
    struct adit_err create_err;
    char id[VMM_ID_CAP];
    char dir[LAUNCH_SANDBOX_DIR_CAP];
    /* of one that is being made: what its monitor is told */
    uint32_t cpu_count;
    uint64_t memory_mb;
    char template_dir[LAUNCH_TEMPLATE_DIR_CAP];
};

struct launched {
    struct launched_conf conf;
    struct adit_map sandboxes; /* id → struct launched_sandbox */
    uint32_t next_slot;
    bool slot_used[LAUNCH_SLOTS];
};

struct destruction {
    struct launched *all; /* borrowed */
    vmm_done_fn done;
    void *user;
    char id[VMM_ID_CAP];
};

/* ---- memory and slots --------------------------------------------------------------------------
 */

static struct launched_vmm *launched_of(struct vmm *v)
{
    return ADIT_CONTAINER_OF(v, struct launched_vmm, vmm);
}

static void unhold(struct launched_sandbox *s)
{
    if (--s->holds == 0)
        free(s);
}

static int take_slot(struct launched *all, uint32_t *slot, struct adit_err *err)
{
    for (uint32_t i = 0; i < LAUNCH_SLOTS; i++) {
        uint32_t candidate = (all->next_slot + i) % LAUNCH_SLOTS;
        if (all->slot_used[candidate])
            continue;
        all->slot_used[candidate] = true;
        all->next_slot = (candidate + 1) % LAUNCH_SLOTS;
        *slot = candidate;
        return 0;
    }
    return adit_err_set(err, ADIT_ERR_LIMIT, "all %u ranges of user ids are in use", LAUNCH_SLOTS);
}

static void detach(struct launched_sandbox *s)
{
    if (s->attached)
        s->vmm->ops->detach(adit_steal(&s->attached));
}

static void unwatch(struct launched_sandbox *s);

/* The map forgets it; the memory goes when nothing points to it any more. */
static void forget(struct launched_sandbox *s)
{
    unwatch(s);
    detach(s);
    if (s->slot != NO_SLOT)
        s->all->slot_used[s->slot] = false;
    (void)adit_map_del(&s->all->sandboxes, adit_view_str(s->id)); /* it is in it */
    unhold(s);
}

static struct launched_sandbox *find(const struct launched *all, const char *id)
{
    return adit_map_get(&all->sandboxes, adit_view_str(id));
}

static int add(struct launched_vmm *v, const char *id, const char *dir, enum state state,
               struct launched_sandbox **out, struct adit_err *err)
{
    if (strlen(id) >= VMM_ID_CAP || strlen(dir) >= LAUNCH_SANDBOX_DIR_CAP)
        return adit_err_set(err, ADIT_ERR_BAD_INPUT, "path of sandbox %s is too long for a socket",
                            id);
    if (find(v->all, id))
        return adit_err_set(err, ADIT_ERR_EXISTS, "sandbox %s exists", id);
    struct launched_sandbox *s = calloc(1, sizeof(*s));
    if (!s || adit_map_put(&v->all->sandboxes, adit_view_str(id), s)) {
        free(s);
        return adit_err_set(err, ADIT_ERR_NO_MEMORY, "no memory for sandbox %s", id);
    }
    s->all = v->all;
    s->vmm = v;
    s->state = state;
    s->holds = 1;
    s->pidfd = -1;
    s->slot = NO_SLOT;
    (void)snprintf(s->id, sizeof(s->id), "%s", id);
    (void)snprintf(s->dir, sizeof(s->dir), "%s", dir);
    *out = s;
    return 0;
}

/* ---- watching ----------------------------------------------------------------------------------
 */

/* The driver knows more than the launcher: a VMM says why before it ends. */
static void report_end(struct launched_sandbox *s, const char *launchers)
{
    const char *reason = s->attached ? s->vmm->ops->why(s->attached) : NULL;
    s->all->conf.on_exited(s->all->conf.owner, s->id, reason ? reason : launchers);
    detach(s);
}

static void on_explained(void *user, const struct launch_reply *reply, int take_pidfd,
                         const struct adit_err *err)
{
    struct launched_sandbox *s = user;
    (void)take_pidfd; /* an EXPLAIN has none */
    if (s->state == ENDED)
        report_end(s, err ? "ended" : reply->text);
    unhold(s);
}

/* The first process ended. */
static void on_pidfd(uv_poll_t *handle, int status, int events)
{
    struct launched_sandbox *s = handle->data;
    struct launch_request request = {.kind = LAUNCH_EXPLAIN, .driver = s->vmm->kind, .pid = s->pid};
    (void)status;
    (void)events;
    unwatch(s);
    s->state = ENDED;
    memcpy(request.sandbox_id, s->id, sizeof(request.sandbox_id));
    s->holds++;
    if (launcher_client_send(s->all->conf.client, &request, on_explained, s, NULL)) {
        report_end(s, "ended");
        unhold(s);
    }
}

static void on_poll_closed(uv_handle_t *handle)
{
    struct launched_sandbox *s = handle->data;
    (void)close(s->pidfd); /* nothing to lose */
    unhold(s);
}

static void unwatch(struct launched_sandbox *s)
{
    if (!s->is_watched)
        return;
    s->is_watched = false;
    uv_close((uv_handle_t *)&s->poll, on_poll_closed);
}

/* @take_pidfd is closed on failure as well. */
static int watch(struct launched_sandbox *s, int take_pidfd, struct adit_err *err)
{
    int rc = uv_poll_init(s->all->conf.loop, &s->poll, take_pidfd);
    if (rc) {
        (void)close(take_pidfd); /* nothing to lose */
        return adit_err_sys(err, -rc, "watch sandbox %s", s->id);
    }
    s->poll.data = s;
    s->pidfd = take_pidfd;
    s->is_watched = true;
    s->holds++;
    rc = uv_poll_start(&s->poll, UV_READABLE, on_pidfd);
    if (rc) {
        unwatch(s);
        return adit_err_sys(err, -rc, "watch sandbox %s", s->id);
    }
    s->state = RUNNING;
    if (s->vmm->ops && s->vmm->ops->attach)
        s->attached = s->vmm->ops->attach(s->vmm, s->id, s->dir);
    return 0;
}

/* ---- create ------------------------------------------------------------------------------------
 */

static void fill_destroy(struct launch_request *request, const char *id, const char *dir)
{
    *request = (struct launch_request){.kind = LAUNCH_DESTROY};
    (void)snprintf(request->sandbox_id, sizeof(request->sandbox_id), "%s", id);
    (void)snprintf(request->sandbox_dir, sizeof(request->sandbox_dir), "%s", dir);
}

/* Tell the failure of a create, at its very end. A destroy that came meanwhile forgets it itself.
 */
static void report_failure(struct launched_sandbox *s)
{
    s->created(s->user, NULL, &s->create_err);
    if (s->state == CREATING)
        forget(s);
    unhold(s);
}

static void on_undone(void *user, const struct launch_reply *reply, int take_pidfd,
                      const struct adit_err *err)
{
    (void)reply;
    (void)take_pidfd; /* a DESTROY has none */
    (void)err;        /* the first error is the one to tell */
    report_failure(user);
}

/* Whether the sandbox was made is not known, or it cannot be used: remove what there may be. */
static void undo(struct launched_sandbox *s)
{
    struct launch_request request;
    fill_destroy(&request, s->id, s->dir);
    if (launcher_client_send(s->all->conf.client, &request, on_undone, s, NULL))
        report_failure(s);
}

static void describe(const struct launched_sandbox *s, uint64_t pid_start, struct vmm_instance *out)
{
    memset(out, 0, sizeof(*out));
    (void)snprintf(out->driver, sizeof(out->driver), "%s", s->vmm->vmm.name);
    out->pid = s->pid;
    out->pid_start = pid_start;
    out->slot = s->slot;
    out->target.kind = HTTP_TARGET_CHANNEL;
    (void)snprintf(out->target.path, sizeof(out->target.path), "%s/%s", s->dir,
                   LAUNCH_CHANNEL_NAME);
}

/* The create has failed, or its sandbox was destroyed meanwhile. The first process is not watched.
 */
static void give_up(struct launched_sandbox *s)
{
    if (s->pidfd >= 0)
        (void)close(adit_steal_fd(&s->pidfd)); /* nothing to lose */
    if (s->state == CREATING) {
        undo(s);
        return;
    }
    (void)adit_err_set(&s->create_err, ADIT_ERR_CANCELED, "sandbox %s was destroyed", s->id);
    report_failure(s);
}

/* It is there, and does what it should: from now on its end is an end of its own. */
static void begin_running(struct launched_sandbox *s)
{
    struct vmm_instance instance;
    if (watch(s, adit_steal_fd(&s->pidfd), &s->create_err)) {
        undo(s);
        return;
    }
    describe(s, s->pid_start, &instance);
    s->created(s->user, &instance, NULL);
    unhold(s);
}

static void on_configured(void *user, const struct adit_err *err)
{
    struct launched_sandbox *s = user;
    if (err)
        s->create_err = *err;
    if (err || s->state == DESTROYING)
        give_up(s);
    else
        begin_running(s);
}

/* A monitor runs and waits for orders. */
static void configure(struct launched_sandbox *s)
{
    const struct launched_machine machine = {.sandbox_id = s->id,
                                             .sandbox_dir = s->dir,
                                             .template_dir = s->template_dir,
                                             .cpu_count = s->cpu_count,
                                             .slot = s->slot,
                                             .memory_mb = s->memory_mb};
    if (s->vmm->ops->configure(s->vmm, &machine, on_configured, s, &s->create_err))
        give_up(s);
}

static void on_created(void *user, const struct launch_reply *reply, int take_pidfd,
                       const struct adit_err *err)
{
    struct launched_sandbox *s = user;
    if (err) {
        s->create_err = *err;
        bool is_uncertain = err->code == ADIT_ERR_UNAVAILABLE || err->code == ADIT_ERR_TIMEOUT;
        if (is_uncertain)
            undo(s);
        else
            report_failure(s);
        return;
    }
    s->pid = reply->pid;
    s->pid_start = reply->pid_start;
    s->pidfd = take_pidfd;
    if (take_pidfd < 0)
        (void)adit_err_set(&s->create_err, ADIT_ERR_PROTOCOL, "launcher sent no descriptor");
    if (take_pidfd < 0 || s->state == DESTROYING)
        give_up(s);
    else if (s->vmm->ops && s->vmm->ops->configure)
        configure(s);
    else
        begin_running(s);
}

static int fill_create(struct launched_sandbox *s, const struct vmm_spec *spec,
                       struct launch_request *out, struct adit_err *err)
{
    *out = (struct launch_request){.kind = LAUNCH_CREATE,
                                   .driver = s->vmm->kind,
                                   .accel = s->vmm->accel,
                                   .slot = s->slot,
                                   .cpu_count = spec->cpu_count,
                                   .pids_max = spec->pids_max,
                                   .memory_mb = spec->memory_mb};
    if (s->vmm->kind != LAUNCH_DRIVER_CONTAINER) /* which has no disk of its own */
        out->disk_mb = spec->disk_mb;
    if (strlen(spec->template_dir) >= sizeof(out->template_dir))
        return adit_err_set(err, ADIT_ERR_BAD_INPUT, "template path is too long");
    (void)snprintf(out->sandbox_id, sizeof(out->sandbox_id), "%s", s->id);
    (void)snprintf(out->sandbox_dir, sizeof(out->sandbox_dir), "%s", s->dir);
    (void)snprintf(out->template_dir, sizeof(out->template_dir), "%s", spec->template_dir);
    memcpy(s->template_dir, out->template_dir, sizeof(s->template_dir));
    s->cpu_count = spec->cpu_count;
    s->memory_mb = spec->memory_mb;
    return 0;
}

static int create(struct vmm *v, const struct vmm_spec *spec, vmm_created_fn done, void *user,
                  struct adit_err *err)
{
    struct launched_vmm *lv = launched_of(v);
    struct launch_request request;
    struct launched_sandbox *s;

    if (v->unusable)
        return adit_err_set(err, ADIT_ERR_UNAVAILABLE, "no %s on this host: %s", v->isolation,
                            v->unusable);
    int rc = add(lv, spec->sandbox_id, spec->sandbox_dir, CREATING, &s, err);
    if (rc)
        return rc;
    s->created = done;
    s->user = user;
    rc = take_slot(lv->all, &s->slot, err);
    if (!rc)
        rc = fill_create(s, spec, &request, err);
    s->holds++; /* the request */
    if (!rc)
        rc = launcher_client_send(lv->all->conf.client, &request, on_created, s, err);
    if (rc) {
        forget(s);
        unhold(s);
    }
    return rc;
}

/* ---- destroy, adopt ----------------------------------------------------------------------------
 */

static void on_destroyed(void *user, const struct launch_reply *reply, int take_pidfd,
                         const struct adit_err *err)
{
    struct destruction *d = user;
    struct launched_sandbox *s = find(d->all, d->id);
    (void)reply;
    (void)take_pidfd; /* a DESTROY has none */
    if (!err && s && s->state == DESTROYING)
        forget(s);
    d->done(d->user, err);
    free(d);
}

static int destroy(struct vmm *v, const char *sandbox_id, const char *sandbox_dir,
                   const struct vmm_instance *instance, vmm_done_fn done, void *user,
                   struct adit_err *err)
{
    struct launched_vmm *lv = launched_of(v);
    struct launch_request request;
    struct launched_sandbox *s = find(lv->all, sandbox_id);
    int rc = 0;

    (void)instance; /* the id and the directory say all */
    if (!s)
        rc = add(lv, sandbox_id, sandbox_dir, DESTROYING, &s, err);
    if (rc)
        return rc;
    struct destruction *d = calloc(1, sizeof(*d));
    if (!d)
        return adit_err_set(err, ADIT_ERR_NO_MEMORY, "no memory to destroy %s", sandbox_id);
    d->all = lv->all;
    d->done = done;
    d->user = user;
    memcpy(d->id, s->id, sizeof(d->id));
    fill_destroy(&request, s->id, s->dir);
    rc = launcher_client_send(lv->all->conf.client, &request, on_destroyed, d, err);
    if (rc) {
        free(d);
        return rc;
    }
    unwatch(s);
    detach(s);
    s->state = DESTROYING;
    return 0;
}

static int ask_to_adopt(struct launched_sandbox *s, struct adit_err *err);

static void not_watched(const struct launched_sandbox *s, const struct adit_err *err)
{
    adit_log(ADIT_LOG_ERROR, "sandbox_not_watched", LOG_S("sandbox", s->id), LOG_ERR(err));
}

/* The launcher has looked at the process. A broker without descriptors ends nobody's work, and a
 * launcher that died is asked again when there is a new one. */
static void on_adopted(void *user, const struct launch_reply *reply, int take_pidfd,
                       const struct adit_err *err)
{
    struct launched_sandbox *s = user;
    struct adit_err why = ADIT_ERR_INIT;
    (void)reply; /* the descriptor is the answer */
    if (s->state != RUNNING || (err && err->code == ADIT_ERR_CANCELED)) {
        if (take_pidfd >= 0)
            (void)close(take_pidfd); /* nothing to lose */
    } else if (err && err->code == ADIT_ERR_NOT_FOUND) {
        s->state = ENDED;
        s->all->conf.on_exited(s->all->conf.owner, s->id, VMM_ENDED_UNWATCHED);
    } else if (err) {
        if (err->code != ADIT_ERR_UNAVAILABLE || ask_to_adopt(s, NULL))
            not_watched(s, err);
    } else if (take_pidfd < 0) {
        (void)adit_err_set(&why, ADIT_ERR_LIMIT, "no descriptor arrived");
        not_watched(s, &why);
    } else if (watch(s, take_pidfd, &why)) {
        not_watched(s, &why);
    }
    unhold(s);
}

static int ask_to_adopt(struct launched_sandbox *s, struct adit_err *err)
{
    struct launch_request request = {
        .kind = LAUNCH_ADOPT, .pid = s->pid, .pid_start = s->pid_start};
    memcpy(request.sandbox_id, s->id, sizeof(request.sandbox_id));
    s->holds++;
    int rc = launcher_client_send(s->all->conf.client, &request, on_adopted, s, err);
    if (rc)
        unhold(s);
    return rc;
}

static int adopt(struct vmm *v, const char *sandbox_id, const struct vmm_instance *instance,
                 struct adit_err *err)
{
    struct launched_vmm *lv = launched_of(v);
    struct launched_sandbox *s = NULL;
    char dir[sizeof(instance->target.path)];

    (void)snprintf(dir, sizeof(dir), "%s", instance->target.path);
    char *slash = strrchr(dir, '/');
    if (!slash || instance->slot >= LAUNCH_SLOTS || instance->pid <= 1)
        return adit_err_set(err, ADIT_ERR_NOT_FOUND, "record of sandbox %s names no process",
                            sandbox_id);
    *slash = '\0';
    int rc = add(lv, sandbox_id, dir, RUNNING, &s, err);
    bool is_free = !lv->all->slot_used[instance->slot];
    lv->all->slot_used[instance->slot] = true; /* it may run, whatever else goes wrong */
    if (rc)
        return rc;
    s->pid = instance->pid;
    s->pid_start = instance->pid_start;
    if (is_free)
        s->slot = instance->slot;
    rc = ask_to_adopt(s, err);
    if (rc)
        forget(s);
    return rc;
}

/* ---- usage -------------------------------------------------------------------------------------
 */

struct measurement {
    vmm_measured_fn done;
    void *owner;
    char id[VMM_ID_CAP];
};

static void on_measured(void *user, const struct launch_reply *reply, int take_pidfd,
                        const struct adit_err *err)
{
    struct measurement m = *(struct measurement *)user;
    struct vmm_usage usage = {0};
    (void)take_pidfd; /* a MEASURE has none */
    free(user);
    if (!err)
        usage = (struct vmm_usage){reply->usage.memory, reply->usage.cache, reply->usage.memory_max,
                                   reply->usage.cpu_ns};
    m.done(m.owner, m.id, err ? NULL : &usage);
}

static int measure(struct vmm *v, const char *sandbox_id, vmm_measured_fn done, void *owner,
                   struct adit_err *err)
{
    struct launch_request request = {.kind = LAUNCH_MEASURE};
    struct measurement *m = calloc(1, sizeof(*m));
    if (!m)
        return adit_err_set(err, ADIT_ERR_NO_MEMORY, "no memory to measure %s", sandbox_id);
    m->done = done;
    m->owner = owner;
    (void)snprintf(m->id, sizeof(m->id), "%s", sandbox_id);
    (void)snprintf(request.sandbox_id, sizeof(request.sandbox_id), "%s", sandbox_id);
    int rc = launcher_client_send(launched_of(v)->all->conf.client, &request, on_measured, m, err);
    if (rc)
        free(m);
    return rc;
}

/* ---- all of them -------------------------------------------------------------------------------
 */

const struct vmm_driver launched_driver = {
    .create = create, .destroy = destroy, .adopt = adopt, .measure = measure};

int launched_open(const struct launched_conf *conf, struct launched **out, struct adit_err *err)
{
    struct launched *all = calloc(1, sizeof(*all));
    if (!all)
        return adit_err_set(err, ADIT_ERR_NO_MEMORY, "no memory for the launcher's sandboxes");
    all->conf = *conf;
    adit_map_init(&all->sandboxes);
    *out = all;
    return 0;
}

uv_loop_t *launched_loop(const struct launched *all)
{
    return all->conf.loop;
}

void launched_close(struct launched *all)
{
    struct adit_view key;
    void *value;
    size_t pos = 0;
    while (adit_map_next(&all->sandboxes, &pos, &key, &value)) {
        struct launched_sandbox *s = value;
        s->state = DESTROYING; /* an explanation on its way finds nobody interested */
        unwatch(s);
        detach(s);
        unhold(s);
    }
    adit_map_fini(&all->sandboxes);
    free(all);
}
