/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The table of this host's sandboxes.
 *
 * Theory of operation
 *
 * What: sandbox.c moves one sandbox through its states; here they are kept by id, admitted, looked
 * up by their owners, and taken up again after a restart. A sandbox stays in the table, and its
 * resources stay taken, until the last trace of it is gone. Ownership: the table owns its
 * sandboxes. Look-ups take the team, so nobody gets somebody else's. Trust: records are ours, but
 * read with every check; folders are opened without following links. Failure: a folder without a
 * record is a creation that never began and is removed; a record that cannot be read is left for a
 * person to look at, with an error line.
 */
#include "broker/node/node.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "broker/node/sandbox.h"

#define NS_PER_MS UINT64_C(1000000)
/* Clocks that differ by less were not set, but drift. */
#define NOT_SET_NS INT64_C(1000000000)

static int open_journal(struct node *n, struct adit_err *err)
{
    struct journal_conf conf = {.loop = n->conf.loop,
                                .state_dir = n->conf.state_dir,
                                .retention_ms = n->conf.log_retention_ms,
                                .bytes_max = n->conf.log_bytes_max};
    return journal_open(&conf, &n->journal, err);
}

int node_new(const struct node_conf *conf, struct node **out, struct adit_err *err)
{
    char dir[PATH_MAX];
    int n = snprintf(dir, sizeof(dir), "%s/sandboxes", conf->state_dir);
    if (n < 0 || (size_t)n >= sizeof(dir))
        return adit_err_set(err, ADIT_ERR_BAD_INPUT, "the state directory's path is too long");
    int rc = adit_file_mkdirs(dir, 0700, err);
    if (rc)
        return rc;
    struct node *node = calloc(1, sizeof(*node));
    if (!node)
        return adit_err_set(err, ADIT_ERR_NO_MEMORY, "no memory");
    node->conf = *conf;
    (void)snprintf(node->boot_id, sizeof(node->boot_id), "%s", conf->boot_id);
    node->sandboxes_dir = strdup(dir);
    node->sandboxes_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    adit_map_init(&node->sandboxes);
    if (!node->sandboxes_dir || node->sandboxes_fd < 0) {
        rc = adit_err_sys(err, node->sandboxes_dir ? errno : ENOMEM, "open %s", dir);
        node_free(node);
        return rc;
    }
    rc = open_journal(node, err);
    if (rc) {
        node_free(node);
        return rc;
    }
    *out = node;
    return 0;
}

void node_end_all(struct node *n, const char *reason)
{
    struct adit_view id;
    void *s;
    size_t pos = 0;
    while (adit_map_next(&n->sandboxes, &pos, &id, &s))
        sandbox_end(s, SANDBOX_KILLED, reason);
}

void node_stop(struct node *n)
{
    size_t pos = 0;
    struct adit_view id;
    void *value;
    n->is_stopping = true;
    while (adit_map_next(&n->sandboxes, &pos, &id, &value)) {
        struct sandbox *s = value;
        net_deadline_cancel(&s->end);
        net_deadline_cancel(&s->answer);
        if (s->guest)
            guest_cancel(s->guest);
        s->guest = NULL;
        rotation_cancel(s);
        trust_cancel(s);
        sandbox_stop_watching(s);
    }
    journal_close(n->journal);
}

void node_free(struct node *n)
{
    size_t pos = 0;
    struct adit_view id;
    void *s;
    while (adit_map_next(&n->sandboxes, &pos, &id, &s))
        sandbox_free(s);
    adit_map_fini(&n->sandboxes);
    if (n->journal)
        journal_free(n->journal);
    if (n->sandboxes_fd >= 0)
        (void)close(n->sandboxes_fd); /* a directory */
    free(n->sandboxes_dir);
    free(n);
}

/* ---- creating ---- */

static bool copy_text(char *out, size_t cap, const char *text)
{
    size_t len = strlen(text);
    if (len >= cap)
        return false;
    memcpy(out, text, len + 1);
    return true;
}

