/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The states of one sandbox.
 *
 * Theory of operation
 *
 *                           WARMING → SAVING_WARM → WARM → CLAIMING
 *                         ↗   envd      record              record ↘
 *   SAVING_CREATING → STARTING ────────────────────────────────→ WAKING → SAVING_RUNNING → RUNNING
 *     record            driver                                    envd     record, claim     |
 *        |________________|_________________________________________|________|_______________|
 *                                                               v
 *   gone ← RELEASING ← REMOVING ← DESTROYING ← WITHDRAWING ← SAVING_END
 *          scheduler   folder     driver       edge          record
 *
 * What: a phase begins by starting its work (begin_phase) and ends when nothing is pending
 * (sandbox_work_done). set_state() is the one function that changes the state: it puts the change
 * on record, and only then do the phases after it act on the outside. An end that is asked for
 * during a creation waits for the work in hand (a guest that is being woken is left at once).
 * The way round by WARM is that of the pool: such a sandbox is nobody's, and told of nobody, until
 * it is claimed; what is kept and told of a sandbox begins there. Ownership: in node.sandboxes from
 * sandbox_begin() until the last phase. Failure: before RUNNING an error turns the creation into an
 * end, and the caller hears of it when everything is undone. Afterwards errors do not stop an end:
 * what cannot be written is logged, what cannot be withdrawn or destroyed is tried again every
 * NODE_DESTROY_RETRY_MS, a folder that cannot be removed NODE_REMOVALS_MAX times, and what a broker
 * leaves the next one finishes.
 */
#include "broker/node/sandbox.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/rand.h"
#include "broker/egress/egress_authority.h"

#define NS_PER_MS UINT64_C(1000000)

static void begin_phase(struct sandbox *s, enum sandbox_phase phase);

/* ---- birth and death of the object ---- */

static void on_end_due(struct net_deadline *d);
static void on_answer_due(struct net_deadline *d);

struct sandbox *sandbox_new(struct node *n, const char *sandbox_id)
{
    struct sandbox *s = calloc(1, sizeof(*s));
    if (!s)
        return NULL;
    if (record_init(&s->record)) {
        free(s);
        return NULL;
    }
    memcpy(s->record.sandbox_id, sandbox_id, strlen(sandbox_id) + 1);
    s->node = n;
    record_file_init(&s->file, n->conf.loop->uv, n->sandboxes_fd, sandbox_id);
    net_deadline_init(&s->end, n->conf.loop, on_end_due);
    net_deadline_init(&s->answer, n->conf.loop, on_answer_due);
    sampler_init(&s->sampler, n->conf.loop, &n->sampling, n->sandboxes_fd, s->record.sandbox_id);
    return s;
}

/* What only a creation needs. */
static void drop_boot(struct sandbox *s)
{
    json_decref(s->env_vars);
    s->env_vars = NULL;
    free(adit_steal(&s->template_dir));
    free(adit_steal(&s->default_user));
    free(adit_steal(&s->default_workdir));
}

void sandbox_free(struct sandbox *s)
{
    net_deadline_cancel(&s->end);
    net_deadline_cancel(&s->answer);
    sandbox_stop_watching(s);
    drop_boot(s);
    record_file_fini(&s->file);
    json_decref(s->settled.network);
    record_fini(&s->record);
    free(s);
}

struct admission_ask sandbox_ask(const struct sandbox *s)
{
    return (struct admission_ask){s->record.cpu_count, s->record.memory_mb, s->record.disk_mb};
}

bool sandbox_is_unclaimed(const struct sandbox *s)
{
    return s->is_pooled && !s->record.team_id[0];
}

/* ---- answers to those who wait ---- */

static void answer_created(struct sandbox *s, const struct adit_err *err)
{
    node_created_fn created = adit_steal(&s->created);
    net_deadline_cancel(&s->answer);
    if (created && err)
        s->node->stats.creates_failed++;
    else if (created)
        s->node->stats.creates_ok++;
    if (created)
        created(s->created_user, err ? NULL : s, err);
}

