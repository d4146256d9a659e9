/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A node in a world of its own. The driver is a fake: it makes a listening Unix socket with the
 * channel handshake and a small HTTP server behind it, so that waking a guest is the real thing.
 * Edge and scheduler are counted calls. open_world() begins a test and close_world() ends it.
 */
#ifndef ADIT_TESTS_NODE_FIXTURE_H
#define ADIT_TESTS_NODE_FIXTURE_H

#include <check.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/list.h"
#include "base/log.h"
#include "broker/node/warm_pool.h"
#include "net/channel.h"
#include "net/http_server.h"
#include "net/listener.h"

/* ---- a guest ---- */

struct world;

struct fake_vmm {
    struct vmm base; /* with its name "fake" */
    struct vmm_set set;
    struct world *world;
    struct listener *listener;
    struct http_server *http;
    char socket_path[108];
    unsigned init_status; /* what the guest answers to /init */
    bool is_failing;      /* create fails */
    bool has_console;     /* a FIFO, as a machine has */
    bool is_drained;
    int adopt_code;         /* what adopt says */
    unsigned destroy_fails; /* so many times */
    unsigned created, destroyed, adopted, inits, measured;
    const char *metrics;    /* what the guest says it uses */
    bool is_host_silent;    /* measuring finds nothing out */
    char shown[TOKENS_CAP]; /* the token in the header of the last /init */
    struct adit_buf told;   /* the last /init that was answered well */
};

/*
 * @published, @republished, @withdrawn, @confirmed, @released: calls that came
 * @route: of the last of the first two
 * @egress_opened, @egress_updated, @egress_closed: calls that came; @is_offline: what they said
 * @warm_changes: what came of the pool's, the last with state @last_warm; @pool hears of it, if any
 * @is_scheduler_down: confirm and release fail
 * @is_edge_short: republish finds no memory, as does everything about egress when
 * @is_egress_short; withdraw does not @withdraw_fails times
 */
struct world {
    uv_loop_t uv;
    struct net_loop net;
    struct fake_vmm vmm;
    struct node *node;
    struct tokens tokens;
    char dir[64];
    unsigned published, republished, withdrawn, confirmed, released;
    unsigned egress_opened, egress_updated, egress_closed;
    unsigned warm_changes;
    enum sandbox_state last_warm;
    struct warm_pool *pool;
    bool is_offline;
    bool is_scheduler_down, is_edge_short, is_egress_short;
    unsigned withdraw_fails;
    char released_reason[RECORD_REASON_CAP];
    struct edge_route route;
    uv_timer_t guard;
    /* results */
    unsigned created_cnt, failed_cnt, ended_cnt, saved_cnt;
    struct adit_err last;
    char last_id[SANDBOX_ID_CAP];
};

static void on_init_body(struct http_exchange *x, struct adit_view bytes)
{
    struct fake_vmm *v = http_server_owner(http_exchange_server(x));
    ck_assert_int_eq(adit_buf_append_view(&v->told, bytes), 0);
}

static void on_init_end(struct http_exchange *x)
{
    http_exchange_reply(x, 204, (struct adit_view){NULL, 0});
}

static void on_request(struct http_exchange *x, const struct http_head *head)
{
    struct fake_vmm *v = http_server_owner(http_exchange_server(x));
    bool is_init = adit_view_eq_str(head->target, "/init");
    v->inits += is_init;
    if (is_init)
        (void)snprintf(v->shown, sizeof(v->shown), "%.*s",
                       ADIT_VIEW_ARG(http_head_get(head, "x-access-token")));
    if (is_init && v->init_status != 204) {
        /* A refusal whose body never ends: only its head may be waited for. */
        static const struct http_exchange_ops ops = {0};
        http_exchange_set_ops(x, &ops, NULL);
        http_exchange_begin(x, v->init_status, HTTP_FRAMING_CHUNKED, 0);
        return;
    }
    if (is_init) {
        static const struct http_exchange_ops ops = {.on_body = on_init_body,
                                                     .on_end = on_init_end};
        adit_buf_clear(&v->told);
        http_exchange_set_ops(x, &ops, NULL);
        return;
    }
    if (adit_view_eq_str(head->target, "/metrics"))
        http_exchange_reply(x, 200, adit_view_str(v->metrics));
    else
        http_exchange_reply(x, 204, (struct adit_view){NULL, 0});
}

