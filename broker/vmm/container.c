/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sandboxes as containers.
 *
 * Theory of operation
 *
 * What:    turns the driver's calls into launcher requests, watches each container by a pidfd, and
 * hands out the ranges of user ids (slots). States:  of one container
 *
 *            CREATING ──> RUNNING ──pidfd──> ENDED (explained, then on_exited)
 *               │            │                 │
 *               └────────────┴─────────────────┴──destroy──> DESTROYING ──> forgotten
 *
 * Watching: a pidfd needs no privilege and is no child relation, so broker and launcher may both
 * come and go. A number from a record is believed only with its start time, which the launcher
 * compares: the broker has no /proc. Until it has, an adopted container counts as running.
 * Ownership: a container is owned by the map; its memory also waits for its poll handle and for the
 * request that is on its way (@holds). Slots:   given out in turn, so that a range is not used
 * again soon after its sandbox ended. A slot is free when its sandbox was destroyed. Failure: a
 * create that ends without an answer (launcher died) is undone with a DESTROY before it is
 * reported, so that nothing is left behind.
 */
#include "broker/vmm/container.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/log.h"
#include "base/map.h"

#define NO_SLOT UINT32_MAX

enum container_state {
    CONTAINER_CREATING,
    CONTAINER_RUNNING,
    CONTAINER_ENDED,
    CONTAINER_DESTROYING
};

/*
 * @slot:  NO_SLOT for one that this broker never knew running
 * @holds: poll handle and requests that still point here; the map's own hold counts as one
 */
struct container {
    struct vmm *vmm; /* borrowed */
    enum container_state state;
    unsigned holds;
    bool is_watched;
    int pidfd;
    uint32_t slot;
    pid_t pid;
    uint64_t pid_start; /* of an adopted one */
    uv_poll_t poll;
    vmm_created_fn created;
    void *user;
    struct adit_err create_err;
    char id[VMM_ID_CAP];
    char dir[LAUNCH_SANDBOX_DIR_CAP];
};

struct vmm {
    struct container_conf conf;
    struct vmm_driver driver;
    struct adit_map containers; /* id → struct container */
    uint32_t next_slot;
    bool slot_used[LAUNCH_SLOTS];
};

struct destruction {
    struct vmm *vmm;
    vmm_done_fn done;
    void *user;
    char id[VMM_ID_CAP];
};

/* ---- memory and slots --------------------------------------------------------------------------
 */

static void unhold(struct container *c)
{
    if (--c->holds == 0)
        free(c);
}

static int take_slot(struct vmm *v, uint32_t *slot, struct adit_err *err)
{
    for (uint32_t i = 0; i < LAUNCH_SLOTS; i++) {
        uint32_t candidate = (v->next_slot + i) % LAUNCH_SLOTS;
        if (v->slot_used[candidate])
            continue;
        v->slot_used[candidate] = true;
        v->next_slot = (candidate + 1) % LAUNCH_SLOTS;
        *slot = candidate;
        return 0;
    }
    return adit_err_set(err, ADIT_ERR_LIMIT, "all %u ranges of user ids are in use", LAUNCH_SLOTS);
}

static void unwatch(struct container *c);

/* The map forgets it; the memory goes when nothing points to it any more. */
static void forget(struct container *c)
{
    unwatch(c);
    if (c->slot != NO_SLOT)
        c->vmm->slot_used[c->slot] = false;
    (void)adit_map_del(&c->vmm->containers, adit_view_str(c->id)); /* it is in it */
    unhold(c);
}

static struct container *find(const struct vmm *v, const char *id)
{
    return adit_map_get(&v->containers, adit_view_str(id));
}

static int add(struct vmm *v, const char *id, const char *dir, enum container_state state,
               struct container **out, struct adit_err *err)
{
    if (strlen(id) >= VMM_ID_CAP || strlen(dir) >= LAUNCH_SANDBOX_DIR_CAP)
        return adit_err_set(err, ADIT_ERR_BAD_INPUT, "path of sandbox %s is too long for a socket",
                            id);
    if (find(v, id))
        return adit_err_set(err, ADIT_ERR_EXISTS, "sandbox %s exists", id);
    struct container *c = calloc(1, sizeof(*c));
    if (!c || adit_map_put(&v->containers, adit_view_str(id), c)) {
        free(c);
        return adit_err_set(err, ADIT_ERR_NO_MEMORY, "no memory for sandbox %s", id);
    }
    c->vmm = v;
    c->state = state;
    c->holds = 1;
    c->pidfd = -1;
    c->slot = NO_SLOT;
    (void)snprintf(c->id, sizeof(c->id), "%s", id);
    (void)snprintf(c->dir, sizeof(c->dir), "%s", dir);
    *out = c;
    return 0;
}