static bool copy_session(struct record_session *out, const struct node_create *spec)
{
    if (!spec->session_id)
        return true;
    out->active_ns = adit_clock_wall_ns();
    return copy_text(out->id, sizeof(out->id), spec->session_id) &&
           copy_text(out->type, sizeof(out->type), spec->session_type);
}

int node_describe_sandbox(struct sandbox *s, const struct node_create *spec, struct adit_err *err)
{
    struct record *r = &s->record;
    if (!copy_text(r->team_id, sizeof(r->team_id), spec->team_id) ||
        !copy_text(r->key_id, sizeof(r->key_id), spec->key_id) ||
        !copy_text(r->template_id, sizeof(r->template_id), spec->template_id) ||
        !copy_text(r->alias, sizeof(r->alias), spec->alias) ||
        !copy_text(r->mask_host, sizeof(r->mask_host), spec->mask_host) ||
        !copy_session(&r->session, spec))
        return adit_err_set(err, ADIT_ERR_BAD_INPUT, "a name of the template is too long");
    r->cpu_count = spec->cpu_count;
    r->memory_mb = spec->memory_mb;
    r->disk_mb = spec->disk_mb;
    r->secure = spec->secure;
    r->is_private = spec->is_private;
    r->internet = spec->internet;
    r->started_ns = adit_clock_wall_ns();
    r->end_ns = r->started_ns + (int64_t)(spec->timeout_ms * NS_PER_MS);
    if (spec->metadata) {
        json_decref(r->metadata);
        r->metadata = json_incref(spec->metadata);
    }
    r->network = json_incref(spec->network);
    s->started_mono_ns = adit_clock_mono_ns();
    s->timeout_ms = spec->timeout_ms;
    s->env_vars = json_incref(spec->env_vars);
    (void)snprintf(r->instance.driver, sizeof(r->instance.driver), "%s", s->vmm->name);
    s->template_dir = strdup(spec->template_dir);
    s->default_user = strdup(spec->default_user);
    s->default_workdir = strdup(spec->default_workdir);
    if (!s->template_dir || !s->default_user || !s->default_workdir)
        return adit_err_set(err, ADIT_ERR_NO_MEMORY, "no memory");
    return trust_prepare(r, r->network, err);
}

static int enter_table(struct sandbox *s, struct adit_err *err)
{
    struct adit_view id = adit_view_str(s->record.sandbox_id);
    if (adit_map_get(&s->node->sandboxes, id))
        return adit_err_set(err, ADIT_ERR_EXISTS, "sandbox %s exists already",
                            s->record.sandbox_id);
    if (adit_map_put(&s->node->sandboxes, id, s))
        return adit_err_set(err, ADIT_ERR_NO_MEMORY, "no memory");
    return 0;
}

/* Enter the table, take resources, begin; nothing stays of a failure. One that exists already is
 * that and nothing else, also on a full node. */
int node_admit_sandbox(struct sandbox *s, struct adit_err *err)
{
    struct admission *a = &s->node->conf.admission;
    struct admission_ask ask = sandbox_ask(s);
    int rc = enter_table(s, err);
    if (rc)
        return rc;
    rc = admission_take(a, &ask, err);
    if (rc == 0 && (rc = sandbox_begin(s, err)))
        admission_give_back(a, &ask);
    if (rc)
        (void)adit_map_del(&s->node->sandboxes, adit_view_str(s->record.sandbox_id)); /* it is s */
    return rc;
}