static void answer_ended(struct sandbox *s, const struct adit_err *err)
{
    node_done_fn ended = adit_steal(&s->ended);
    net_deadline_cancel(&s->answer);
    if (ended)
        ended(s->ended_user, err);
}

static void on_answer_due(struct net_deadline *d)
{
    struct sandbox *s = ADIT_CONTAINER_OF(d, struct sandbox, answer);
    struct adit_err err = ADIT_ERR_INIT;
    if (s->ended) {
        (void)adit_err_set(&err, ADIT_ERR_TIMEOUT, "the sandbox is still being ended");
        answer_ended(s, &err);
    }
    if (s->created || s->phase < SANDBOX_PHASE_WARM) {
        (void)adit_err_set(&err, ADIT_ERR_TIMEOUT, "the sandbox was not ready in time");
        answer_created(s, &err);
        sandbox_end(s, SANDBOX_FAILED, "not ready in time");
    }
}

/* ---- the state and its record ---- */

/* Reasons come from drivers and errors, and go into JSON: printable ASCII only. */
static void copy_reason(char out[RECORD_REASON_CAP], const char *reason)
{
    size_t i = 0;
    for (; reason[i] && i < RECORD_REASON_CAP - 1; i++)
        out[i] = reason[i] >= ' ' && reason[i] <= '~' ? reason[i] : '?';
    out[i] = '\0';
}

static void sandbox_work_done(struct sandbox *s, const struct adit_err *err);

static void on_work_done(void *user, const struct adit_err *err)
{
    sandbox_work_done(user, err);
}

void sandbox_path(const struct sandbox *s, char out[], size_t cap)
{
    (void)snprintf(out, cap, "%s/%s", s->node->sandboxes_dir, s->record.sandbox_id);
}

/* ---- what is told about it ---- */

/* The change, in the log of the sandbox itself; that log begins with an owner. */
static void journal_state(struct sandbox *s)
{
    static const char *const messages[] = {"sandbox is being created", "sandbox runs",
                                           "sandbox ended", "sandbox failed"};
    const struct record *r = &s->record;
    bool is_begin = r->state == SANDBOX_CREATING || r->state == SANDBOX_RUNNING;
    struct journal_field begin[] = {
        {"template", r->template_id}, {"isolation", s->vmm->isolation}, {NULL, NULL}};
    struct journal_field end[] = {{"reason", r->reason}, {NULL, NULL}};
    if (!s->log)
        s->log = journal_log_open(s->node->journal, r->sandbox_id, r->team_id);
    journal_log_add(s->log, r->state == SANDBOX_FAILED ? ADIT_LOG_ERROR : ADIT_LOG_INFO,
                    messages[r->state], is_begin ? begin : end);
}

void sandbox_envd_token(const struct sandbox *s, char out[TOKENS_CAP])
{
    out[0] = '\0';
    if (s->record.secure)
        tokens_envd(s->node->conf.tokens, s->record.sandbox_id, record_generation(&s->record), out);
}

static void on_measured(void *owner, const char *sandbox_id, const struct vmm_usage *usage)
{
    const struct node *n = owner;
    struct sandbox *s = adit_map_get(&n->sandboxes, adit_view_str(sandbox_id));
    if (s)
        sampler_on_usage(&s->sampler, usage);
}

static bool ask_host(void *owner)
{
    const struct sandbox *s = owner;
    return s->vmm->driver->measure &&
           s->vmm->driver->measure(s->vmm, s->record.sandbox_id, on_measured, s->node, NULL) == 0;
}

/* Without samples a sandbox is as good as with them. */
static void start_sampling(struct sandbox *s, uint64_t first_ms)
{
    char token[TOKENS_CAP];
    struct adit_err err = ADIT_ERR_INIT;
    sandbox_envd_token(s, token);
    s->sampler.host = (struct sampler_host){ask_host, s, s->record.cpu_count};
    if (sampler_start(&s->sampler, &s->record.instance.target, token, first_ms, &err))
        adit_log(ADIT_LOG_WARN, "sandbox_not_sampled", LOG_S("sandbox", s->record.sandbox_id),
                 LOG_ERR(&err));
}

