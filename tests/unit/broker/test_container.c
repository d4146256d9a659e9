/* SPDX-License-Identifier: Apache-2.0 */
/* Real containers through driver, client and launcher. Needs root, crun and a C compiler. */
#include "broker/vmm/container.h"

#include "tests/unit/broker/run_world.h"
#include "tests/unit/suite.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"
#include "base/log.h"
#include "broker/launcher/launch_container.h"
#include "broker/launcher/launch_sandbox.h"
#include "broker/launcher/launcher.h"

#define TEXT_CAP (1024u * 1024)

static char base_dir[RUN_WORLD_CAP], cgroup_parent[RUN_WORLD_CAP];
static char templates_dir[96], sandboxes_dir[96], agent[96], template_dir[128];
static uv_loop_t loop;
static struct launcher_client *client;
static struct launched *launched;
static struct launched_vmm container;
static struct vmm *const driver = &container.vmm;
static const struct vmm_driver *const ops = &launched_driver;
static pid_t keeper;
static bool restarted, lost;

/* ---- helpers ---- */

/* Also outside of tests, where Check's assertions do not work. */
static void must(bool is_true, const char *what)
{
    if (is_true)
        return;
    fprintf(stderr, "test_container: failed: %s\n", what);
    exit(1);
}

static void shell(const char *format, ...) __attribute__((format(printf, 1, 2)));
static void shell(const char *format, ...)
{
    char command[1024];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(command, sizeof(command), format, args);
    va_end(args);
    must(system(command) == 0, command);
}

static char *read_text(const char *format, ...) __attribute__((format(printf, 1, 2)));
static char *read_text(const char *format, ...)
{
    char path[512];
    struct adit_buf text;
    va_list args;
    va_start(args, format);
    (void)vsnprintf(path, sizeof(path), format, args);
    va_end(args);
    adit_buf_init(&text, TEXT_CAP);
    if (adit_file_read(AT_FDCWD, path, &text, NULL)) {
        adit_buf_fini(&text);
        return strdup("");
    }
    return adit_buf_steal_str(&text);
}

struct waiter {
    bool is_done;
    int code;
    struct vmm_instance instance;
    char message[ADIT_ERR_MSG_CAP];
};

static void note(struct waiter *w, const struct adit_err *err)
{
    w->is_done = true;
    w->code = err ? err->code : 0;
    (void)snprintf(w->message, sizeof(w->message), "%s", err ? err->msg : "");
}

static void on_created(void *user, const struct vmm_instance *instance, const struct adit_err *err)
{
    struct waiter *w = user;
    if (instance)
        w->instance = *instance;
    note(w, err);
}

static void on_done(void *user, const struct adit_err *err)
{
    note(user, err);
}

static char ended_id[64], ended_reason[128];

static void on_exited(void *owner, const char *sandbox_id, const char *reason)
{
    (void)owner;
    (void)snprintf(ended_id, sizeof(ended_id), "%s", sandbox_id);
    (void)snprintf(ended_reason, sizeof(ended_reason), "%s", reason);
}

static void on_restart(void *owner)
{
    (void)owner;
    restarted = true;
}

static void on_lost(void *owner)
{
    (void)owner;
    lost = true;
}

static char *dir_of(const char *id)
{
    static char dir[192];
    (void)snprintf(dir, sizeof(dir), "%s/%s", sandboxes_dir, id);
    return dir;
}

static struct vmm_spec spec_of(const char *id, uint64_t memory_mb)
{
    (void)mkdir(dir_of(id), 0700);
    return (struct vmm_spec){.sandbox_id = id,
                             .template_id = "t",
                             .template_dir = template_dir,
                             .sandbox_dir = dir_of(id),
                             .cpu_count = 1,
                             .memory_mb = memory_mb,
                             .pids_max = 64};
}

static void wait_for(const bool *flag)
{
    while (!*flag)
        (void)uv_run(&loop, UV_RUN_ONCE);
}

static struct waiter create(const char *id, uint64_t memory_mb)
{
    struct waiter w = {0};
    struct adit_err err = ADIT_ERR_INIT;
    struct vmm_spec spec = spec_of(id, memory_mb);
    int rc = ops->create(driver, &spec, on_created, &w, &err);
    ck_assert_msg(rc == 0, "%s", err.msg);
    wait_for(&w.is_done);
    return w;
}