int node_create(struct node *n, const struct node_create *spec, node_created_fn on_done, void *user,
                struct adit_err *err)
{
    if (n->is_stopping)
        return adit_err_set(err, ADIT_ERR_UNAVAILABLE, "this node is stopping");
    if (!sandbox_id_is_valid(adit_view_str(spec->sandbox_id)))
        return adit_err_set(err, ADIT_ERR_BAD_INPUT, "Invalid sandbox ID");
    struct vmm *vmm = vmm_set_choose(n->conf.vmms, spec->isolation);
    if (!vmm)
        return adit_err_set(err, ADIT_ERR_UNAVAILABLE, "this host has no isolation '%s'",
                            spec->isolation);
    struct sandbox *s = sandbox_new(n, spec->sandbox_id);
    if (!s)
        return adit_err_set(err, ADIT_ERR_NO_MEMORY, "no memory");
    s->vmm = vmm;
    s->created = on_done;
    s->created_user = user;
    int rc = node_describe_sandbox(s, spec, err);
    if (rc == 0)
        rc = node_admit_sandbox(s, err);
    n->stats.creates_refused += rc != 0;
    if (rc)
        sandbox_free(s);
    return rc;
}

void node_on_sandbox_over(struct sandbox *s)
{
    struct node *n = s->node;
    struct admission_ask ask = sandbox_ask(s);
    (void)adit_map_del(&n->sandboxes, adit_view_str(s->record.sandbox_id)); /* it is s */
    admission_give_back(&n->conf.admission, &ask);
    node_warm_changed(s);
    sandbox_free(s);
}

/* ---- finding and changing ---- */

static bool is_visible(const struct sandbox *s, const char *team_id)
{
    return s->phase == SANDBOX_PHASE_RUNNING && !s->is_ending &&
           strcmp(s->record.team_id, team_id) == 0;
}

bool node_has(const struct node *n, const char *sandbox_id)
{
    return adit_map_get(&n->sandboxes, adit_view_str(sandbox_id)) != NULL;
}

struct sandbox *node_find(const struct node *n, const char *team_id, const char *sandbox_id)
{
    struct sandbox *s = adit_map_get(&n->sandboxes, adit_view_str(sandbox_id));
    return s && is_visible(s, team_id) ? s : NULL;
}

const char *node_owner(const struct node *n, const char *sandbox_id)
{
    const struct sandbox *s = adit_map_get(&n->sandboxes, adit_view_str(sandbox_id));
    return s && is_visible(s, s->record.team_id) ? s->record.team_id : NULL;
}

struct sandbox *node_next_any(const struct node *n, size_t *pos)
{
    struct adit_view id;
    void *s;
    while (adit_map_next(&n->sandboxes, pos, &id, &s))
        if (!sandbox_is_unclaimed(s))
            return s;
    return NULL;
}

struct sandbox *node_next(const struct node *n, const char *team_id, size_t *pos)
{
    struct sandbox *s;
    while ((s = node_next_any(n, pos)))
        if (is_visible(s, team_id))
            return s;
    return NULL;
}

struct sandbox *node_next_living(const struct node *n, const char *team_id, size_t *pos)
{
    struct sandbox *s;
    while ((s = node_next_any(n, pos)))
        if (!s->is_ending && strcmp(s->record.team_id, team_id) == 0)
            return s;
    return NULL;
}

void node_kill(struct sandbox *s, const char *reason, node_done_fn on_done, void *user)
{
    s->ended = on_done;
    s->ended_user = user;
    net_deadline_arm(&s->answer, NODE_END_WAIT_MS);
    sandbox_end(s, SANDBOX_KILLED, reason);
}

static int move_end(struct sandbox *s, uint64_t from_now_ms, bool is_lazy, node_done_fn on_done,
                    void *user)
{
    uint64_t was_mono_ns = s->end_mono_ns;
    int64_t was_ns = s->record.end_ns;
    sandbox_set_end(s, from_now_ms);
    int rc = sandbox_save(s, is_lazy, on_done, user);
    if (rc == 0)
        return 0;
    s->record.end_ns = was_ns;
    s->end_mono_ns = was_mono_ns;
    net_deadline_arm(&s->end, node_remaining_ms(s));
    return rc;
}

int node_set_timeout(struct sandbox *s, uint64_t from_now_ms, node_done_fn on_done, void *user)
{
    return move_end(s, from_now_ms, false, on_done, user);
}

int node_use_session(struct sandbox *s, uint64_t from_now_ms)
{
    s->record.session.active_ns = adit_clock_wall_ns();
    return move_end(s, from_now_ms, true, NULL, NULL);
}