/* No talk runs. */
static void close_channel(struct sandbox *s)
{
    if (s->channel)
        http_pool_close(adit_steal(&s->channel));
}

void sandbox_stop_watching(struct sandbox *s)
{
    close_channel(s);
    sampler_stop(&s->sampler);
    console_close(adit_steal(&s->console));
    journal_log_close(adit_steal(&s->log));
}

static void tell_state(struct sandbox *s)
{
    journal_state(s);
    s->node->stats.ends_killed += s->record.state == SANDBOX_KILLED;
    s->node->stats.ends_failed += s->record.state == SANDBOX_FAILED;
}

static void change_state(struct sandbox *s, enum sandbox_state state, const char *reason)
{
    s->record.state = state;
    copy_reason(s->record.reason, reason);
    adit_log(state == SANDBOX_FAILED ? ADIT_LOG_WARN : ADIT_LOG_INFO, "sandbox_state",
             LOG_S("sandbox", s->record.sandbox_id), LOG_S("state", record_state_name(state)),
             LOG_S("reason", s->record.reason), LOG_S("template", s->record.template_id),
             LOG_S("isolation", s->vmm->isolation), LOG_U("age_ms", node_age_ms(s)));
    if (state != SANDBOX_WARM && !sandbox_is_unclaimed(s))
        tell_state(s);
}

/*
 * The one way to another state. The phase goes on when it is on record. What is promised to a
 * client is on the disk (R1); beginnings and ends have to survive the broker only, because a crash
 * of the machine ends the sandbox too, and a record that says otherwise is found out at the next
 * start.
 */
static int set_state(struct sandbox *s, enum sandbox_state state, const char *reason)
{
    change_state(s, state, reason);
    if (state == SANDBOX_WARM)
        return sandbox_save_warm(s, on_work_done, s);
    return sandbox_save(s, state != SANDBOX_RUNNING, on_work_done, s);
}

/* ---- one that waits is taken ---- */

/* Its claim may have come meanwhile. */
static void on_marked(void *user, const struct adit_err *err)
{
    struct sandbox *s = user;
    s->mark_cnt--;
    if (s->phase == SANDBOX_PHASE_CLAIMING && (err || s->mark_cnt == 0))
        sandbox_work_done(s, err);
    else if (err && s->phase == SANDBOX_PHASE_WARM && !s->node->is_stopping)
        sandbox_end(s, SANDBOX_FAILED, err->msg);
}

int sandbox_mark_taken(struct sandbox *s, bool is_taken)
{
    static const struct adit_view mark = ADIT_VIEW("taken"), none = ADIT_VIEW("");
    int rc =
        record_file_save(&s->file, is_taken ? mark : none, true, is_taken ? on_marked : NULL, s);
    if (rc)
        return rc;
    s->is_taken = is_taken;
    s->mark_cnt += is_taken;
    return 0;
}

void sandbox_set_end(struct sandbox *s, uint64_t ms)
{
    s->end_mono_ns = adit_clock_mono_ns() + ms * NS_PER_MS;
    s->record.end_ns = adit_clock_wall_ns() + (int64_t)(ms * NS_PER_MS);
    net_deadline_arm(&s->end, ms);
}

/* ---- what each phase does; 0: work is under way ---- */

static void on_vmm_created(void *user, const struct vmm_instance *instance,
                           const struct adit_err *err)
{
    struct sandbox *s = user;
    if (!err)
        s->record.instance = *instance;
    if (!err && !s->node->is_stopping)
        sandbox_watch_console(s);
    sandbox_work_done(s, err);
}