/* ---- watching ----------------------------------------------------------------------------------
 */

static void on_explained(void *user, const struct launch_reply *reply, int take_pidfd,
                         const struct adit_err *err)
{
    struct container *c = user;
    struct vmm *v = c->vmm;
    (void)take_pidfd; /* an EXPLAIN has none */
    if (c->state == CONTAINER_ENDED)
        v->conf.on_exited(v->conf.owner, c->id, err ? "ended" : reply->text);
    unhold(c);
}

/* The first process ended. */
static void on_pidfd(uv_poll_t *handle, int status, int events)
{
    struct container *c = handle->data;
    struct launch_request request = {.kind = LAUNCH_EXPLAIN, .pid = c->pid};
    (void)status;
    (void)events;
    unwatch(c);
    c->state = CONTAINER_ENDED;
    memcpy(request.sandbox_id, c->id, sizeof(request.sandbox_id));
    c->holds++;
    if (launcher_client_send(c->vmm->conf.client, &request, on_explained, c, NULL)) {
        c->vmm->conf.on_exited(c->vmm->conf.owner, c->id, "ended");
        unhold(c);
    }
}

static void on_poll_closed(uv_handle_t *handle)
{
    struct container *c = handle->data;
    (void)close(c->pidfd); /* nothing to lose */
    unhold(c);
}

static void unwatch(struct container *c)
{
    if (!c->is_watched)
        return;
    c->is_watched = false;
    uv_close((uv_handle_t *)&c->poll, on_poll_closed);
}

