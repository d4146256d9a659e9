/* SPDX-License-Identifier: Apache-2.0 */
/* What the scheduler's profile refuses. Needs root. */
#include "scheduler/scheduler_profile.h"

#include "tests/unit/probe.h"
#include "tests/unit/suite.h"

static int enter(void)
{
    struct scheduler_conf conf = {.listen = malloc(128),
                                  .data_dir = strdup(probe_target.owned),
                                  .user = (char[]){"61181"},
                                  .client = (char[]){"61180"},
                                  .metrics_listen = (char[]){""},
                                  .seccomp = (char[]){"enforce"}};
    if (!conf.listen || !conf.data_dir)
        return -1;
    (void)snprintf(conf.listen, 128, "unix:%s/socket", probe_target.dir);
    return scheduler_profile_enter(&conf, NULL);
}

START_TEST(scheduler_profile_refuses)
{
    const struct probe *p = &probes[_i];
    if (geteuid() != 0 || probe_lacks(p)) {
        suite_skip(p->name, geteuid() ? "root" : probe_lacks(p));
        return;
    }
    int status = probe_run(enter, p->attempt);
    ck_assert_msg(probe_is_refused(status), "%s: status %#x", p->name, status);
}
END_TEST

static long write_store(void)
{
    char path[128];
    (void)snprintf(path, sizeof(path), "%s/store", probe_target.owned);
    return open(path, O_CREAT | O_RDWR | O_CLOEXEC, 0600);
}

START_TEST(scheduler_profile_leaves_the_store)
{
    if (geteuid() != 0) {
        suite_skip("scheduler_profile_leaves_the_store", "root");
        return;
    }
    ck_assert_int_eq(WEXITSTATUS(probe_run(enter, write_store)), PROBE_DONE);
}
END_TEST

SUITE_MAIN_WITH("scheduler_probe", .fixtures = {{probe_targets_open, probe_targets_close}},
                TESTS(scheduler_profile_leaves_the_store),
                LOOPS({scheduler_profile_refuses, PROBE_CNT}))