static void on_guest_read(struct net_stream *s, struct adit_view bytes)
{
    struct fake_vmm *v = net_stream_owner(s);
    struct channel_line line;
    char ok[CHANNEL_LINE_CAP];
    bool done = false;
    uint32_t port = 0;
    channel_line_init(&line);
    ck_assert_int_eq(channel_line_feed(&line, &bytes, &done, NULL), 0);
    ck_assert(done); /* one small write arrives whole here */
    ck_assert_int_eq(channel_parse_connect(channel_line_view(&line), &port, NULL), 0);
    ck_assert_uint_eq(port, CHANNEL_PORT_ENVD);
    struct adit_view answer = {ok, channel_format_ok(ok, 1)};
    if (net_stream_write(s, &answer, 1))
        net_stream_close(s); /* the node was stopped meanwhile */
    else
        http_server_adopt(v->http, s, bytes);
}

static void on_guest_end(struct net_stream *s, const struct adit_err *err)
{
    (void)err;
    net_stream_close(s);
}

static const struct net_stream_ops guest_ops = {.on_read = on_guest_read, .on_end = on_guest_end};

static void on_guest_accept(void *owner, int fd)
{
    struct fake_vmm *v = owner;
    struct net_stream *s;
    ck_assert_int_eq(net_stream_open_fd(&v->world->net, fd, &guest_ops, v, &s, NULL), 0);
    net_stream_read_start(s);
}

static void open_guest(struct world *w)
{
    struct http_server_conf conf = {.owner = &w->vmm, .on_request = on_request};
    char address[120];
    int fd;
    w->vmm.world = w;
    w->vmm.init_status = 204;
    adit_buf_init(&w->vmm.told, 1024u * 1024);
    w->vmm.metrics = "{\"cpu_count\":8,\"cpu_used_pct\":25.5,\"mem_total\":1000,\"mem_used\":"
                     "900,\"mem_cache\":800,\"disk_used\":7,\"disk_total\":9}";
    (void)snprintf(w->vmm.socket_path, sizeof(w->vmm.socket_path), "%s/guest", w->dir);
    (void)snprintf(address, sizeof(address), "unix:%s", w->vmm.socket_path);
    ck_assert_int_eq(http_server_new(&w->net, &conf, &w->vmm.http, NULL), 0);
    ck_assert_int_eq(listener_socket(address, &fd, NULL), 0);
    ck_assert_int_eq(listener_open(&w->net, fd, on_guest_accept, &w->vmm, &w->vmm.listener, NULL),
                     0);
}

/* ---- the fake driver: answers at the next turn of the loop ---- */

struct later {
    uv_timer_t timer;
    struct fake_vmm *vmm;
    vmm_created_fn created;
    vmm_done_fn done;
    void *user;
    bool fails;
};

static void free_later(uv_handle_t *h)
{
    free(h->data);
}

static void on_later(uv_timer_t *t)
{
    struct later l = *(struct later *)t->data;
    struct adit_err err = ADIT_ERR_INIT;
    struct vmm_instance instance = {.driver = "fake", .pid = 7, .pid_start = 8, .slot = 9};
    uv_close((uv_handle_t *)t, free_later);
    instance.target.kind = HTTP_TARGET_CHANNEL;
    memcpy(instance.target.path, l.vmm->socket_path, sizeof(instance.target.path));
    if (l.fails)
        (void)adit_err_set(&err, ADIT_ERR_IO, "the fake driver fails");
    if (l.created)
        l.created(l.user, l.fails ? NULL : &instance, l.fails ? &err : NULL);
    else
        l.done(l.user, l.fails ? &err : NULL);
}

static void answer_later(struct fake_vmm *v, vmm_created_fn created, vmm_done_fn done, void *user,
                         bool fails)
{
    struct later *l = calloc(1, sizeof(*l));
    ck_assert_ptr_nonnull(l);
    l->vmm = v;
    l->created = created;
    l->done = done;
    l->user = user;
    l->fails = fails;
    uv_timer_init(&v->world->uv, &l->timer);
    l->timer.data = l;
    uv_timer_start(&l->timer, on_later, 0, 0);
}

static struct fake_vmm *fake_of(struct vmm *base)
{
    return ADIT_CONTAINER_OF(base, struct fake_vmm, base);
}