static int start_driver(struct sandbox *s, struct adit_err *err)
{
    char dir[PATH_MAX];
    sandbox_path(s, dir, sizeof(dir));
    struct vmm_spec spec = {
        .sandbox_id = s->record.sandbox_id,
        .template_id = s->record.template_id,
        .template_dir = s->template_dir,
        .sandbox_dir = dir,
        .cpu_count = s->record.cpu_count,
        .memory_mb = s->record.memory_mb,
        .disk_mb = s->record.disk_mb,
        .pids_max = s->node->conf.pids_max,
    };
    return s->vmm->driver->create(s->vmm, &spec, on_vmm_created, s, err);
}

static void on_guest_ready(void *user, const struct adit_err *err)
{
    struct sandbox *s = user;
    s->guest = NULL;
    sandbox_work_done(s, err);
}

static int talk_to_guest(struct sandbox *s, enum guest_talk talk, struct adit_err *err)
{
    char token[TOKENS_CAP];
    sandbox_envd_token(s, token);
    struct guest_conf conf = {
        .loop = s->node->conf.loop,
        .talk = talk,
        .target = s->record.instance.target,
        .channel = s->channel,
        .sandbox_id = s->record.sandbox_id,
        .template_id = s->record.template_id,
        .has_own_kernel = s->vmm->boot_ms > 0,
        .env_vars = s->env_vars,
        .ca_bundle = s->record.authority ? egress_authority_certificate(s->record.authority) : NULL,
        .token = token,
        .default_user = s->default_user,
        .default_workdir = s->default_workdir,
        .deadline_ms =
            talk == GUEST_INIT ? NODE_WARM_CLAIM_MS : s->node->conf.ready_ms + s->vmm->boot_ms,
    };
    return guest_start(&conf, on_guest_ready, s, &s->guest, err);
}

static void log_unconfirmed(const struct sandbox *s, const struct adit_err *err)
{
    adit_log(ADIT_LOG_WARN, "sandbox_not_confirmed", LOG_S("sandbox", s->record.sandbox_id),
             LOG_ERR(err));
}

/* The scheduler's record is a copy of ours and is brought in line at the next registration, so its
 * silence does not undo a sandbox. */
static void on_confirmed(void *user, const struct adit_err *err)
{
    if (err)
        log_unconfirmed(user, err);
    sandbox_work_done(user, NULL);
}

static void confirm(struct sandbox *s, node_done_fn on_done)
{
    const struct node_conf *conf = &s->node->conf;
    struct adit_err err = ADIT_ERR_INIT;
    if (conf->ops->confirm(conf->owner, s->record.sandbox_id, on_done, s, &err))
        log_unconfirmed(s, &err);
    else if (on_done)
        s->pending++;
}

/* It is told its id, and neither token nor anything else of an owner; so the claim finds the guest
 * as far as it can be. Without a connection that stands one is made for each talk. */
static int warm_guest(struct sandbox *s, struct adit_err *err)
{
    const struct http_target *target = &s->record.instance.target;
    (void)guest_channel_new(s->node->conf.loop, target, NODE_WARM_CHANNEL_MS, &s->channel, NULL);
    return talk_to_guest(s, GUEST_HEALTH_AND_INIT, err);
}

static int save_running(struct sandbox *s)
{
    s->started_mono_ns = adit_clock_mono_ns();
    s->record.started_ns = adit_clock_wall_ns();
    sandbox_set_end(s, s->timeout_ms);
    s->record.end_ns = s->record.started_ns + (int64_t)(s->timeout_ms * NS_PER_MS);
    int rc = set_state(s, SANDBOX_RUNNING, "");
    if (rc == 0 && !s->is_pooled)
        confirm(s, on_confirmed);
    return rc;
}

static void fill_route(const struct sandbox *s, struct edge_route *out)
{
    const struct record *r = &s->record;
    *out = (struct edge_route){.target = r->instance.target, .is_private = r->is_private};
    memcpy(out->sandbox_id, r->sandbox_id, sizeof(r->sandbox_id));
    memcpy(out->mask_host, r->mask_host, sizeof(r->mask_host));
    sandbox_envd_token(s, out->envd_token);
    if (r->is_private)
        tokens_traffic(s->node->conf.tokens, r->sandbox_id, record_generation(r),
                       out->traffic_token);
}

