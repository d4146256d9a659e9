/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The life of sandboxes on a node: creating, running, ending, failing, and being taken up again.
 *
 * The driver here is a fake (this test only): it makes a listening Unix socket with the channel
 * handshake and a small HTTP server behind it, so that waking a guest is the real thing. Edge and
 * scheduler are counted calls.
 */
#include "broker/node/node.h"

#include "tests/unit/suite.h"
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "broker/api/create_request.h"
#include "net/channel.h"
#include "net/http_server.h"
#include "net/listener.h"

/* ---- a guest ---- */

struct world;

struct vmm {
    struct world *world;
    struct listener *listener;
    struct http_server *http;
    char socket_path[108];
    unsigned init_status; /* what the guest answers to /init */
    bool is_failing;      /* create fails */
    bool is_drained;
    int adopt_code;         /* what adopt says */
    unsigned destroy_fails; /* so many times */
    unsigned created, destroyed, adopted, inits, measured;
    const char *metrics;    /* what the guest says it uses */
    bool is_host_silent;    /* measuring finds nothing out */
    char shown[TOKENS_CAP]; /* the token in the header of the last /init */
};

/*
 * @published, @republished, @withdrawn, @confirmed, @released: calls that came
 * @route: of the last of the first two
 * @is_scheduler_down: confirm and release fail
 * @is_edge_short: republish finds no memory
 */
struct world {
    uv_loop_t uv;
    struct net_loop net;
    struct vmm vmm;
    struct node *node;
    struct tokens tokens;
    char dir[64];
    unsigned published, republished, withdrawn, confirmed, released;
    bool is_scheduler_down, is_edge_short;
    struct edge_route route;
    uv_timer_t guard;
    /* results */
    unsigned created_cnt, failed_cnt, ended_cnt, saved_cnt;
    struct adit_err last;
    char last_id[SANDBOX_ID_CAP];
};

static void on_request(struct http_exchange *x, const struct http_head *head)
{
    struct vmm *v = http_server_owner(http_exchange_server(x));
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
        http_exchange_flush(x);
        return;
    }
    if (adit_view_eq_str(head->target, "/metrics"))
        http_exchange_reply(x, 200, adit_view_str(v->metrics));
    else
        http_exchange_reply(x, 204, (struct adit_view){NULL, 0});
}