static int fake_create(struct vmm *base, const struct vmm_spec *spec, vmm_created_fn done,
                       void *user, struct adit_err *err)
{
    struct fake_vmm *v = fake_of(base);
    char path[300];
    (void)err;
    v->created++;
    /* R1: the record is on disk before anything outside happens. */
    (void)snprintf(path, sizeof(path), "%s/record.json", spec->sandbox_dir);
    ck_assert_int_eq(access(path, R_OK), 0);
    (void)snprintf(path, sizeof(path), "%s/" VMM_CONSOLE_NAME, spec->sandbox_dir);
    if (v->has_console)
        ck_assert_int_eq(mkfifo(path, 0600), 0);
    answer_later(v, done, NULL, user, v->is_failing);
    return 0;
}

static int fake_destroy(struct vmm *base, const char *id, const char *dir,
                        const struct vmm_instance *instance, vmm_done_fn done, void *user,
                        struct adit_err *err)
{
    struct fake_vmm *v = fake_of(base);
    bool fails = v->destroy_fails > 0;
    (void)id;
    (void)dir;
    (void)instance;
    (void)err;
    v->destroy_fails -= fails;
    v->destroyed++;
    answer_later(v, NULL, done, user, fails);
    return 0;
}

static int fake_adopt(struct vmm *base, const char *id, const struct vmm_instance *instance,
                      struct adit_err *err)
{
    struct fake_vmm *v = fake_of(base);
    (void)id;
    v->adopted++;
    ck_assert_int_eq(instance->pid, 7);
    ck_assert_str_eq(instance->target.path, v->socket_path);
    return v->adopt_code ? adit_err_set(err, v->adopt_code, "as the test wants it") : 0;
}

struct measuring {
    uv_timer_t timer;
    vmm_measured_fn done;
    void *owner;
    bool is_silent;
    char id[VMM_ID_CAP];
};

static void on_measure(uv_timer_t *t)
{
    struct measuring *m = t->data;
    const struct vmm_usage usage = {.memory = 90, .cache = 50, .memory_max = 100};
    m->done(m->owner, m->id, m->is_silent ? NULL : &usage);
    uv_close((uv_handle_t *)t, free_later);
}

static int fake_measure(struct vmm *base, const char *id, vmm_measured_fn done, void *owner,
                        struct adit_err *err)
{
    struct fake_vmm *v = fake_of(base);
    struct measuring *m = calloc(1, sizeof(*m));
    (void)err;
    v->measured++;
    m->done = done;
    m->owner = owner;
    m->is_silent = v->is_host_silent;
    strcpy(m->id, id);
    uv_timer_init(&v->world->uv, &m->timer);
    m->timer.data = m;
    uv_timer_start(&m->timer, on_measure, 0, 0);
    return 0;
}

static const struct vmm_driver driver = {fake_create, fake_destroy, fake_adopt, fake_measure};

/* ---- the rest of the broker, counted ---- */

static int publish(void *owner, const struct edge_route *route, struct adit_err *err)
{
    struct world *w = owner;
    (void)err;
    ck_assert_int_eq(route->target.kind, HTTP_TARGET_CHANNEL);
    w->published++;
    w->route = *route;
    return 0;
}

static int republish(void *owner, const struct edge_route *route, void (*done)(void *user),
                     void *user, struct adit_err *err)
{
    struct world *w = owner;
    if (w->is_edge_short)
        return adit_err_set(err, ADIT_ERR_NO_MEMORY, "no memory");
    w->republished++;
    w->route = *route;
    done(user);
    return 0;
}

static int withdraw(void *owner, const char *id, void (*done)(void *user), void *user,
                    struct adit_err *err)
{
    struct world *w = owner;
    (void)id;
    if (++w->withdrawn <= w->withdraw_fails)
        return adit_err_set(err, ADIT_ERR_NO_MEMORY, "no memory");
    done(user);
    return 0;
}

static int confirm(void *owner, const char *id, node_done_fn done, void *user, struct adit_err *err)
{
    struct world *w = owner;
    (void)id;
    w->confirmed++;
    if (w->is_scheduler_down)
        return adit_err_set(err, ADIT_ERR_UNAVAILABLE, "nobody there");
    if (done)
        answer_later(&w->vmm, NULL, done, user, false);
    return 0;
}