static int publish(struct sandbox *s, struct adit_err *err)
{
    struct edge_route route;
    fill_route(s, &route);
    return s->node->conf.ops->publish(s->node->conf.owner, &route, err);
}

int sandbox_republish(struct sandbox *s, void (*on_done)(void *user), struct adit_err *err)
{
    struct edge_route route;
    fill_route(s, &route);
    return s->node->conf.ops->republish(s->node->conf.owner, &route, on_done, s, err);
}

void sandbox_use_tokens(struct sandbox *s)
{
    char token[TOKENS_CAP];
    sandbox_envd_token(s, token);
    if (sampler_set_token(&s->sampler, token)) {
        sampler_stop(&s->sampler);
        adit_log(ADIT_LOG_WARN, "sandbox_not_sampled", LOG_S("sandbox", s->record.sandbox_id));
    }
}

static void on_withdrawn(void *user)
{
    sandbox_work_done(user, NULL);
}

static int start_destroy(struct sandbox *s, struct adit_err *err)
{
    char dir[PATH_MAX];
    sandbox_path(s, dir, sizeof(dir));
    return s->vmm->driver->destroy(s->vmm, s->record.sandbox_id, dir, &s->record.instance,
                                   on_work_done, s, err);
}

static int start_removal(struct sandbox *s)
{
    char at[ADIT_CLOCK_RFC3339_CAP];
    struct adit_buf line;
    if (s->removals++) /* its end is noted */
        return record_file_remove(&s->file, adit_view_str(""), on_work_done, s);
    adit_clock_format_ms(adit_clock_wall_ns(), at);
    adit_buf_init(&line, 2048);
    int rc = adit_buf_appendf(&line,
                              "{\"at\":\"%s\",\"sandboxID\":\"%s\",\"state\":\"%s\",\"reason\":\"",
                              at, s->record.sandbox_id, record_state_name(s->record.state));
    if (rc == 0)
        rc = adit_buf_append_json_text(&line, adit_view_str(s->record.reason));
    if (rc == 0)
        rc = adit_buf_append_str(&line, "\"}\n");
    if (rc == 0)
        rc = record_file_remove(&s->file, adit_buf_view(&line), on_work_done, s);
    adit_buf_fini(&line);
    return rc;
}

/* What its programs ask for at once is there when clients hear of it. */
static int begin_running(struct sandbox *s, struct adit_err *err)
{
    int rc = sandbox_open_egress(s, err);
    return rc ? rc : publish(s, err);
}

static int start_withdrawal(struct sandbox *s, struct adit_err *err)
{
    const struct node_conf *conf = &s->node->conf;
    sandbox_close_egress(s);
    return conf->ops->withdraw(conf->owner, s->record.sandbox_id, on_withdrawn, s, err);
}

static int start_work(struct sandbox *s, struct adit_err *err)
{
    const struct node_conf *conf = &s->node->conf;
    switch (s->phase) {
    case SANDBOX_PHASE_SAVING_CREATING:
        return set_state(s, SANDBOX_CREATING, "");
    case SANDBOX_PHASE_STARTING:
        return start_driver(s, err);
    case SANDBOX_PHASE_WARMING:
        return warm_guest(s, err);
    case SANDBOX_PHASE_SAVING_WARM:
        return set_state(s, SANDBOX_WARM, "");
    case SANDBOX_PHASE_WARM:
        return 0;
    case SANDBOX_PHASE_CLAIMING: /* on record already, or on its way: it is marked as taken */
        change_state(s, SANDBOX_CREATING, "");
        return 0;
    case SANDBOX_PHASE_WAKING:
        return talk_to_guest(s, s->is_pooled ? GUEST_INIT : GUEST_HEALTH_AND_INIT, err);
    case SANDBOX_PHASE_SAVING_RUNNING:
        return save_running(s);
    case SANDBOX_PHASE_RUNNING:
        return begin_running(s, err);
    case SANDBOX_PHASE_SAVING_END:
        return set_state(s, s->end_state, s->end_reason);
    case SANDBOX_PHASE_WITHDRAWING:
        return start_withdrawal(s, err);
    case SANDBOX_PHASE_DESTROYING:
        return start_destroy(s, err);
    case SANDBOX_PHASE_REMOVING:
        return start_removal(s);
    case SANDBOX_PHASE_RELEASING:
        return conf->ops->release(conf->owner, s->record.sandbox_id, s->record.reason, on_work_done,
                                  s, err);
    }
    return ADIT_ERR_BUG;
}