int node_set_network(struct sandbox *s, json_t *network, enum record_internet internet,
                     node_done_fn on_done, void *user, struct adit_err *err)
{
    if (trust_is_missing(&s->record, network))
        return trust_start(s, network, internet, on_done, user, err);
    json_t *was_network = s->record.network;
    enum record_internet was_internet = s->record.internet;
    s->record.network = json_incref(network);
    s->record.internet = internet;
    int rc = sandbox_save(s, false, on_done, user);
    if (rc == 0) {
        json_decref(was_network);
        return 0;
    }
    json_decref(s->record.network);
    s->record.network = was_network;
    s->record.internet = was_internet;
    return adit_err_set(err, rc, "the new rules cannot be recorded");
}

int node_rotate_tokens(struct sandbox *s, node_done_fn on_done, void *user, struct adit_err *err)
{
    if (!s->record.secure)
        return adit_err_set(err, ADIT_ERR_PRECONDITION,
                            "this sandbox has no tokens: it was created without 'secure'");
    return rotation_start(s, on_done, user, err);
}

void node_exited(struct node *n, const char *sandbox_id, const char *reason)
{
    struct sandbox *s = adit_map_get(&n->sandboxes, adit_view_str(sandbox_id));
    if (s && !n->is_stopping)
        sandbox_exited(s, reason);
}

int node_read_samples(const struct sandbox *s, int64_t start_ms, int64_t end_ms,
                      sample_file_read_fn on_done, void *user)
{
    const struct node *n = s->node;
    return sample_file_read(n->conf.loop->uv, n->sandboxes_fd, s->record.sandbox_id, start_ms,
                            end_ms, on_done, user);
}

const struct egress_sandbox *node_egress(const struct sandbox *s)
{
    return s->egress;
}

const struct sample *node_last_sample(const struct sandbox *s)
{
    return s->sampler.has_last ? &s->sampler.last : NULL;
}

struct journal *node_journal(const struct node *n)
{
    return n->journal;
}

const struct sampler_stats *node_sampling(const struct node *n)
{
    return &n->sampling;
}

/* The gauges are counted when they are asked for: a node has few sandboxes, and no way for its
 * counts to drift. */
struct node_stats node_stats(const struct node *n)
{
    struct node_stats stats = n->stats;
    const struct sandbox *s;
    size_t pos = 0;
    while ((s = node_next_any(n, &pos))) {
        stats.ending += s->is_ending;
        stats.running += !s->is_ending && s->phase == SANDBOX_PHASE_RUNNING;
        stats.creating += !s->is_ending && s->phase < SANDBOX_PHASE_RUNNING;
    }
    return stats;
}

const struct record *node_record(const struct sandbox *s)
{
    return &s->record;
}

uint64_t node_remaining_ms(const struct sandbox *s)
{
    uint64_t now = adit_clock_mono_ns();
    return s->end_mono_ns > now ? (s->end_mono_ns - now) / NS_PER_MS : 0;
}

uint64_t node_age_ms(const struct sandbox *s)
{
    return (adit_clock_mono_ns() - s->started_mono_ns) / NS_PER_MS;
}

uint64_t node_within_life_ms(const struct sandbox *s, uint64_t ms, uint64_t max_ms)
{
    uint64_t age = node_age_ms(s);
    uint64_t left = age < max_ms ? max_ms - age : 0;
    return ms < left ? ms : left;
}

const struct admission *node_admission(const struct node *n)
{
    return &n->conf.admission;
}

const char *node_isolation(const struct sandbox *s)
{
    return s->vmm->isolation;
}

const struct vmm_set *node_vmms(const struct node *n)
{
    return n->conf.vmms;
}

/* ---- adoption ---- */

static int64_t distance(int64_t a, int64_t b)
{
    return a > b ? a - b : b - a;
}

/* The monotonic clock has gone on since the record was written: it counts, whatever happened to the
 * wall clock, and what clients are told follows it. */