static int release(void *owner, const char *id, const char *reason, node_done_fn done, void *user,
                   struct adit_err *err)
{
    struct world *w = owner;
    (void)id;
    ck_assert(reason[0] != '\0');
    (void)snprintf(w->released_reason, sizeof(w->released_reason), "%s", reason);
    w->released++;
    if (w->is_scheduler_down)
        return adit_err_set(err, ADIT_ERR_UNAVAILABLE, "nobody there");
    answer_later(&w->vmm, NULL, done, user, false);
    return 0;
}

/* The handle is only given back. */
static int open_egress(void *owner, const struct record *r, const json_t *network, bool is_offline,
                       struct egress_sandbox **out, struct adit_err *err)
{
    struct world *w = owner;
    (void)r;
    (void)network;
    if (w->is_egress_short)
        return adit_err_set(err, ADIT_ERR_NO_MEMORY, "no memory");
    w->egress_opened++;
    w->is_offline = is_offline;
    *out = owner;
    return 0;
}

static int update_egress(void *owner, struct egress_sandbox *e, const struct record *r,
                         const json_t *network, bool is_offline, struct adit_err *err)
{
    struct world *w = owner;
    ck_assert_ptr_eq(e, owner);
    (void)r;
    (void)network;
    if (w->is_egress_short)
        return adit_err_set(err, ADIT_ERR_NO_MEMORY, "no memory");
    w->egress_updated++;
    w->is_offline = is_offline;
    return 0;
}

static void close_egress(void *owner, struct egress_sandbox *e)
{
    struct world *w = owner;
    ck_assert_ptr_eq(e, owner);
    w->egress_closed++;
}

static void warm_changed(void *owner, const struct sandbox *s)
{
    struct world *w = owner;
    w->warm_changes++;
    w->last_warm = node_record(s)->state;
    if (w->pool)
        warm_pool_changed(w->pool, s);
}

static const struct node_ops ops = {.publish = publish,
                                    .republish = republish,
                                    .withdraw = withdraw,
                                    .confirm = confirm,
                                    .release = release,
                                    .open_egress = open_egress,
                                    .update_egress = update_egress,
                                    .close_egress = close_egress,
                                    .warm_changed = warm_changed};

/* ---- the world ---- */

static uint64_t skipped_ns; /* how far the tests' clocks are ahead */
static const char *boot_id = "first boot";
static int64_t set_ns; /* and by how much the wall clock was set forward */

static uint64_t mono(void)
{
    return uv_hrtime() + skipped_ns;
}

static int64_t wall(void)
{
    return INT64_C(1795248000000000000) + (int64_t)mono() + set_ns;
}

static void open_node(struct world *w)
{
    struct node_conf conf = {.loop = &w->net,
                             .state_dir = w->dir,
                             .boot_id = boot_id,
                             .vmms = &w->vmm.set,
                             .tokens = &w->tokens,
                             .ops = &ops,
                             .owner = w,
                             .create_ms = 5000,
                             .ready_ms = 2000,
                             .pids_max = 100,
                             .log_retention_ms = 3600000,
                             .log_bytes_max = 1 << 30};
    conf.admission = (struct admission){
        .cpu_cap = 4, .memory_mb_cap = 4096, .disk_mb_cap = 4096, .sandbox_max = 3};
    ck_assert_int_eq(node_new(&conf, &w->node, NULL), 0);
}