/* ---- the machine ---- */

/* Until sandbox_begin_claim(). */
static void become_warm(struct sandbox *s)
{
    s->pending = 0;
    drop_boot(s);
    net_deadline_cancel(&s->answer);
    node_warm_changed(s);
}

static void become_running(struct sandbox *s)
{
    s->pending = 0;
    drop_boot(s);
    record_file_leave_claim(&s->file);
    close_channel(s);
    start_sampling(s, SAMPLER_FIRST_MS);
    if (s->is_pooled)
        confirm(s, NULL); /* it is on record here, so nobody waits for the copy */
    node_warm_changed(s);
    answer_created(s, NULL);
}

static void begin_phase(struct sandbox *s, enum sandbox_phase phase)
{
    struct adit_err err = ADIT_ERR_INIT;
    s->phase = phase;
    s->pending = 1;
    int rc = start_work(s, &err);
    if (rc && !err.code)
        (void)adit_err_set(&err, rc, "%s", adit_err_name(rc));
    if (rc)
        sandbox_work_done(s, &err);
    else if (phase == SANDBOX_PHASE_CLAIMING && s->mark_cnt == 0)
        sandbox_work_done(s, NULL);
    else if (phase == SANDBOX_PHASE_WARM)
        become_warm(s);
    else if (phase == SANDBOX_PHASE_RUNNING)
        become_running(s);
}

static enum sandbox_phase next_phase(const struct sandbox *s)
{
    if (s->phase == SANDBOX_PHASE_STARTING && !s->is_pooled)
        return SANDBOX_PHASE_WAKING;
    return s->phase + 1;
}

static void fail_creation(struct sandbox *s, const struct adit_err *err)
{
    if (!s->is_ending)
        s->why = *err;
    sandbox_end(s, SANDBOX_FAILED, err->msg);
}

/* Clients must not reach what is gone, and nothing stays that nobody has on record. */
static bool is_to_be_repeated(const struct sandbox *s)
{
    return s->phase == SANDBOX_PHASE_WITHDRAWING || s->phase == SANDBOX_PHASE_DESTROYING ||
           (s->phase == SANDBOX_PHASE_REMOVING && s->removals < NODE_REMOVALS_MAX);
}

static void try_again(struct sandbox *s, const struct adit_err *err)
{
    adit_log(ADIT_LOG_ERROR, "sandbox_not_destroyed", LOG_S("sandbox", s->record.sandbox_id),
             LOG_ERR(err));
    net_deadline_arm(&s->end, NODE_DESTROY_RETRY_MS);
}

static void finish(struct sandbox *s)
{
    if (!s->why.code)
        (void)adit_err_set(&s->why, ADIT_ERR_UNAVAILABLE,
                           "the sandbox ended while it was being created: %s", s->end_reason);
    answer_created(s, &s->why);
    answer_ended(s, NULL);
    node_on_sandbox_over(s);
}

