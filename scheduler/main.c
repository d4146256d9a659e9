/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The scheduler's program.
 *
 * Theory of operation
 *
 * What: configuration, signals and the loop around struct scheduler. It ends in order on SIGTERM
 * and SIGINT, and when the pipe of --parent-fd ends: a broker's own scheduler never outlives it.
 * Exit status: 0 in order; else the error's (status.c).
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "rpc/status.h"
#include "scheduler/scheduler.h"
#include "scheduler/scheduler_profile.h"

#define SIGNAL_CNT 2

/*
 * @parent: the pipe of --parent-fd
 */
struct program {
    struct scheduler_conf conf;
    struct scheduler *scheduler;
    uv_loop_t uv;
    uv_signal_t signals[SIGNAL_CNT];
    uv_poll_t parent;
    bool has_parent;
};

static void stop(struct program *p, const char *why)
{
    adit_log(ADIT_LOG_INFO, "stopping", LOG_S("reason", why));
    scheduler_stop(p->scheduler);
}

static void on_signal(uv_signal_t *signal, int number)
{
    stop(signal->data, number == SIGTERM ? "SIGTERM" : "SIGINT");
}

/* The parent writes nothing: what can be read is the end. */
static void on_parent(uv_poll_t *poll, int status, int events)
{
    char byte;
    int fd = -1;
    (void)events;                              /* one kind only */
    (void)uv_fileno((uv_handle_t *)poll, &fd); /* it is open */
    if (status == 0 && read(fd, &byte, 1) != 0)
        return;
    (void)uv_poll_stop(poll); /* cannot fail */
    stop(poll->data, "parent ended");
}

static int watch_parent(struct program *p, struct adit_err *err)
{
    int fd = (int)p->conf.parent_fd;
    struct stat st;
    if (fd == 0)
        return 0;
    if (fstat(fd, &st) || !S_ISFIFO(st.st_mode))
        return adit_err_set(err, ADIT_ERR_BAD_INPUT, "parent-fd: %d is not a pipe", fd);
    if (fcntl(fd, F_SETFD, FD_CLOEXEC))
        return adit_err_sys(err, errno, "parent-fd");
    int rc = uv_poll_init(&p->uv, &p->parent, fd);
    if (rc)
        return adit_err_sys(err, -rc, "parent-fd");
    p->has_parent = true;
    p->parent.data = p;
    rc = uv_poll_start(&p->parent, UV_READABLE | UV_DISCONNECT, on_parent);
    uv_unref((uv_handle_t *)&p->parent);
    return rc ? adit_err_sys(err, -rc, "parent-fd") : 0;
}

static int watch_signals(struct program *p, struct adit_err *err)
{
    static const int numbers[SIGNAL_CNT] = {SIGTERM, SIGINT};
    int rc = 0;
    for (int i = 0; rc == 0 && i < SIGNAL_CNT; i++) {
        rc = uv_signal_init(&p->uv, &p->signals[i]);
        if (rc)
            break;
        p->signals[i].data = p;
        rc = uv_signal_start(&p->signals[i], on_signal, numbers[i]);
        uv_unref((uv_handle_t *)&p->signals[i]);
    }
    return rc ? adit_err_sys(err, -rc, "signals") : 0;
}

static int serve(struct program *p, struct adit_err *err)
{
    char address[128]; /* as it was given */
    (void)snprintf(address, sizeof(address), "%s", p->conf.listen);
    int rc = scheduler_profile_enter(&p->conf, err);
    if (rc == 0)
        rc = scheduler_new(&p->uv, &p->conf, &p->scheduler, err);
    if (rc)
        return rc;
    rc = watch_signals(p, err);
    if (rc == 0)
        rc = watch_parent(p, err);
    if (rc)
        scheduler_stop(p->scheduler);
    else
        adit_log(ADIT_LOG_INFO, "listening", LOG_S("address", address),
                 LOG_U("nodes", p->scheduler->registry.node_cnt),
                 LOG_U("sandboxes", p->scheduler->registry.sandbox_cnt));
    (void)uv_run(&p->uv, UV_RUN_DEFAULT); /* until all but signals is closed */
    if (rc == 0 && p->scheduler->is_broken)
        rc = adit_err_set(err, ADIT_ERR_NO_MEMORY, "the working copy was lost");
    scheduler_free(p->scheduler);
    return rc;
}

static int configure(struct program *p, int argc, char **argv, int *info, struct adit_err *err)
{
    enum adit_log_level level = ADIT_LOG_INFO;
    int rest = 0;
    int rc = adit_conf_load(&scheduler_conf_spec, argc, argv, &p->conf, &rest, info, err);
    if (rc || *info)
        return rc;
    if (rest < argc)
        rc = adit_err_set(err, ADIT_ERR_BAD_INPUT, "unexpected argument '%s'", argv[rest]);
    else if (adit_log_level_parse(p->conf.log_level, &level))
        rc =
            adit_err_set(err, ADIT_ERR_BAD_INPUT, "log-level: '%s' is no level", p->conf.log_level);
    if (rc)
        adit_conf_fini(&scheduler_conf_spec, &p->conf);
    else
        adit_log_init("scheduler", level, p->conf.log_json);
    return rc;
}

static int report(const struct adit_err *err)
{
    fprintf(stderr, "scheduler: %s\n", err->msg);
    return rpc_status_exit(err->code);
}

int main(int argc, char **argv)
{
    static struct program p;
    struct adit_err err = ADIT_ERR_INIT;
    int info = 0;

    (void)signal(SIGPIPE, SIG_IGN); /* cannot fail */
    (void)signal(SIGHUP, SIG_IGN);  /* there is nothing to read again */
    (void)umask(0077);              /* records and socket are ours alone */
    if (configure(&p, argc, argv, &info, &err))
        return report(&err);
    if (info) {
        adit_conf_inform(&scheduler_conf_spec, info, ADIT_VERSION);
        return EXIT_SUCCESS;
    }
    adit_conf_log(&scheduler_conf_spec, &p.conf);
    int rc = uv_loop_init(&p.uv);
    rc = rc ? adit_err_sys(&err, -rc, "loop") : serve(&p, &err);
    adit_conf_fini(&scheduler_conf_spec, &p.conf);
    return rc ? report(&err) : EXIT_SUCCESS;
}