static struct vmm_instance must_create(const char *id, uint64_t memory_mb)
{
    struct waiter w = create(id, memory_mb);
    ck_assert_msg(w.code == 0, "%s", w.message);
    return w.instance;
}

static void destroy(const char *id)
{
    struct waiter w = {0};
    struct adit_err err = ADIT_ERR_INIT;
    int rc = ops->destroy(driver, id, dir_of(id), NULL, on_done, &w, &err);
    ck_assert_msg(rc == 0, "%s", err.msg);
    wait_for(&w.is_done);
    ck_assert_msg(w.code == 0, "%s", w.message);
}

/* Send a line on a new channel. Return: what came back until "end" or the end. */
static const char *ask(const struct vmm_instance *i, const char *line)
{
    static char text[8192];
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    size_t len = 0;
    ssize_t n = 1;
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    struct timeval limit = {10, 0};
    ck_assert(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)) == 0);
    (void)snprintf(address.sun_path, sizeof(address.sun_path), "%s", i->target.path);
    ck_assert(connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0);
    ck_assert(send(fd, line, strlen(line), MSG_NOSIGNAL) == (ssize_t)strlen(line));
    ck_assert(shutdown(fd, SHUT_WR) == 0);
    while (n > 0 && len < sizeof(text) - 1) {
        n = recv(fd, text + len, sizeof(text) - 1 - len, 0);
        len += n > 0 ? (size_t)n : 0;
    }
    text[len] = '\0';
    close(fd);
    return text;
}

static const char *wait_end(const char *id)
{
    while (strcmp(ended_id, id) != 0)
        (void)uv_run(&loop, UV_RUN_ONCE);
    return ended_reason;
}

static void assert_nothing_left(const char *id)
{
    static const char *const roots[] = {"", "/memory", "/cpu", "/pids"};
    char path[256];
    for (size_t i = 0; i < 4; i++) {
        (void)snprintf(path, sizeof(path), "/sys/fs/cgroup%s/%s/%s", roots[i], cgroup_parent, id);
        ck_assert_msg(access(path, F_OK) != 0, "%s is left", path);
    }
    ck_assert_msg(rmdir(dir_of(id)) == 0 || errno == ENOENT, "%s: %s", dir_of(id), strerror(errno));
    char *mounts = read_text("/proc/self/mountinfo");
    ck_assert(strstr(mounts, base_dir) == NULL);
    free(mounts);
}

/* ---- fixture ---- */

static void open_driver(void)
{
    struct launched_conf conf = {.loop = &loop, .client = client, .on_exited = on_exited};
    ck_assert(launched_open(&conf, &launched, NULL) == 0);
    container_init(&container, launched, "container");
}

static void start_broker(void)
{
    struct adit_err err = ADIT_ERR_INIT;
    struct launcher_conf launcher = {
        .runtime = "/usr/bin/crun",
        .envd = agent,
        .templates_dir = templates_dir,
        .sandboxes_dir = sandboxes_dir,
        .cgroup_parent = cgroup_parent,
    };
    struct launcher_client_ops client_ops = {on_restart, on_lost};
    int fd;
    ck_assert_msg(launcher_start(&launcher, &fd, &keeper, &err) == 0, "%s", err.msg);
    ck_assert(launcher_client_open(&loop, fd, &client_ops, NULL, &client, &err) == 0);
    open_driver();
    while (launcher_client_pid(client) == 0)
        (void)uv_run(&loop, UV_RUN_ONCE);
}

static void stop_broker(void)
{
    int status;
    launched_close(launched);
    launcher_client_close(client);
    (void)uv_run(&loop, UV_RUN_DEFAULT);
    ck_assert(waitpid(keeper, &status, 0) == keeper);
    ck_assert(lost || status == 0);
}

static void setup(void)
{
    ck_assert(uv_loop_init(&loop) == 0);
    start_broker();
}

static void teardown(void)
{
    stop_broker();
    ck_assert(uv_loop_close(&loop) == 0);
}

/* ---- tests ---- */