static void open_world(struct world *w)
{
    memset(w, 0, sizeof(*w));
    (void)signal(SIGPIPE, SIG_IGN);
    adit_log_init("test", ADIT_LOG_ERROR, false);
    adit_clock_set(mono, wall);
    strcpy(w->dir, "/tmp/adit-node-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(w->dir));
    ck_assert_int_eq(uv_loop_init(&w->uv), 0);
    ck_assert_int_eq(net_loop_init(&w->net, &w->uv, NULL), 0);
    ck_assert_int_eq(tokens_load(w->dir, &w->tokens, NULL), 0);
    w->vmm.base = (struct vmm){.driver = &driver, .name = "fake", .isolation = "container"};
    w->vmm.set = (struct vmm_set){.items = {&w->vmm.base}, .cnt = 1, .fallback = &w->vmm.base};
    open_guest(w);
    open_node(w);
}

static void on_guard(uv_timer_t *t)
{
    (void)t;
    ck_abort_msg("the loop waits for something that does not come");
}

/* Run the loop until *counter reaches @value. */
static void run_until(struct world *w, const unsigned *counter, unsigned value)
{
    uv_timer_init(&w->uv, &w->guard);
    uv_timer_start(&w->guard, on_guard, 10000, 0);
    while (*counter < value)
        (void)uv_run(&w->uv, UV_RUN_ONCE);
    uv_close((uv_handle_t *)&w->guard, NULL);
    (void)uv_run(&w->uv, UV_RUN_NOWAIT);
}

static void forget_node(struct world *w)
{
    node_stop(w->node);
    for (int i = 0; i < 50; i++) { /* what runs on the thread pool ends by itself */
        (void)uv_run(&w->uv, UV_RUN_NOWAIT);
        uv_sleep(1);
    }
    node_free(w->node);
}

static void on_drained(void *owner)
{
    ((struct fake_vmm *)owner)->is_drained = true;
}

static void close_world(struct world *w)
{
    forget_node(w);
    listener_close(w->vmm.listener);
    http_server_drain(w->vmm.http, 0, on_drained);
    for (int i = 0; i < 50 || !w->vmm.is_drained; i++)
        (void)uv_run(&w->uv, UV_RUN_NOWAIT);
    net_loop_close(&w->net);
    adit_buf_fini(&w->vmm.told);
    ck_assert_int_eq(uv_run(&w->uv, UV_RUN_DEFAULT), 0);
    ck_assert_int_eq(uv_loop_close(&w->uv), 0);
    int tmp = open("/tmp", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    ck_assert_int_eq(adit_file_remove_tree(tmp, w->dir + strlen("/tmp/"), NULL), 0);
    close(tmp);
}

static void on_created(void *user, struct sandbox *s, const struct adit_err *err)
{
    struct world *w = user;
    ck_assert((s == NULL) != (err == NULL));
    if (s) {
        w->created_cnt++;
        strcpy(w->last_id, node_record(s)->sandbox_id);
    } else {
        w->failed_cnt++;
        w->last = *err;
    }
}

static void on_ended(void *user, const struct adit_err *err)
{
    struct world *w = user;
    w->ended_cnt++;
    w->last.code = err ? err->code : 0;
}

static struct node_create spec_of(const char *id)
{
    return (struct node_create){.isolation = "",
                                .sandbox_id = id,
                                .team_id = "red",
                                .key_id = "",
                                .template_id = "tbase",
                                .alias = "base",
                                .template_dir = "/nowhere",
                                .default_user = "user",
                                .default_workdir = "",
                                .mask_host = "",
                                .cpu_count = 1,
                                .memory_mb = 128,
                                .disk_mb = 64,
                                .timeout_ms = 60000,
                                .secure = true};
}

static int create_with(struct world *w, const char *id, uint64_t timeout_ms, json_t *network,
                       struct adit_err *err)
{
    struct node_create spec = spec_of(id);
    spec.timeout_ms = timeout_ms;
    spec.network = network;
    return node_create(w->node, &spec, on_created, w, err);
}

static int create(struct world *w, const char *id, uint64_t timeout_ms, struct adit_err *err)
{
    return create_with(w, id, timeout_ms, NULL, err);
}

static inline void create_running(struct world *w, const char *id)
{
    unsigned before = w->created_cnt;
    ck_assert_int_eq(create(w, id, 60000, NULL), 0);
    run_until(w, &w->created_cnt, before + 1);
}

/* With @is_broken: nothing can be saved of "ia" until it is called without. */
static inline void break_disk(const struct world *w, bool is_broken)
{
    char folder[200], aside[200];
    (void)snprintf(folder, sizeof(folder), "%s/sandboxes/ia", w->dir);
    (void)snprintf(aside, sizeof(aside), "%s/aside", w->dir);
    if (!is_broken) {
        ck_assert_int_eq(unlink(folder), 0);
        ck_assert_int_eq(rename(aside, folder), 0);
        return;
    }
    ck_assert_int_eq(rename(folder, aside), 0);
    int file = open(folder, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    ck_assert_int_ge(file, 0);
    close(file);
}

static inline bool has_folder(const struct world *w, const char *id)
{
    char path[200];
    (void)snprintf(path, sizeof(path), "%s/sandboxes/%s", w->dir, id);
    return access(path, F_OK) == 0;
}

#endif