/* An ending phase's work is done, well or not. */
static void go_on_ending(struct sandbox *s, const struct adit_err *err)
{
    if (err && is_to_be_repeated(s)) {
        try_again(s, err);
        return;
    }
    if (err && s->phase != SANDBOX_PHASE_RELEASING)
        adit_log(ADIT_LOG_ERROR, "sandbox_end_incomplete", LOG_S("sandbox", s->record.sandbox_id),
                 LOG_U("phase", s->phase), LOG_ERR(err));
    if (s->phase == SANDBOX_PHASE_RELEASING ||
        (s->phase == SANDBOX_PHASE_REMOVING && sandbox_is_unclaimed(s))) /* nobody was told of it */
        finish(s);
    else
        begin_phase(s, s->phase + 1);
}

static void sandbox_work_done(struct sandbox *s, const struct adit_err *err)
{
    if (s->node->is_stopping)
        return;
    s->pending--;
    if (s->phase > SANDBOX_PHASE_RUNNING) {
        go_on_ending(s, err);
        return;
    }
    if (err)
        fail_creation(s, err);
    else if (s->pending == 0)
        begin_phase(s, s->is_ending ? SANDBOX_PHASE_SAVING_END : next_phase(s));
}

void sandbox_end(struct sandbox *s, enum sandbox_state state, const char *reason)
{
    if (!s->is_ending) {
        s->is_ending = true;
        s->end_state = state;
        copy_reason(s->end_reason, reason);
        net_deadline_cancel(&s->end);
        sampler_stop(&s->sampler);
        if (s->guest) {
            guest_cancel(adit_steal(&s->guest));
            s->pending--;
        }
        close_channel(s);
        rotation_cancel(s);
        trust_cancel(s);
    }
    if (s->pending == 0 && s->phase <= SANDBOX_PHASE_RUNNING)
        begin_phase(s, SANDBOX_PHASE_SAVING_END);
}

static void on_end_due(struct net_deadline *d)
{
    struct sandbox *s = ADIT_CONTAINER_OF(d, struct sandbox, end);
    if (s->phase > SANDBOX_PHASE_RUNNING)
        begin_phase(s, s->phase);
    else
        sandbox_end(s, SANDBOX_KILLED, "timeout");
}

int sandbox_begin(struct sandbox *s, struct adit_err *err)
{
    s->phase = SANDBOX_PHASE_SAVING_CREATING;
    s->pending = 1;
    int rc = start_work(s, err);
    if (rc)
        return err && err->code ? rc : adit_err_set(err, rc, "the record cannot be written");
    net_deadline_arm(&s->answer, s->node->conf.create_ms + s->vmm->boot_ms);
    return 0;
}

void sandbox_begin_claim(struct sandbox *s)
{
    net_deadline_arm(&s->answer, s->node->conf.create_ms);
    begin_phase(s, SANDBOX_PHASE_CLAIMING);
}

void sandbox_resume_warm(struct sandbox *s)
{
    s->phase = SANDBOX_PHASE_WARM;
    s->pending = 0;
    s->file.has_claim = true;
    sandbox_watch_console(s);
}

/* An earlier broker was killed in the middle of one. */
static void complete_rotation(struct sandbox *s)
{
    struct adit_err err = ADIT_ERR_INIT;
    if (rotation_start(s, NULL, NULL, &err))
        adit_log(ADIT_LOG_ERROR, "tokens_not_rotated", LOG_S("sandbox", s->record.sandbox_id),
                 LOG_ERR(&err));
}

int sandbox_resume_running(struct sandbox *s, struct adit_err *err)
{
    s->phase = SANDBOX_PHASE_RUNNING;
    s->pending = 0;
    sandbox_settle(s);
    s->log = journal_log_open(s->node->journal, s->record.sandbox_id, s->record.team_id);
    journal_log_add(s->log, ADIT_LOG_INFO, "sandbox goes on under a new broker", NULL);
    sandbox_watch_console(s);
    start_sampling(s, adit_rand_u64() % SAMPLE_INTERVAL_MS);
    sandbox_update_egress(s);
    int rc = publish(s, err);
    if (rc == 0 && s->record.is_rotating)
        complete_rotation(s);
    return rc;
}