START_TEST(container_root_is_nobody_on_the_host)
{
    struct vmm_instance i = must_create("a1", 64);
    uid_t base = LAUNCH_UID_BASE + i.slot * LAUNCH_UID_CNT;
    char expected[64];

    (void)snprintf(expected, sizeof(expected), "Uid:\t%u\t%u", base, base);
    char *status = read_text("/proc/%d/status", (int)i.pid);
    ck_assert_ptr_nonnull(strstr(status, expected));
    ck_assert_ptr_nonnull(strstr(status, "CapEff:\t00000000a80435fb"));
    ck_assert_ptr_nonnull(strstr(status, "CapBnd:\t00000000a80435fb"));
    ck_assert_ptr_nonnull(strstr(status, "Seccomp:\t2"));
    ck_assert_ptr_nonnull(strstr(status, "NoNewPrivs:\t0"));
    free(status);
    char *map = read_text("/proc/%d/uid_map", (int)i.pid);
    unsigned inside, outside, cnt;
    ck_assert_int_eq(sscanf(map, "%u %u %u", &inside, &outside, &cnt), 3);
    ck_assert_uint_eq(inside, 0);
    ck_assert_uint_eq(outside, base);
    ck_assert_uint_eq(cnt, LAUNCH_UID_CNT);
    free(map);
    destroy("a1");
    assert_nothing_left("a1");
}
END_TEST

/* Where the host allows it: a broker in a container of somebody else's may not. */
START_TEST(container_agent_goes_last_when_memory_runs_out)
{
    struct vmm_instance i = must_create("a4", 64);
    char *own = read_text("/proc/self/status");
    char *score = read_text("/proc/%d/oom_score_adj", (int)i.pid);
    unsigned long long caps = strtoull(strstr(own, "CapEff:") + strlen("CapEff:"), NULL, 16);
    if (caps >> CAP_SYS_RESOURCE & 1)
        ck_assert_str_eq(score, "-1000\n");
    else
        suite_skip("container_agent_goes_last_when_memory_runs_out", "CAP_SYS_RESOURCE");
    free(own);
    free(score);
    destroy("a4");
    assert_nothing_left("a4");
}
END_TEST

START_TEST(container_channel_is_for_the_broker_alone)
{
    struct vmm_instance i = must_create("a2", 64);
    struct stat st;
    ck_assert_int_eq(lstat(i.target.path, &st), 0);
    ck_assert_uint_eq(st.st_mode, S_IFSOCK | 0600);
    ck_assert_uint_eq(st.st_uid, geteuid());
    destroy("a2");
}
END_TEST

START_TEST(container_has_only_the_loopback_device)
{
    struct vmm_instance i = must_create("a2", 64);
    char *net = read_text("/proc/%d/net/dev", (int)i.pid);
    char *first = strstr(net, "lo:");
    ck_assert_ptr_nonnull(first);
    ck_assert_ptr_null(strchr(first + 3, ':'));
    free(net);
    destroy("a2");
}
END_TEST

START_TEST(container_allows_and_refuses_what_containers_usually_do)
{
    static const char *const lines[] = {"leaks 0",
                                        "pid 1",
                                        "uid 0",
                                        "write ok",
                                        "write_tmp ok",
                                        "template_is_mine ok",
                                        "chown_template ok",
                                        "write_envd EACCES",
                                        "set_user ok",
                                        "clone_userns EPERM",
                                        "clone3 ENOSYS",
                                        "unshare EPERM",
                                        "mount EPERM",
                                        "bpf EPERM",
                                        "io_uring EPERM",
                                        "keyctl EPERM",
                                        "vsock EAFNOSUPPORT",
                                        "alg EAFNOSUPPORT",
                                        "inet ok",
                                        "unknown_call ENOSYS",
                                        "mknod EPERM",
                                        "planted_device EACCES",
                                        "sysctl EACCES"};
    struct stat st;
    char path[256];
    struct vmm_instance i = must_create("a3", 64);
    const char *text = ask(&i, "CONNECT 49983\nprobe\n");
    ck_assert_ptr_nonnull(strstr(text, "OK 1\n"));
    for (size_t n = 0; n < sizeof(lines) / sizeof(lines[0]); n++) {
        char line[64];
        (void)snprintf(line, sizeof(line), "\n%s\n", lines[n]);
        ck_assert_msg(strstr(text, line) != NULL, "%s not in:\n%s", lines[n], text);
    }
    /* Nothing of it reached the template. */
    (void)snprintf(path, sizeof(path), "%s/root/etc/written", template_dir);
    ck_assert(access(path, F_OK) != 0);
    (void)snprintf(path, sizeof(path), "%s/root/etc/hostname", template_dir);
    ck_assert(stat(path, &st) == 0);
    ck_assert_uint_eq(st.st_uid, 0);
    /* crun gives its standard streams away: that must not be the host's device. */
    ck_assert(stat("/dev/null", &st) == 0);
    ck_assert_uint_eq(st.st_uid, 0);
    destroy("a3");
    assert_nothing_left("a3");
}
END_TEST

