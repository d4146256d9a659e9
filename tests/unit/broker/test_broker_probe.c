/* SPDX-License-Identifier: Apache-2.0 */
/* What the broker's and the launcher's profile refuse. Needs root. */
#include "broker/broker_profile.h"

#include "tests/unit/probe.h"
#include "tests/unit/suite.h"

#include "broker/launcher/launcher_profile.h"

static const struct confine_user nobody = {CONFINE_BROKER_UID, CONFINE_BROKER_UID};
static char templates[96], scheduler[64];
static int listed;

static int enter_broker(void)
{
    struct broker_conf conf = {.state_dir = probe_target.owned,
                               .templates_dir = templates,
                               .tls_cert = scheduler + sizeof(scheduler) - 1,
                               .tls_key = scheduler + sizeof(scheduler) - 1,
                               .scheduler = scheduler,
                               .seccomp = (char[]){"enforce"}};
    return broker_profile_enter(&nobody, &conf, NULL);
}

static int enter_launcher(void)
{
    return launcher_profile_enter(NULL);
}

static int enter_nothing(void)
{
    return 0;
}

static void setup(void)
{
    struct sockaddr_in a = probe_loopback(0);
    socklen_t len = sizeof(a);
    probe_targets_open();
    (void)snprintf(templates, sizeof(templates), "%s/templates", probe_target.dir);
    ck_assert_int_eq(mkdir(templates, 0777), 0);
    ck_assert_int_eq(chmod(templates, 0777), 0);
    ck_assert_int_eq(chown(probe_target.owned, nobody.uid, nobody.gid), 0);
    listed = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ck_assert_int_eq(bind(listed, (struct sockaddr *)&a, sizeof(a)), 0);
    ck_assert_int_eq(listen(listed, 8), 0);
    ck_assert_int_eq(getsockname(listed, (struct sockaddr *)&a, &len), 0);
    (void)snprintf(scheduler, sizeof(scheduler), "127.0.0.1:%u", ntohs(a.sin_port));
}

static void teardown(void)
{
    (void)close(listed); /* of this test alone */
    probe_targets_close();
}

START_TEST(broker_profile_refuses)
{
    const struct probe *p = &probes[_i];
    if (geteuid() != 0 || probe_lacks(p)) {
        suite_skip(p->name, geteuid() ? "root" : probe_lacks(p));
        return;
    }
    int status = probe_run(enter_broker, p->attempt);
    ck_assert_msg(probe_is_refused(status), "%s: status %#x", p->name, status);
}
END_TEST

/* Else the test above could not fail. */
START_TEST(broker_probe_succeeds_without_a_profile)
{
    const struct probe *p = &probes[_i];
    if (geteuid() != 0 || !p->works)
        return;
    int status = probe_run(enter_nothing, p->attempt);
    ck_assert_msg(!probe_is_refused(status), "%s: refused to root", p->name);
}
END_TEST

static long write_template(void)
{
    char path[128];
    (void)snprintf(path, sizeof(path), "%s/file", templates);
    return open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
}

static long write_state(void)
{
    char path[128];
    (void)snprintf(path, sizeof(path), "%s/file", probe_target.owned);
    return open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
}

static long connect_listed(void)
{
    struct sockaddr_in a = probe_loopback((uint16_t)atoi(strrchr(scheduler, ':') + 1));
    return connect(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), (struct sockaddr *)&a,
                   sizeof(a));
}

START_TEST(broker_profile_leaves_what_serving_takes)
{
    if (geteuid() != 0) {
        suite_skip("broker_profile_leaves_what_serving_takes", "root");
        return;
    }
    ck_assert_int_eq(WEXITSTATUS(probe_run(enter_broker, write_state)), PROBE_DONE);
    ck_assert_int_eq(WEXITSTATUS(probe_run(enter_broker, connect_listed)), PROBE_DONE);
    ck_assert(probe_is_refused(probe_run(enter_broker, write_template)));
}
END_TEST

/* It stays root, but without network and without what changes the kernel. */
START_TEST(launcher_profile_refuses)
{
    static const struct {
        const char *name;
        long (*attempt)(void);
    } refused[] = {
        {"AF_VSOCK", probe_vsock},
        {"connect to the host's loopback", probe_connect},
        {"connect to an abstract socket outside", probe_abstract},
        {"raw sockets", probe_raw},
        {"bpf", probe_bpf},
        {"io_uring_setup", probe_io_uring},
        {"open_by_handle_at", probe_open_by_handle},
        {"perf_event_open", probe_perf},
        {"init_module", probe_module},
    };
    if (geteuid() != 0) {
        suite_skip("launcher_profile_refuses", "root");
        return;
    }
    for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++)
        ck_assert_msg(probe_is_refused(probe_run(enter_launcher, refused[i].attempt)), "%s",
                      refused[i].name);
    ck_assert_int_eq(WEXITSTATUS(probe_run(enter_launcher, probe_fork)), PROBE_DONE);
    ck_assert_int_eq(WEXITSTATUS(probe_run(enter_launcher, probe_execve)), 0);
}
END_TEST

SUITE_MAIN_WITH("broker_probe", .fixtures = {{setup, teardown}},
                TESTS(broker_profile_leaves_what_serving_takes, launcher_profile_refuses),
                LOOPS({broker_profile_refuses, PROBE_CNT},
                      {broker_probe_succeeds_without_a_profile, PROBE_CNT}))