/* @take_pidfd is closed on failure as well. */
static int watch(struct container *c, int take_pidfd, struct adit_err *err)
{
    int rc = uv_poll_init(c->vmm->conf.loop, &c->poll, take_pidfd);
    if (rc) {
        (void)close(take_pidfd); /* nothing to lose */
        return adit_err_sys(err, -rc, "watch sandbox %s", c->id);
    }
    c->poll.data = c;
    c->pidfd = take_pidfd;
    c->is_watched = true;
    c->holds++;
    rc = uv_poll_start(&c->poll, UV_READABLE, on_pidfd);
    if (rc) {
        unwatch(c);
        return adit_err_sys(err, -rc, "watch sandbox %s", c->id);
    }
    c->state = CONTAINER_RUNNING;
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
static void report_failure(struct container *c)
{
    c->created(c->user, NULL, &c->create_err);
    if (c->state == CONTAINER_CREATING)
        forget(c);
    unhold(c);
}

static void on_undone(void *user, const struct launch_reply *reply, int take_pidfd,
                      const struct adit_err *err)
{
    (void)reply;
    (void)take_pidfd; /* a DESTROY has none */
    (void)err;        /* the first error is the one to tell */
    report_failure(user);
}

/* Whether the container was made is not known, or it cannot be used: remove what there may be. */
static void undo(struct container *c)
{
    struct launch_request request;
    fill_destroy(&request, c->id, c->dir);
    if (launcher_client_send(c->vmm->conf.client, &request, on_undone, c, NULL))
        report_failure(c);
}

static void describe(const struct container *c, uint64_t pid_start, struct vmm_instance *out)
{
    memset(out, 0, sizeof(*out));
    (void)snprintf(out->driver, sizeof(out->driver), "%s", c->vmm->driver.name);
    out->pid = c->pid;
    out->pid_start = pid_start;
    out->slot = c->slot;
    out->target.kind = HTTP_TARGET_CHANNEL;
    (void)snprintf(out->target.path, sizeof(out->target.path), "%s/%s", c->dir,
                   LAUNCH_CHANNEL_NAME);
}

static void on_created(void *user, const struct launch_reply *reply, int take_pidfd,
                       const struct adit_err *err)
{
    struct container *c = user;
    struct vmm_instance instance;

    if (err) {
        c->create_err = *err;
        bool is_uncertain = err->code == ADIT_ERR_UNAVAILABLE || err->code == ADIT_ERR_TIMEOUT;
        if (is_uncertain)
            undo(c);
        else
            report_failure(c);
        return;
    }
    if (c->state == CONTAINER_DESTROYING) {
        if (take_pidfd >= 0)
            (void)close(take_pidfd); /* nothing to lose */
        (void)adit_err_set(&c->create_err, ADIT_ERR_CANCELED, "sandbox %s was destroyed", c->id);
        report_failure(c);
        return;
    }
    c->pid = reply->pid;
    if (take_pidfd < 0 || watch(c, take_pidfd, &c->create_err)) {
        if (take_pidfd < 0)
            (void)adit_err_set(&c->create_err, ADIT_ERR_PROTOCOL, "launcher sent no descriptor");
        undo(c);
        return;
    }
    describe(c, reply->pid_start, &instance);
    c->created(c->user, &instance, NULL);
    unhold(c);
}

static int create(struct vmm *v, const struct vmm_spec *spec, vmm_created_fn done, void *user,
                  struct adit_err *err)
{
    struct launch_request request = {.kind = LAUNCH_CREATE,
                                     .cpu_count = spec->cpu_count,
                                     .pids_max = spec->pids_max,
                                     .memory_mb = spec->memory_mb};
    struct container *c;

    if (strlen(spec->template_dir) >= sizeof(request.template_dir))
        return adit_err_set(err, ADIT_ERR_BAD_INPUT, "template path is too long");
    int rc = add(v, spec->sandbox_id, spec->sandbox_dir, CONTAINER_CREATING, &c, err);
    if (rc)
        return rc;
    c->created = done;
    c->user = user;
    (void)snprintf(request.sandbox_id, sizeof(request.sandbox_id), "%s", c->id);
    (void)snprintf(request.sandbox_dir, sizeof(request.sandbox_dir), "%s", c->dir);
    (void)snprintf(request.template_dir, sizeof(request.template_dir), "%s", spec->template_dir);
    rc = take_slot(v, &c->slot, err);
    request.slot = c->slot;
    c->holds++; /* the request */
    if (!rc)
        rc = launcher_client_send(v->conf.client, &request, on_created, c, err);
    if (rc) {
        forget(c);
        unhold(c);
    }
    return rc;
}

/* ---- destroy, adopt ----------------------------------------------------------------------------
 */

static void on_destroyed(void *user, const struct launch_reply *reply, int take_pidfd,
                         const struct adit_err *err)
{
    struct destruction *d = user;
    struct container *c = find(d->vmm, d->id);
    (void)reply;
    (void)take_pidfd; /* a DESTROY has none */
    if (!err && c && c->state == CONTAINER_DESTROYING)
        forget(c);
    d->done(d->user, err);
    free(d);
}

static int destroy(struct vmm *v, const char *sandbox_id, const char *sandbox_dir,
                   const struct vmm_instance *instance, vmm_done_fn done, void *user,
                   struct adit_err *err)
{
    struct launch_request request;
    struct container *c = find(v, sandbox_id);
    int rc = 0;

    (void)instance; /* the id and the directory say all */
    if (!c)
        rc = add(v, sandbox_id, sandbox_dir, CONTAINER_DESTROYING, &c, err);
    if (rc)
        return rc;
    struct destruction *d = calloc(1, sizeof(*d));
    if (!d)
        return adit_err_set(err, ADIT_ERR_NO_MEMORY, "no memory to destroy %s", sandbox_id);
    d->vmm = v;
    d->done = done;
    d->user = user;
    memcpy(d->id, c->id, sizeof(d->id));
    fill_destroy(&request, c->id, c->dir);
    rc = launcher_client_send(v->conf.client, &request, on_destroyed, d, err);
    if (rc) {
        free(d);
        return rc;
    }
    unwatch(c);
    c->state = CONTAINER_DESTROYING;
    return 0;
}

static int ask_to_adopt(struct container *c, struct adit_err *err);

static void not_watched(const struct container *c, const struct adit_err *err)
{
    adit_log(ADIT_LOG_ERROR, "sandbox_not_watched", LOG_S("sandbox", c->id), LOG_ERR(err));
}

/* The launcher has looked at the process. A broker without descriptors ends nobody's work, and a
 * launcher that died is asked again when there is a new one. */
static void on_adopted(void *user, const struct launch_reply *reply, int take_pidfd,
                       const struct adit_err *err)
{
    struct container *c = user;
    struct adit_err why = ADIT_ERR_INIT;
    (void)reply; /* the descriptor is the answer */
    if (c->state != CONTAINER_RUNNING || (err && err->code == ADIT_ERR_CANCELED)) {
        if (take_pidfd >= 0)
            (void)close(take_pidfd); /* nothing to lose */
    } else if (err && err->code == ADIT_ERR_NOT_FOUND) {
        c->state = CONTAINER_ENDED;
        c->vmm->conf.on_exited(c->vmm->conf.owner, c->id, VMM_ENDED_UNWATCHED);
    } else if (err) {
        if (err->code != ADIT_ERR_UNAVAILABLE || ask_to_adopt(c, NULL))
            not_watched(c, err);
    } else if (take_pidfd < 0) {
        (void)adit_err_set(&why, ADIT_ERR_LIMIT, "no descriptor arrived");
        not_watched(c, &why);
    } else if (watch(c, take_pidfd, &why)) {
        not_watched(c, &why);
    }
    unhold(c);
}

static int ask_to_adopt(struct container *c, struct adit_err *err)
{
    struct launch_request request = {
        .kind = LAUNCH_ADOPT, .pid = c->pid, .pid_start = c->pid_start};
    memcpy(request.sandbox_id, c->id, sizeof(request.sandbox_id));
    c->holds++;
    int rc = launcher_client_send(c->vmm->conf.client, &request, on_adopted, c, err);
    if (rc)
        unhold(c);
    return rc;
}

static int adopt(struct vmm *v, const char *sandbox_id, const struct vmm_instance *instance,
                 struct adit_err *err)
{
    struct container *c = NULL;
    char dir[sizeof(instance->target.path)];

    (void)snprintf(dir, sizeof(dir), "%s", instance->target.path);
    char *slash = strrchr(dir, '/');
    if (!slash || instance->slot >= LAUNCH_SLOTS || instance->pid <= 1)
        return adit_err_set(err, ADIT_ERR_NOT_FOUND, "record of sandbox %s names no container",
                            sandbox_id);
    *slash = '\0';
    int rc = add(v, sandbox_id, dir, CONTAINER_RUNNING, &c, err);
    bool is_free = !v->slot_used[instance->slot];
    v->slot_used[instance->slot] = true; /* it may run, whatever else goes wrong */
    if (rc)
        return rc;
    c->pid = instance->pid;
    c->pid_start = instance->pid_start;
    if (is_free)
        c->slot = instance->slot;
    rc = ask_to_adopt(c, err);
    if (rc)
        forget(c);
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
    int rc = launcher_client_send(v->conf.client, &request, on_measured, m, err);
    if (rc)
        free(m);
    return rc;
}

/* ---- the driver --------------------------------------------------------------------------------
 */

int container_open(const struct container_conf *conf, struct vmm **out, struct adit_err *err)
{
    struct vmm *v = calloc(1, sizeof(*v));
    if (!v)
        return adit_err_set(err, ADIT_ERR_NO_MEMORY, "no memory for the container driver");
    v->conf = *conf;
    v->driver = (struct vmm_driver){.name = "container",
                                    .isolation = conf->isolation,
                                    .create = create,
                                    .destroy = destroy,
                                    .adopt = adopt,
                                    .measure = measure};
    adit_map_init(&v->containers);
    *out = v;
    return 0;
}

const struct vmm_driver *container_driver(const struct vmm *v)
{
    return &v->driver;
}

void container_close(struct vmm *v)
{
    struct adit_view key;
    void *value;
    size_t pos = 0;
    while (adit_map_next(&v->containers, &pos, &key, &value)) {
        struct container *c = value;
        c->state = CONTAINER_DESTROYING; /* an explanation on its way finds nobody interested */
        unwatch(c);
        unhold(c);
    }
    adit_map_fini(&v->containers);
    free(v);
}