static void restore_same_boot(struct sandbox *s)
{
    uint64_t mono = adit_clock_mono_ns();
    int64_t shift = adit_clock_wall_ns() - (int64_t)mono;
    s->started_mono_ns = (uint64_t)s->record.started_mono_ns;
    if (s->started_mono_ns > mono)
        s->started_mono_ns = mono; /* damaged: an age is never negative */
    s->end_mono_ns = (uint64_t)s->record.end_mono_ns;
    if (distance(s->record.end_ns, s->record.end_mono_ns + shift) > NOT_SET_NS)
        s->record.end_ns = s->record.end_mono_ns + shift;
}

/* Since a boot of the host, the wall clock alone says how long it has run and how much is left. */
static void restore_clocks(struct sandbox *s)
{
    if (s->record.boot_id[0] && strcmp(s->record.boot_id, s->node->boot_id) == 0) {
        restore_same_boot(s);
        return;
    }
    int64_t now = adit_clock_wall_ns();
    int64_t age = now > s->record.started_ns ? now - s->record.started_ns : 0;
    uint64_t mono = adit_clock_mono_ns();
    s->started_mono_ns = mono > (uint64_t)age ? mono - (uint64_t)age : 0;
    s->end_mono_ns = mono;
    if (s->record.end_ns > now)
        s->end_mono_ns += (uint64_t)(s->record.end_ns - now);
}

static void take_up_running(struct sandbox *s)
{
    struct adit_err err = ADIT_ERR_INIT;
    int rc = s->vmm->driver->adopt(s->vmm, s->record.sandbox_id, &s->record.instance, &err);
    if (rc && rc != ADIT_ERR_NOT_FOUND) { /* a broker without descriptors ends nobody's work */
        adit_log(ADIT_LOG_ERROR, "sandbox_not_watched", LOG_S("sandbox", s->record.sandbox_id),
                 LOG_ERR(&err));
        rc = 0;
    }
    if (rc == 0)
        rc = sandbox_resume_running(s, &err);
    adit_log(rc ? ADIT_LOG_WARN : ADIT_LOG_INFO, rc ? "sandbox_not_adopted" : "sandbox_adopted",
             LOG_S("sandbox", s->record.sandbox_id), LOG_ERR(&err));
    if (rc)
        sandbox_end(s, SANDBOX_FAILED, VMM_ENDED_UNWATCHED);
    else
        net_deadline_arm(&s->end, node_remaining_ms(s));
}

/* The pool decides later whether it stays. */
static void take_up_warm(struct sandbox *s)
{
    struct adit_err err = ADIT_ERR_INIT;
    if (s->vmm->driver->adopt(s->vmm, s->record.sandbox_id, &s->record.instance, &err))
        sandbox_end(s, SANDBOX_FAILED, err.msg);
    else
        sandbox_resume_warm(s);
}

static void take_up(struct sandbox *s)
{
    struct admission_ask ask = sandbox_ask(s);
    struct adit_err err = ADIT_ERR_INIT;
    if (enter_table(s, &err)) {
        adit_log(ADIT_LOG_ERROR, "sandbox_not_adopted", LOG_ERR(&err));
        sandbox_free(s);
        return;
    }
    admission_force(&s->node->conf.admission, &ask);
    s->is_pooled = s->record.warm_build_id[0] && !s->record.team_id[0];
    s->phase = SANDBOX_PHASE_RUNNING;
    restore_clocks(s);
    if (s->record.state == SANDBOX_CREATING)
        sandbox_end(s, SANDBOX_FAILED, "its creation was interrupted");
    else if (s->record.state == SANDBOX_WARM)
        take_up_warm(s);
    else if (s->record.state != SANDBOX_RUNNING)
        sandbox_end(s, s->record.state, s->record.reason);
    else
        take_up_running(s);
}

/* What a sandbox of an earlier broker runs in; NULL: not known here. A creation that was broken off
 * may not have said it, and whichever driver ends it. */