static void on_guest_read(struct net_stream *s, struct adit_view bytes)
{
    struct vmm *v = net_stream_owner(s);
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
    struct vmm *v = owner;
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
    struct vmm *vmm;
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

static void answer_later(struct vmm *v, vmm_created_fn created, vmm_done_fn done, void *user,
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

static int fake_create(struct vmm *v, const struct vmm_spec *spec, vmm_created_fn done, void *user,
                       struct adit_err *err)
{
    char record[300];
    (void)err;
    v->created++;
    /* R1: the record is on disk before anything outside happens. */
    (void)snprintf(record, sizeof(record), "%s/record.json", spec->sandbox_dir);
    ck_assert_int_eq(access(record, R_OK), 0);
    answer_later(v, done, NULL, user, v->is_failing);
    return 0;
}

static int fake_destroy(struct vmm *v, const char *id, const char *dir,
                        const struct vmm_instance *instance, vmm_done_fn done, void *user,
                        struct adit_err *err)
{
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

static int fake_adopt(struct vmm *v, const char *id, const struct vmm_instance *instance,
                      struct adit_err *err)
{
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

static int fake_measure(struct vmm *v, const char *id, vmm_measured_fn done, void *owner,
                        struct adit_err *err)
{
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

static const struct vmm_driver driver = {"fake",       "container", fake_create,
                                         fake_destroy, fake_adopt,  fake_measure};

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

static void withdraw(void *owner, const char *id, void (*done)(void *user), void *user)
{
    struct world *w = owner;
    (void)id;
    w->withdrawn++;
    done(user);
}

static int confirm(void *owner, const char *id, node_done_fn done, void *user, struct adit_err *err)
{
    struct world *w = owner;
    (void)id;
    w->confirmed++;
    if (w->is_scheduler_down)
        return adit_err_set(err, ADIT_ERR_UNAVAILABLE, "nobody there");
    answer_later(&w->vmm, NULL, done, user, false);
    return 0;
}

static int release(void *owner, const char *id, const char *reason, node_done_fn done, void *user,
                   struct adit_err *err)
{
    struct world *w = owner;
    (void)id;
    ck_assert(reason[0] != '\0');
    w->released++;
    if (w->is_scheduler_down)
        return adit_err_set(err, ADIT_ERR_UNAVAILABLE, "nobody there");
    answer_later(&w->vmm, NULL, done, user, false);
    return 0;
}

static const struct node_ops ops = {.publish = publish,
                                    .republish = republish,
                                    .withdraw = withdraw,
                                    .confirm = confirm,
                                    .release = release};

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
                             .driver = &driver,
                             .vmm = &w->vmm,
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
    ((struct vmm *)owner)->is_drained = true;
}

static void close_world(struct world *w)
{
    forget_node(w);
    listener_close(w->vmm.listener);
    http_server_drain(w->vmm.http, 0, on_drained);
    for (int i = 0; i < 50 || !w->vmm.is_drained; i++)
        (void)uv_run(&w->uv, UV_RUN_NOWAIT);
    net_loop_close(&w->net);
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

static void on_saved(void *user, const struct adit_err *err)
{
    struct world *w = user;
    ck_assert_ptr_null(err);
    w->saved_cnt++;
}

static int create(struct world *w, const char *id, uint64_t timeout_ms, struct adit_err *err)
{
    struct node_create spec = {.sandbox_id = id,
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
                               .timeout_ms = timeout_ms,
                               .secure = true};
    return node_create(w->node, &spec, on_created, w, err);
}

static void create_running(struct world *w, const char *id)
{
    unsigned before = w->created_cnt;
    ck_assert_int_eq(create(w, id, 60000, NULL), 0);
    run_until(w, &w->created_cnt, before + 1);
}

/* @len characters that JSON writes with six bytes each. */
static json_t *escaped_text(size_t len)
{
    char *text = malloc(len + 1);
    ck_assert_ptr_nonnull(text);
    memset(text, 1, len);
    text[len] = '\0';
    json_t *object = json_pack("{s:s}", "k", text);
    free(text);
    return object;
}

static bool has_folder(const struct world *w, const char *id)
{
    char path[200];
    (void)snprintf(path, sizeof(path), "%s/sandboxes/%s", w->dir, id);
    return access(path, F_OK) == 0;
}

/* ---- tests ---- */

START_TEST(node_answers_a_create_when_all_is_in_place)
{
    struct world w;
    struct record r;
    struct adit_buf text;
    char path[200];
    open_world(&w);
    create_running(&w, "ia");
    ck_assert_uint_eq(w.vmm.inits, 1);
    ck_assert_uint_eq(w.published, 1);
    ck_assert_uint_eq(w.confirmed, 1);
    ck_assert_ptr_nonnull(node_find(w.node, "red", "ia"));
    (void)snprintf(path, sizeof(path), "%s/sandboxes/ia/record.json", w.dir);
    adit_buf_init(&text, RECORD_CAP);
    ck_assert_int_eq(adit_file_read(AT_FDCWD, path, &text, NULL), 0);
    ck_assert_int_eq(record_decode(adit_buf_view(&text), &r, NULL), 0);
    ck_assert_int_eq(r.state, SANDBOX_RUNNING);
    ck_assert_int_eq(r.end_ns - r.started_ns, INT64_C(60000000000));
    record_fini(&r);
    adit_buf_fini(&text);
    close_world(&w);
}
END_TEST

START_TEST(node_takes_all_metadata_and_variables_that_the_door_takes)
{
    struct world w;
    json_t *metadata = escaped_text(RECORD_METADATA_CAP - 1);
    json_t *env_vars = escaped_text(CREATE_REQUEST_ENV_CAP - 1);
    struct node_create spec = {.sandbox_id = "ia",
                               .team_id = "red",
                               .key_id = "",
                               .template_id = "tbase",
                               .alias = "base",
                               .template_dir = "/nowhere",
                               .default_user = "user",
                               .default_workdir = "",
                               .mask_host = "",
                               .cpu_count = 1,
                               .timeout_ms = 60000,
                               .metadata = metadata,
                               .env_vars = env_vars};
    open_world(&w);
    ck_assert_int_eq(node_create(w.node, &spec, on_created, &w, NULL), 0);
    run_until(&w, &w.created_cnt, 1);
    forget_node(&w);
    open_node(&w);
    node_adopt(w.node);
    const struct sandbox *s = node_find(w.node, "red", "ia");
    ck_assert_ptr_nonnull(s);
    ck_assert(json_equal(node_record(s)->metadata, metadata));
    json_decref(metadata);
    json_decref(env_vars);
    close_world(&w);
}
END_TEST

START_TEST(node_finds_a_sandbox_for_its_team_only)
{
    struct world w;
    size_t pos = 0;
    open_world(&w);
    create_running(&w, "ia");
    ck_assert_ptr_null(node_find(w.node, "blue", "ia"));
    ck_assert_ptr_null(node_find(w.node, "red", "ib"));
    ck_assert_ptr_null(node_next(w.node, "blue", &pos));
    pos = 0;
    ck_assert_ptr_nonnull(node_next(w.node, "red", &pos));
    ck_assert_ptr_null(node_next(w.node, "red", &pos));
    close_world(&w);
}
END_TEST

START_TEST(node_kill_leaves_nothing_and_is_answered_when_it_is_done)
{
    struct world w;
    open_world(&w);
    create_running(&w, "ia");
    node_kill(node_find(w.node, "red", "ia"), "test", on_ended, &w);
    ck_assert_ptr_null(node_find(w.node, "red", "ia")); /* at once: a second kill finds nothing */
    run_until(&w, &w.ended_cnt, 1);
    ck_assert_int_eq(w.last.code, 0);
    ck_assert_uint_eq(w.withdrawn, 1);
    ck_assert_uint_eq(w.vmm.destroyed, 1);
    ck_assert_uint_eq(w.released, 1);
    ck_assert(!has_folder(&w, "ia"));
    ck_assert_uint_eq(node_admission(w.node)->sandbox_cnt, 0);
    ck_assert_uint_eq(node_admission(w.node)->memory_mb_used, 0);
    close_world(&w);
}
END_TEST

START_TEST(node_kill_works_without_the_scheduler)
{
    struct world w;
    open_world(&w);
    w.is_scheduler_down = true;
    create_running(&w, "ia");
    node_kill(node_find(w.node, "red", "ia"), "test", on_ended, &w);
    run_until(&w, &w.ended_cnt, 1);
    ck_assert_int_eq(w.last.code, 0);
    ck_assert(!has_folder(&w, "ia"));
    close_world(&w);
}
END_TEST

START_TEST(node_tries_again_until_a_sandbox_is_destroyed)
{
    struct world w;
    open_world(&w);
    w.vmm.destroy_fails = 1;
    create_running(&w, "ia");
    node_kill(node_find(w.node, "red", "ia"), "test", on_ended, &w);
    run_until(&w, &w.ended_cnt, 1);
    ck_assert_uint_eq(w.vmm.destroyed, 2);
    ck_assert(!has_folder(&w, "ia"));
    close_world(&w);
}
END_TEST

START_TEST(node_undoes_a_create_whose_driver_fails)
{
    struct world w;
    open_world(&w);
    w.vmm.is_failing = true;
    ck_assert_int_eq(create(&w, "ia", 60000, NULL), 0);
    run_until(&w, &w.failed_cnt, 1);
    ck_assert_int_eq(w.last.code, ADIT_ERR_IO);
    ck_assert_str_eq(w.last.msg, "the fake driver fails");
    ck_assert(!has_folder(&w, "ia"));
    ck_assert_uint_eq(w.published, 0);
    ck_assert_uint_eq(w.released, 1);
    ck_assert_uint_eq(node_admission(w.node)->sandbox_cnt, 0);
    close_world(&w);
}
END_TEST

START_TEST(node_undoes_a_create_whose_envd_refuses)
{
    struct world w;
    open_world(&w);
    w.vmm.init_status = 401;
    ck_assert_int_eq(create(&w, "ia", 60000, NULL), 0);
    run_until(&w, &w.failed_cnt, 1);
    ck_assert_int_eq(w.last.code, ADIT_ERR_UNAVAILABLE);
    ck_assert_str_eq(w.last.msg, "envd answered /init with status 401");
    ck_assert_uint_eq(w.vmm.destroyed, 1);
    ck_assert(!has_folder(&w, "ia"));
    close_world(&w);
}
END_TEST

START_TEST(node_gives_up_on_an_envd_that_is_never_ready)
{
    struct world w;
    open_world(&w);
    w.vmm.init_status = 503; /* tried again until ready_ms */
    ck_assert_int_eq(create(&w, "ia", 60000, NULL), 0);
    run_until(&w, &w.failed_cnt, 1);
    ck_assert_int_eq(w.last.code, ADIT_ERR_TIMEOUT);
    ck_assert_uint_gt(w.vmm.inits, 5);
    ck_assert(!has_folder(&w, "ia"));
    close_world(&w);
}
END_TEST

START_TEST(node_refuses_more_than_fits)
{
    struct world w;
    struct adit_err err = ADIT_ERR_INIT;
    open_world(&w);
    create_running(&w, "ia");
    create_running(&w, "ib");
    create_running(&w, "ic");
    ck_assert_int_eq(create(&w, "id", 60000, &err), ADIT_ERR_UNAVAILABLE);
    ck_assert_str_eq(err.msg, "this node is full: 1 sandbox asked for, 3 of 3 taken");
    ck_assert_int_eq(create(&w, "ia", 60000, &err), ADIT_ERR_EXISTS); /* full or not */
    ck_assert_int_eq(create(&w, "../x", 60000, &err), ADIT_ERR_BAD_INPUT);
    close_world(&w);
}
END_TEST

START_TEST(node_refuses_an_id_twice)
{
    struct world w;
    open_world(&w);
    create_running(&w, "ia");
    ck_assert_int_eq(create(&w, "ia", 60000, NULL), ADIT_ERR_EXISTS);
    ck_assert_uint_eq(node_admission(w.node)->sandbox_cnt, 1);
    close_world(&w);
}
END_TEST

START_TEST(node_ends_a_sandbox_at_its_time)
{
    struct world w;
    open_world(&w);
    uint64_t begun = uv_hrtime();
    ck_assert_int_eq(create(&w, "ia", 300, NULL), 0);
    run_until(&w, &w.released, 1);
    uint64_t ms = (uv_hrtime() - begun) / 1000000;
    ck_assert_uint_ge(ms, 300);
    ck_assert_uint_lt(ms, 2000);
    ck_assert_ptr_null(node_find(w.node, "red", "ia"));
    close_world(&w);
}
END_TEST

START_TEST(node_moves_the_end_and_puts_it_on_record)
{
    struct world w;
    open_world(&w);
    create_running(&w, "ia");
    struct sandbox *s = node_find(w.node, "red", "ia");
    int64_t now = adit_clock_wall_ns();
    ck_assert_int_eq(node_set_timeout(s, 5000, on_saved, &w), 0);
    ck_assert_int_eq(node_set_timeout(s, 7000, on_saved, &w), 0);
    run_until(&w, &w.saved_cnt, 2);
    ck_assert_int_ge(node_record(s)->end_ns, now + INT64_C(7000000000));
    ck_assert_int_lt(node_record(s)->end_ns, now + INT64_C(8000000000));
    ck_assert_uint_le(node_remaining_ms(s), 7000);
    ck_assert_int_eq(node_set_timeout(s, 0, on_saved, &w), 0);
    run_until(&w, &w.released, 1);
    close_world(&w);
}
END_TEST

START_TEST(node_knows_how_long_a_life_may_go_on)
{
    struct world w;
    open_world(&w);
    create_running(&w, "ia");
    const struct sandbox *s = node_find(w.node, "red", "ia");
    skipped_ns += UINT64_C(40) * 1000000000;
    ck_assert_uint_le(node_within_life_ms(s, 60000, 60000), 20000); /* the longest from its start */
    ck_assert_uint_gt(node_within_life_ms(s, 60000, 60000), 10000);
    ck_assert_uint_eq(node_within_life_ms(s, 500, 60000), 500);
    ck_assert_uint_eq(node_within_life_ms(s, 500, 30000), 0);
    close_world(&w);
}
END_TEST

START_TEST(node_cleans_up_after_a_sandbox_that_ended_by_itself)
{
    struct world w;
    open_world(&w);
    create_running(&w, "ia");
    node_exited(w.node, "ia", "signal: \"killed\"\xff");
    ck_assert_ptr_null(node_find(w.node, "red", "ia"));
    run_until(&w, &w.released, 1);
    (void)uv_run(&w.uv, UV_RUN_NOWAIT);
    ck_assert_uint_eq(w.withdrawn, 1);
    ck_assert(!has_folder(&w, "ia"));
    struct adit_buf text;
    char path[200];
    (void)snprintf(path, sizeof(path), "%s/ended.jsonl", w.dir);
    adit_buf_init(&text, 4096);
    ck_assert_int_eq(adit_file_read(AT_FDCWD, path, &text, NULL), 0);
    char *line = adit_buf_steal_str(&text);
    ck_assert_ptr_nonnull(strstr(
        line, "\"sandboxID\":\"ia\",\"state\":\"failed\",\"reason\":\"signal: \\\"killed\\\"?\""));
    free(line);
    adit_buf_fini(&text);
    close_world(&w);
}
END_TEST

START_TEST(node_takes_running_sandboxes_up_again)
{
    struct world w;
    open_world(&w);
    create_running(&w, "ia");
    int64_t end_ns = node_record(node_find(w.node, "red", "ia"))->end_ns;
    forget_node(&w);
    w.published = 0;
    open_node(&w);
    node_adopt(w.node);
    struct sandbox *s = node_find(w.node, "red", "ia");
    ck_assert_ptr_nonnull(s);
    ck_assert_uint_eq(w.published, 1);
    ck_assert_uint_eq(w.vmm.adopted, 1);
    ck_assert_int_eq(node_record(s)->end_ns, end_ns);
    ck_assert_uint_le(node_remaining_ms(s), 60000);
    ck_assert_uint_gt(node_remaining_ms(s), 50000);
    ck_assert_uint_eq(node_admission(w.node)->sandbox_cnt, 1);
    node_kill(s, "test", on_ended, &w);
    run_until(&w, &w.ended_cnt, 1);
    ck_assert(!has_folder(&w, "ia"));
    close_world(&w);
}
END_TEST

/* Run until @cnt samples were taken, or refused or failed. */
static void run_until_asked(struct world *w, uint64_t cnt)
{
    const struct sampler_stats *s = node_sampling(w->node);
    uv_timer_init(&w->uv, &w->guard);
    uv_timer_start(&w->guard, on_guard, 20000, 0);
    while (s->taken + s->refused + s->failed < cnt)
        (void)uv_run(&w->uv, UV_RUN_ONCE);
    uv_close((uv_handle_t *)&w->guard, NULL);
    (void)uv_run(&w->uv, UV_RUN_NOWAIT);
}

START_TEST(node_samples_a_sandbox_and_believes_the_host_first)
{
    struct world w;
    open_world(&w);
    w.vmm.is_host_silent = _i == 1;
    create_running(&w, "ia");
    struct sandbox *s = node_find(w.node, "red", "ia");
    ck_assert_ptr_null(node_last_sample(s));
    run_until_asked(&w, 1);
    const struct sample *newest = node_last_sample(s);
    ck_assert_ptr_nonnull(newest);
    ck_assert_uint_eq(w.vmm.measured, 1);
    ck_assert_uint_eq(newest->cpu_centi_pct, 2550); /* the host did not tell */
    ck_assert_uint_eq(newest->disk_used, 7);
    ck_assert_uint_eq(newest->cpu_cnt, _i ? 8 : 1);
    ck_assert_uint_eq(newest->mem_total, _i ? 1000 : 100);
    ck_assert_uint_eq(newest->mem_used, _i ? 900 : 40);
    ck_assert_uint_eq(newest->mem_cache, _i ? 800 : 50);
    close_world(&w);
}
END_TEST

START_TEST(node_lives_with_a_guest_that_claims_nonsense)
{
    static char endless[SAMPLE_TEXT_CAP + 2];
    struct world w;
    open_world(&w);
    memset(endless, ' ', sizeof(endless) - 1);
    w.vmm.metrics = _i ? endless : "{\"cpu_count\":-1}";
    create_running(&w, "ia");
    run_until_asked(&w, 1);
    ck_assert_uint_eq(node_sampling(w.node)->refused, 1);
    ck_assert_uint_eq(node_sampling(w.node)->calls, 0);
    ck_assert_ptr_null(node_last_sample(node_find(w.node, "red", "ia")));
    close_world(&w);
}
END_TEST

START_TEST(node_counts_on_when_the_wall_clock_was_set)
{
    static const int64_t hours[] = {1, -1, 10000};
    struct world w;
    open_world(&w);
    create_running(&w, "ia");
    int64_t end_ns = node_record(node_find(w.node, "red", "ia"))->end_ns;
    forget_node(&w);
    set_ns = hours[_i] * INT64_C(3600000000000);
    open_node(&w);
    node_adopt(w.node);
    struct sandbox *s = node_find(w.node, "red", "ia");
    ck_assert_ptr_nonnull(s);
    ck_assert_uint_le(node_remaining_ms(s), 60000);
    ck_assert_uint_gt(node_remaining_ms(s), 50000);
    ck_assert_uint_lt(node_age_ms(s), 10000);
    /* what clients are told is by the clock that they see now */
    ck_assert_int_le(node_record(s)->end_ns - end_ns - set_ns, 1000000);
    ck_assert_int_ge(node_record(s)->end_ns - end_ns - set_ns, -1000000);
    set_ns = 0;
    node_kill(s, "test", on_ended, &w);
    run_until(&w, &w.ended_cnt, 1);
    close_world(&w);
}
END_TEST

START_TEST(node_counts_by_the_wall_clock_after_a_boot)
{
    struct world w;
    open_world(&w);
    create_running(&w, "ia");
    forget_node(&w);
    boot_id = "second boot"; /* of which the old monotonic clock says nothing */
    set_ns = INT64_C(50000000000);
    open_node(&w);
    node_adopt(w.node);
    struct sandbox *s = node_find(w.node, "red", "ia");
    ck_assert_ptr_nonnull(s);
    ck_assert_uint_le(node_remaining_ms(s), 10000);
    set_ns = 0;
    node_kill(s, "test", on_ended, &w);
    run_until(&w, &w.ended_cnt, 1);
    close_world(&w);
}
END_TEST

START_TEST(node_keeps_a_log_that_outlives_its_sandbox)
{
    struct world w;
    char path[128];
    struct adit_buf text;
    open_world(&w);
    create_running(&w, "ia");
    node_kill(node_find(w.node, "red", "ia"), "for a \"reason\"", on_ended, &w);
    run_until(&w, &w.released, 1);
    forget_node(&w);
    open_node(&w);
    (void)snprintf(path, sizeof(path), "%s/logs/ia.log", w.dir);
    adit_buf_init(&text, 65536);
    ck_assert_int_eq(adit_file_read(AT_FDCWD, path, &text, NULL), 0);
    char *log = adit_buf_steal_str(&text);
    ck_assert_ptr_nonnull(strstr(log, "\"message\":\"sandbox runs\""));
    ck_assert_ptr_nonnull(strstr(log, "\"reason\":\"for a \\\"reason\\\"\"}"));
    free(log);
    close_world(&w);
}
END_TEST

START_TEST(node_ends_what_expired_while_no_broker_ran)
{
    struct world w;
    open_world(&w);
    create_running(&w, "ia");
    forget_node(&w);
    skipped_ns += UINT64_C(120) * 1000000000;
    open_node(&w);
    node_adopt(w.node);
    run_until(&w, &w.released, 1);
    ck_assert(!has_folder(&w, "ia"));
    close_world(&w);
}
END_TEST

START_TEST(node_ends_what_died_while_no_broker_ran)
{
    struct world w;
    open_world(&w);
    create_running(&w, "ia");
    forget_node(&w);
    w.vmm.adopt_code = ADIT_ERR_NOT_FOUND;
    open_node(&w);
    node_adopt(w.node);
    ck_assert_ptr_null(node_find(w.node, "red", "ia"));
    run_until(&w, &w.released, 1);
    ck_assert_uint_eq(w.vmm.destroyed, 1);
    ck_assert(!has_folder(&w, "ia"));
    close_world(&w);
}
END_TEST

START_TEST(node_serves_on_what_it_cannot_watch)
{
    struct world w;
    open_world(&w);
    create_running(&w, "ia");
    forget_node(&w);
    w.published = 0;
    w.vmm.adopt_code = ADIT_ERR_LIMIT; /* no descriptor was left */
    open_node(&w);
    node_adopt(w.node);
    struct sandbox *s = node_find(w.node, "red", "ia");
    ck_assert_ptr_nonnull(s);
    ck_assert_uint_eq(w.published, 1);
    ck_assert_uint_eq(w.vmm.destroyed, 0);
    node_kill(s, "test", on_ended, &w);
    run_until(&w, &w.ended_cnt, 1);
    ck_assert(!has_folder(&w, "ia"));
    close_world(&w);
}
END_TEST

static void put_folder(const struct world *w, const char *name, const char *record)
{
    char path[300];
    (void)snprintf(path, sizeof(path), "%s/sandboxes/%s", w->dir, name);
    ck_assert_int_eq(mkdir(path, 0700), 0);
    if (!record)
        return;
    strcat(path, "/record.json");
    ck_assert_int_eq(adit_file_replace(AT_FDCWD, path, adit_view_str(record), 0600, NULL), 0);
}

START_TEST(node_removes_half_made_sandboxes_and_leaves_torn_records_alone)
{
    struct world w;
    open_world(&w);
    put_folder(&w, "ihalf", NULL);
    put_folder(&w, "iempty", "");
    put_folder(&w, "itorn", "{\"version\":1,\"sandb");
    put_folder(&w, "Not-an-id", NULL);
    node_adopt(w.node);
    run_until(&w, &w.released, 2);
    ck_assert_uint_eq(w.vmm.destroyed, 2);
    ck_assert(!has_folder(&w, "ihalf"));
    ck_assert(!has_folder(&w, "iempty"));
    ck_assert(has_folder(&w, "itorn"));
    ck_assert(has_folder(&w, "Not-an-id"));
    close_world(&w);
}
END_TEST

START_TEST(node_ends_a_create_that_an_earlier_broker_did_not_finish)
{
    struct world w;
    open_world(&w);
    ck_assert_int_eq(create(&w, "ia", 60000, NULL), 0);
    while (w.vmm.created == 0) /* its record says "creating" now */
        (void)uv_run(&w.uv, UV_RUN_ONCE);
    forget_node(&w);
    ck_assert(has_folder(&w, "ia"));
    open_node(&w);
    node_adopt(w.node);
    run_until(&w, &w.released, 1);
    ck_assert_uint_eq(w.vmm.destroyed, 1);
    ck_assert(!has_folder(&w, "ia"));
    close_world(&w);
}
END_TEST

/* ---- rotation ---- */

static void on_rotated(void *user, const struct adit_err *err)
{
    struct world *w = user;
    w->saved_cnt++;
    w->last.code = err ? err->code : 0;
}

static int rotate(struct world *w, struct adit_err *err)
{
    return node_rotate_tokens(node_find(w->node, "red", "ia"), on_rotated, w, err);
}

static void token(const struct world *w, uint32_t generation, char out[TOKENS_CAP])
{
    tokens_envd(&w->tokens, "ia", generation, out);
}

static uint32_t generation(const struct world *w)
{
    return record_generation(node_record(node_find(w->node, "red", "ia")));
}

START_TEST(node_rotates_tokens_in_order)
{
    struct world w;
    struct adit_err err = ADIT_ERR_INIT;
    char first[TOKENS_CAP], second[TOKENS_CAP];
    open_world(&w);
    create_running(&w, "ia");
    token(&w, 0, first);
    token(&w, 1, second);
    ck_assert_str_eq(w.route.envd_token, first);
    ck_assert_str_eq(w.vmm.shown, "");
    ck_assert_int_eq(rotate(&w, &err), 0);
    ck_assert_int_eq(rotate(&w, &err), ADIT_ERR_CONFLICT);
    ck_assert_uint_eq(generation(&w), 0); /* until all know the new one */
    run_until(&w, &w.saved_cnt, 1);
    ck_assert_int_eq(w.last.code, 0);
    ck_assert_uint_eq(generation(&w), 1);
    ck_assert_uint_eq(w.republished, 1);
    ck_assert_str_eq(w.vmm.shown, first);
    ck_assert_str_eq(w.route.envd_token, second);
    close_world(&w);
}
END_TEST

START_TEST(node_keeps_the_tokens_of_an_envd_that_refuses_others)
{
    struct world w;
    struct adit_err err = ADIT_ERR_INIT;
    open_world(&w);
    create_running(&w, "ia");
    w.vmm.init_status = 401;
    ck_assert_int_eq(rotate(&w, &err), 0);
    run_until(&w, &w.saved_cnt, 1);
    ck_assert_int_eq(w.last.code, ADIT_ERR_UNAVAILABLE);
    ck_assert(generation(&w) == 0 && w.republished == 0);
    ck_assert(!node_record(node_find(w.node, "red", "ia"))->is_rotating);
    close_world(&w);
}
END_TEST

START_TEST(node_completes_a_rotation_that_was_broken_off)
{
    struct world w;
    struct adit_err err = ADIT_ERR_INIT;
    char first[TOKENS_CAP], second[TOKENS_CAP];
    open_world(&w);
    create_running(&w, "ia");
    token(&w, 0, first);
    token(&w, 1, second);
    w.vmm.init_status = 503; /* it does not say whether it took the token */
    ck_assert_int_eq(rotate(&w, &err), 0);
    run_until(&w, &w.saved_cnt, 1);
    ck_assert_int_eq(w.last.code, ADIT_ERR_TIMEOUT);
    ck_assert_uint_eq(generation(&w), 0);
    forget_node(&w);
    w.vmm.init_status = 204;
    open_node(&w);
    node_adopt(w.node);
    ck_assert_str_eq(w.route.envd_token, first);
    run_until(&w, &w.republished, 1);
    ck_assert_str_eq(w.vmm.shown, first);
    ck_assert_str_eq(w.route.envd_token, second);
    ck_assert_uint_eq(generation(&w), 1);
    close_world(&w);
}
END_TEST

/* Rotate once more and see that it comes to its end. */
static void rotate_well(struct world *w)
{
    struct adit_err err = ADIT_ERR_INIT;
    unsigned before = w->saved_cnt;
    char second[TOKENS_CAP];
    token(w, 1, second);
    ck_assert_int_eq(rotate(w, &err), 0);
    run_until(w, &w->saved_cnt, before + 1);
    ck_assert_int_eq(w->last.code, 0);
    ck_assert_uint_eq(generation(w), 1);
    ck_assert_str_eq(w->route.envd_token, second);
}

START_TEST(node_tells_the_old_tokens_while_the_edge_knows_no_others)
{
    struct world w;
    struct adit_err err = ADIT_ERR_INIT;
    open_world(&w);
    create_running(&w, "ia");
    w.is_edge_short = true;
    ck_assert_int_eq(rotate(&w, &err), 0);
    run_until(&w, &w.saved_cnt, 1);
    ck_assert_int_eq(w.last.code, ADIT_ERR_NO_MEMORY);
    ck_assert_uint_eq(generation(&w), 0);
    w.is_edge_short = false;
    rotate_well(&w);
    close_world(&w);
}
END_TEST

START_TEST(node_remembers_a_broken_off_rotation_when_the_disk_fails)
{
    struct world w;
    struct adit_err err = ADIT_ERR_INIT;
    char folder[200], aside[200];
    open_world(&w);
    create_running(&w, "ia");
    w.vmm.init_status = 503; /* it may have taken the token */
    ck_assert_int_eq(rotate(&w, &err), 0);
    run_until(&w, &w.saved_cnt, 1);
    (void)snprintf(folder, sizeof(folder), "%s/sandboxes/ia", w.dir);
    (void)snprintf(aside, sizeof(aside), "%s/aside", w.dir);
    ck_assert_int_eq(rename(folder, aside), 0);
    int file = open(folder, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    ck_assert_int_ge(file, 0);
    close(file);
    ck_assert_int_eq(rotate(&w, &err), 0);
    run_until(&w, &w.saved_cnt, 2);
    ck_assert_int_ne(w.last.code, 0);
    ck_assert(node_record(node_find(w.node, "red", "ia"))->is_rotating);
    ck_assert_int_eq(unlink(folder), 0);
    ck_assert_int_eq(rename(aside, folder), 0);
    w.vmm.init_status = 204;
    rotate_well(&w);
    close_world(&w);
}
END_TEST

START_TEST(node_ends_a_sandbox_in_the_middle_of_a_rotation)
{
    struct world w;
    struct adit_err err = ADIT_ERR_INIT;
    open_world(&w);
    create_running(&w, "ia");
    w.vmm.init_status = 503;
    unsigned inits = w.vmm.inits;
    ck_assert_int_eq(rotate(&w, &err), 0);
    run_until(&w, &w.vmm.inits, inits + 1);
    node_kill(node_find(w.node, "red", "ia"), "test", on_ended, &w);
    run_until(&w, &w.ended_cnt, 1);
    ck_assert_uint_eq(w.saved_cnt, 1); /* who waited for the tokens was told */
    ck_assert(!has_folder(&w, "ia"));
    close_world(&w);
}
END_TEST

SUITE_MAIN_WITH(
    "node",
    TESTS(node_answers_a_create_when_all_is_in_place,
          node_takes_all_metadata_and_variables_that_the_door_takes,
          node_finds_a_sandbox_for_its_team_only,
          node_kill_leaves_nothing_and_is_answered_when_it_is_done,
          node_kill_works_without_the_scheduler, node_tries_again_until_a_sandbox_is_destroyed,
          node_undoes_a_create_whose_driver_fails, node_undoes_a_create_whose_envd_refuses,
          node_gives_up_on_an_envd_that_is_never_ready, node_refuses_more_than_fits,
          node_refuses_an_id_twice, node_ends_a_sandbox_at_its_time,
          node_moves_the_end_and_puts_it_on_record, node_knows_how_long_a_life_may_go_on,
          node_cleans_up_after_a_sandbox_that_ended_by_itself,
          node_takes_running_sandboxes_up_again, node_counts_by_the_wall_clock_after_a_boot,
          node_keeps_a_log_that_outlives_its_sandbox, node_ends_what_expired_while_no_broker_ran,
          node_ends_what_died_while_no_broker_ran, node_serves_on_what_it_cannot_watch,
          node_removes_half_made_sandboxes_and_leaves_torn_records_alone,
          node_ends_a_create_that_an_earlier_broker_did_not_finish, node_rotates_tokens_in_order,
          node_keeps_the_tokens_of_an_envd_that_refuses_others,
          node_completes_a_rotation_that_was_broken_off,
          node_tells_the_old_tokens_while_the_edge_knows_no_others,
          node_remembers_a_broken_off_rotation_when_the_disk_fails,
          node_ends_a_sandbox_in_the_middle_of_a_rotation),
    LOOPS({node_counts_on_when_the_wall_clock_was_set, 3},
          {node_samples_a_sandbox_and_believes_the_host_first, 2},
          {node_lives_with_a_guest_that_claims_nonsense, 2}))