START_TEST(container_tells_how_it_ended)
{
    struct vmm_instance i = must_create("b1", 64);
    (void)ask(&i, "exit 7\n");
    ck_assert_str_eq(wait_end("b1"), "exit status 7");
    destroy("b1");

    i = must_create("b2", 64);
    ck_assert(kill(i.pid, SIGKILL) == 0);
    ck_assert_str_eq(wait_end("b2"), "signal: killed");
    destroy("b2");

    i = must_create("b3", 32);
    (void)ask(&i, "hog\n");
    ck_assert_str_eq(wait_end("b3"), "out of memory");
    destroy("b3");
    assert_nothing_left("b3");
}
END_TEST

START_TEST(container_destroy_is_idempotent_and_takes_unknown_ones)
{
    struct vmm_instance i = must_create("c1", 64);
    destroy("c1");
    ck_assert(kill(i.pid, 0) != 0);
    destroy("c1");
    destroy("neverwas");
    assert_nothing_left("c1");
}
END_TEST

START_TEST(container_runs_many_at_once)
{
    enum { MANY = 12 };
    struct waiter waiters[MANY];
    char ids[MANY][8];
    memset(waiters, 0, sizeof(waiters));
    for (int n = 0; n < MANY; n++) {
        (void)snprintf(ids[n], sizeof(ids[n]), "m%d", n);
        struct vmm_spec spec = spec_of(ids[n], 64);
        ck_assert(ops->create(driver, &spec, on_created, &waiters[n], NULL) == 0);
        ck_assert_int_eq(ops->create(driver, &spec, on_created, NULL, NULL), ADIT_ERR_EXISTS);
    }
    for (int n = 0; n < MANY; n++) {
        wait_for(&waiters[n].is_done);
        ck_assert_msg(waiters[n].code == 0, "%s", waiters[n].message);
        for (int other = 0; other < n; other++)
            ck_assert_uint_ne(waiters[n].instance.slot, waiters[other].instance.slot);
    }
    for (int n = 0; n < MANY; n++) {
        destroy(ids[n]);
        assert_nothing_left(ids[n]);
    }
}
END_TEST

START_TEST(container_destroyed_while_it_is_created_is_gone)
{
    struct waiter made = {0}, gone = {0};
    struct vmm_spec spec = spec_of("d1", 64);
    ck_assert(ops->create(driver, &spec, on_created, &made, NULL) == 0);
    ck_assert(ops->destroy(driver, "d1", dir_of("d1"), NULL, on_done, &gone, NULL) == 0);
    wait_for(&gone.is_done);
    ck_assert(made.is_done);
    ck_assert_int_eq(made.code, ADIT_ERR_CANCELED);
    ck_assert_int_eq(gone.code, 0);
    assert_nothing_left("d1");
}
END_TEST

/* As a new broker would, with what was watched forgotten. */
static void reopen_driver(void)
{
    launched_close(launched);
    open_driver();
    ended_id[0] = '\0';
}

static void on_pong(void *user, const struct launch_reply *reply, int take_pidfd,
                    const struct adit_err *err)
{
    (void)reply;
    (void)take_pidfd;
    (void)err;
    *(bool *)user = true;
}

/* All that was asked for before has been answered. */
static void drain_launcher(void)
{
    struct launch_request ping = {.kind = LAUNCH_PING};
    bool is_answered = false;
    ck_assert(launcher_client_send(client, &ping, on_pong, &is_answered, NULL) == 0);
    wait_for(&is_answered);
}