static struct vmm *made_by(const struct node *n, const struct record *r)
{
    const struct vmm_set *vmms = n->conf.vmms;
    return r->instance.driver[0] ? vmm_set_named(vmms, r->instance.driver) : vmms->fallback;
}

/* Read one file of a folder. Errors: also NOT_FOUND, for one that is not there or blank. */
static int read_file(const struct node *n, const char *name, const char *file, struct record *out,
                     struct adit_err *err)
{
    char path[SANDBOX_ID_CAP + 32];
    struct adit_buf text;
    adit_buf_init(&text, RECORD_CAP);
    (void)snprintf(path, sizeof(path), "%s/%s", name, file); /* names of ours fit */
    int rc = adit_file_read(n->sandboxes_fd, path, &text, err);
    struct adit_view content = adit_view_trim(adit_buf_view(&text));
    if (rc == 0 && content.len == 0)
        rc = adit_err_set(err, ADIT_ERR_NOT_FOUND, "the record is empty");
    if (rc == 0)
        rc = record_decode(content, out, err);
    adit_buf_fini(&text);
    if (rc)
        return rc;
    if (strcmp(out->sandbox_id, name) != 0)
        rc = adit_err_set(err, ADIT_ERR_BAD_INPUT, "the record is another sandbox's");
    else if (!made_by(n, out))
        rc = adit_err_set(err, ADIT_ERR_BAD_INPUT, "the record's driver is unknown: %s",
                          out->instance.driver);
    if (rc)
        record_fini(out);
    return rc;
}

/* One that waited may have been claimed. A claim that cannot be read was not answered yet; its
 * sandbox must not be handed out again. */
static void read_claim(const struct node *n, const char *name, struct record *r)
{
    struct record claim;
    int rc = read_file(n, name, RECORD_FILE_CLAIM_NAME, &claim, NULL);
    if (rc == ADIT_ERR_NOT_FOUND)
        return;
    if (rc) {
        r->state = SANDBOX_CREATING;
        return;
    }
    record_fini(r);
    *r = claim;
}

/* Read one folder's record. *absent: there is none; or a crash of the machine came before its bytes
 * were on disk. */
static int read_record(const struct node *n, const char *name, struct record *out, bool *absent,
                       struct adit_err *err)
{
    int rc = read_file(n, name, RECORD_FILE_NAME, out, err);
    *absent = rc == ADIT_ERR_NOT_FOUND;
    if (rc == 0 && out->state == SANDBOX_WARM)
        read_claim(n, name, out);
    return rc;
}

static void adopt_folder(struct node *n, const char *name)
{
    struct adit_err err = ADIT_ERR_INIT;
    struct record record;
    bool absent = false;
    if (!sandbox_id_is_valid(adit_view_str(name))) {
        adit_log(ADIT_LOG_ERROR, "sandbox_folder_refused", LOG_S("name", name));
        return;
    }
    int rc = read_record(n, name, &record, &absent, &err);
    if (rc && !absent) {
        adit_log(ADIT_LOG_ERROR, "sandbox_record_refused", LOG_S("sandbox", name), LOG_ERR(&err));
        return;
    }
    struct sandbox *s = sandbox_new(n, name);
    if (!s) {
        adit_log(ADIT_LOG_ERROR, "sandbox_not_adopted", LOG_S("sandbox", name));
        if (rc == 0)
            record_fini(&record);
        return;
    }
    if (rc == 0) {
        record_fini(&s->record);
        s->record = record;
    }
    s->vmm = made_by(n, &s->record);
    take_up(s);
}

void node_adopt(struct node *n)
{
    int fd = fcntl(n->sandboxes_fd, F_DUPFD_CLOEXEC, 0);
    DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
    if (!dir) {
        adit_log(ADIT_LOG_ERROR, "sandboxes_not_read", LOG_D("errno", errno));
        if (fd >= 0)
            (void)close(fd); /* a directory */
        return;
    }
    rewinddir(dir);
    struct dirent *entry;
    while ((entry = readdir(dir)))
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            adopt_folder(n, entry->d_name);
    (void)closedir(dir); /* only read */
}