START_TEST(container_outlives_launcher_and_driver)
{
    struct vmm_instance i = must_create("e1", 64);

    ck_assert(kill(launcher_client_pid(client), SIGKILL) == 0);
    wait_for(&restarted);
    ck_assert_str_eq(ask(&i, "CONNECT 1\n"), "OK 1\n");
    (void)must_create("e2", 64);
    destroy("e2");

    reopen_driver();
    struct vmm_instance stranger = i;
    stranger.pid_start++;
    ck_assert_int_eq(ops->adopt(driver, "e1", &stranger, NULL), 0);
    ck_assert_str_eq(wait_end("e1"), VMM_ENDED_UNWATCHED);
    reopen_driver();
    stranger = i;
    stranger.pid = getpid();
    (void)launch_sandbox_pid_start(getpid(), &stranger.pid_start, NULL);
    ck_assert_int_eq(ops->adopt(driver, "e1", &stranger, NULL), 0); /* alive, but no container */
    ck_assert_str_eq(wait_end("e1"), VMM_ENDED_UNWATCHED);
    reopen_driver();
    struct rlimit was, none = {0, 0};
    ck_assert(getrlimit(RLIMIT_NOFILE, &was) == 0);
    none.rlim_max = was.rlim_max;
    ck_assert(setrlimit(RLIMIT_NOFILE, &none) == 0);
    ck_assert_int_eq(ops->adopt(driver, "e1", &i, NULL), 0);
    drain_launcher();
    ck_assert_str_eq(ended_id, ""); /* not: it is gone */
    ck_assert(setrlimit(RLIMIT_NOFILE, &was) == 0);
    reopen_driver();
    ck_assert_int_eq(ops->adopt(driver, "e1", &i, NULL), 0);
    struct vmm_instance next = must_create("e3", 64);
    ck_assert_uint_ne(next.slot, i.slot);
    destroy("e3");
    ck_assert(kill(i.pid, SIGKILL) == 0);
    ck_assert_str_eq(wait_end("e1"), "ended");
    destroy("e1");
    assert_nothing_left("e1");
}
END_TEST

START_TEST(container_outlives_the_broker)
{
    struct vmm_instance i = must_create("f1", 64);
    stop_broker();
    ck_assert_str_eq(ask(&i, "CONNECT 1\n"), "OK 1\n");
    start_broker();
    ck_assert_int_eq(ops->adopt(driver, "f1", &i, NULL), 0);
    destroy("f1");
    assert_nothing_left("f1");
}
END_TEST

START_TEST(container_create_fails_clean_when_the_launcher_dies)
{
    struct waiter w = {0};
    struct vmm_spec spec = spec_of("g1", 64);
    pid_t launcher = launcher_client_pid(client);
    ck_assert(kill(launcher, SIGSTOP) == 0);
    ck_assert(ops->create(driver, &spec, on_created, &w, NULL) == 0);
    ck_assert(kill(launcher, SIGKILL) == 0);
    wait_for(&w.is_done);
    ck_assert_int_eq(w.code, ADIT_ERR_UNAVAILABLE);
    assert_nothing_left("g1");
    (void)must_create("g1", 64);
    destroy("g1");
}
END_TEST

START_TEST(container_says_so_when_there_is_no_launcher_any_more)
{
    struct adit_err err = ADIT_ERR_INIT;
    struct vmm_spec spec = spec_of("h1", 64);
    ck_assert(kill(keeper, SIGKILL) == 0);
    wait_for(&lost);
    ck_assert_int_eq(ops->create(driver, &spec, on_created, NULL, &err), ADIT_ERR_UNAVAILABLE);
    ck_assert(rmdir(dir_of("h1")) == 0);
}
END_TEST

START_TEST(container_refuses_hostile_templates_and_foreign_paths)
{
    char good[sizeof(template_dir)], link[sizeof(template_dir)];
    memcpy(good, template_dir, sizeof(good));
    (void)snprintf(template_dir, sizeof(template_dir), "%s/symlinked", templates_dir);
    shell("mkdir -p %s/root && ln -s / %s/root/proc", template_dir, template_dir);
    ck_assert_int_eq(create("i1", 64).code, ADIT_ERR_BAD_INPUT);
    assert_nothing_left("i1");

    (void)snprintf(template_dir, sizeof(template_dir), "/etc");
    ck_assert_int_eq(create("i2", 64).code, ADIT_ERR_BAD_INPUT);
    (void)snprintf(template_dir, sizeof(template_dir), "%s/../../etc", templates_dir);
    ck_assert_int_eq(create("i2", 64).code, ADIT_ERR_BAD_INPUT);
    (void)snprintf(template_dir, sizeof(template_dir), "%s/absent", templates_dir);
    ck_assert_int_eq(create("i2", 64).code, ADIT_ERR_NOT_FOUND);
    (void)snprintf(link, sizeof(link), "%s/link", templates_dir);
    ck_assert(symlink(good, link) == 0);
    (void)snprintf(template_dir, sizeof(template_dir), "%s", link);
    ck_assert_int_ne(create("i2", 64).code, 0);
    assert_nothing_left("i2");
    memcpy(template_dir, good, sizeof(good));
}
END_TEST

/* The directory of sandboxes is in one that belongs to the broker's user. */
START_TEST(container_launcher_does_not_follow_a_link_to_the_sandboxes)
{
    char link[sizeof(sandboxes_dir) + 8];
    struct adit_err err = ADIT_ERR_INIT;
    pid_t pid;
    int fd;
    (void)snprintf(link, sizeof(link), "%s.link", sandboxes_dir);
    ck_assert(symlink(sandboxes_dir, link) == 0);
    struct launcher_conf conf = {
        .runtime = "/usr/bin/crun",
        .envd = agent,
        .templates_dir = templates_dir,
        .sandboxes_dir = link,
        .cgroup_parent = cgroup_parent,
    };
    ck_assert_int_ne(launcher_start(&conf, &fd, &pid, &err), 0);
    ck_assert_ptr_nonnull(strstr(err.msg, link));
    ck_assert(unlink(link) == 0);
}
END_TEST

START_TEST(container_refuses_a_directory_that_is_in_use)
{
    char path[256];
    struct waiter w;
    (void)mkdir(dir_of("j1"), 0700);
    (void)snprintf(path, sizeof(path), "%s/container", dir_of("j1"));
    ck_assert(mkdir(path, 0700) == 0);
    w = create("j1", 64);
    ck_assert_int_eq(w.code, ADIT_ERR_EXISTS);
    ck_assert(access(path, F_OK) == 0);
    destroy("j1");
    assert_nothing_left("j1");
}
END_TEST

/* ---- main ---- */

static const char *missing(void)
{
    if (geteuid() != 0)
        return "root";
    if (access("/usr/bin/crun", X_OK) != 0)
        return "crun";
    if (system("command -v cc >/dev/null 2>&1") != 0)
        return "cc (a C compiler, for the agent inside)";
    return NULL;
}

static void make_world(void)
{
    char device[256];
    must(run_world_make(base_dir), "make this run's world");
    (void)snprintf(cgroup_parent, sizeof(cgroup_parent), "%s", run_world_group(base_dir));
    (void)snprintf(templates_dir, sizeof(templates_dir), "%s/templates", base_dir);
    (void)snprintf(sandboxes_dir, sizeof(sandboxes_dir), "%s/sandboxes", base_dir);
    (void)snprintf(agent, sizeof(agent), "%s/agent", base_dir);
    (void)snprintf(template_dir, sizeof(template_dir), "%s/t", templates_dir);
    (void)snprintf(device, sizeof(device), "%s/root/planted", template_dir);
    shell("mkdir -p %s %s/root", sandboxes_dir, template_dir);
    shell("cd %s/root && mkdir dev proc sys etc tmp && chmod 1777 tmp && echo host >etc/hostname",
          template_dir);
    must(mknod(device, S_IFCHR | 0666, makedev(1, 3)) == 0, "mknod");
    shell("cc -D_GNU_SOURCE -static -O1 -o %s tests/unit/broker/probe_agent.c", agent);
}

int main(void)
{
    const char *what = missing();
    if (what) {
        suite_skip("test_container", what);
        return EXIT_SUCCESS;
    }
    adit_log_init("test_container", ADIT_LOG_ERROR, false);
    make_world();
    int status = suite_run(&(struct suite){
        .name = "container",
        .fixtures = {{setup, teardown}},
        TESTS(container_root_is_nobody_on_the_host, container_agent_goes_last_when_memory_runs_out,
              container_channel_is_for_the_broker_alone, container_has_only_the_loopback_device,
              container_allows_and_refuses_what_containers_usually_do, container_tells_how_it_ended,
              container_destroy_is_idempotent_and_takes_unknown_ones, container_runs_many_at_once,
              container_destroyed_while_it_is_created_is_gone,
              container_outlives_launcher_and_driver, container_outlives_the_broker,
              container_create_fails_clean_when_the_launcher_dies,
              container_says_so_when_there_is_no_launcher_any_more,
              container_refuses_hostile_templates_and_foreign_paths,
              container_launcher_does_not_follow_a_link_to_the_sandboxes,
              container_refuses_a_directory_that_is_in_use)});
    must(run_world_remove(base_dir), "remove this run's world");
    return status;
}
