/* SPDX-License-Identifier: Apache-2.0 */
/*
 * First process, last process.
 *
 * Theory of operation
 *
 * What:    the duties of PID 1 that are not the reaper's (see process_table.c).
 *
 *   running --SIGTERM, SIGINT--> stopping: no new channels, SIGTERM to every process
 *           --all ended, or INIT_STOP_MS--> closing: SIGKILL to the rest, streams drained
 *           --> every handle is closed and the loop ends
 *
 * As PID 1 the signals go to every process of the sandbox, otherwise to the sessions that clients
 * started. SIGCONT follows, since a stopped process hears nothing else. The kernel ignores all
 * other signals for a PID 1 that does not handle them. Failure: whatever cannot be set (limits, oom
 * score, interface) is done without: envd serves all the same, and a log line says what is missing.
 */
#include "envd/init.h"

#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <signal.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <linux/capability.h>

#include "base/log.h"
#include "envd/egress/egress.h"
#include "envd/egress/egress_resolv_conf.h"
#include "envd/filesystem/watcher.h"
#include "envd/process/process_table.h"

#define RESOLV_CONF "/etc/resolv.conf"

/* ---- start ---- */

static void open_missing_fds(void)
{
    int fd;
    do {
        fd = open("/dev/null", O_RDWR);
    } while (fd >= 0 && fd <= STDERR_FILENO);
    if (fd > STDERR_FILENO)
        (void)close(fd);
}

static void reset_signals(void)
{
    for (int number = 1; number < NSIG; number++)
        (void)signal(number, SIG_DFL); /* fails for SIGKILL and SIGSTOP */
    (void)signal(SIGPIPE, SIG_IGN);
    sigset_t none;
    (void)sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
}

static void raise_nofile(struct rlimit *before)
{
    if (getrlimit(RLIMIT_NOFILE, before) != 0)
        before->rlim_cur = before->rlim_max = RLIM_INFINITY;
    struct rlimit most = {before->rlim_max, before->rlim_max};
    (void)setrlimit(RLIMIT_NOFILE, &most); /* else the old limit holds */
}

/* Processes of the sandbox are killed for memory before envd is. */
static void protect_from_oom(void)
{
    int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return;
    ssize_t ignored = write(fd, "-1000", 5);
    (void)ignored; /* needs a capability that a container may lack */
    (void)close(fd);
}

void init_process(struct rlimit *nofile)
{
    reset_signals();
    open_missing_fds();
    raise_nofile(nofile);
    protect_from_oom();
    /* Root of a container holds all capabilities that envd has, so only this keeps its memory, its
     * token and the listening socket from it: attaching needs CAP_SYS_PTRACE then. */
    (void)prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);        /* always valid */
    (void)prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); /* as PID 1 it changes nothing */
}

void init_sandbox(void)
{
    struct ifreq request = {.ifr_name = "lo"};
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    bool is_known = fd >= 0 && ioctl(fd, SIOCGIFFLAGS, &request) == 0;
    bool is_up = is_known && (request.ifr_flags & IFF_UP); /* a container's runtime did it */
    request.ifr_flags = (short)(request.ifr_flags | IFF_UP | IFF_RUNNING);
    if (!is_up && (!is_known || ioctl(fd, SIOCSIFFLAGS, &request)))
        adit_log(ADIT_LOG_WARN, "loopback_unavailable", LOG_D("errno", errno));
    if (fd >= 0)
        (void)close(fd);
}

/* envd needs CAP_NET_ADMIN as long as it lives, since the kernel asks for it with every verdict on
 * a connection. What envd starts gets no more than the bounding set has, so it is taken out there.
 */
static void keep_network_from_programs(void)
{
    struct __user_cap_header_struct head = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct caps[_LINUX_CAPABILITY_U32S_3] = {{0}};
    bool is_done = prctl(PR_CAPBSET_DROP, CAP_NET_ADMIN, 0, 0, 0) == 0 &&
                   prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) == 0 &&
                   syscall(SYS_capget, &head, caps) == 0;
    for (int i = 0; i < _LINUX_CAPABILITY_U32S_3; i++)
        caps[i].inheritable = 0;
    if (!is_done || syscall(SYS_capset, &head, caps) != 0)
        adit_log(ADIT_LOG_WARN, "network_not_protected", LOG_D("errno", errno));
}

void init_egress(struct envd *e)
{
    struct adit_err err = ADIT_ERR_INIT;
    if (egress_new(&e->net, EGRESS_TRANSPARENT, ENVD_VERSION, &e->egress, &err) != ADIT_OK)
        adit_log(ADIT_LOG_WARN, "egress_unavailable", LOG_ERR(&err));
    bool is_redirected = e->egress && egress_active_mode(e->egress) < EGRESS_PROXY;
    if (e->egress && egress_resolv_conf_mend(RESOLV_CONF, is_redirected, &err) != ADIT_OK)
        adit_log(ADIT_LOG_WARN, "resolv_conf_unusable", LOG_ERR(&err));
    keep_network_from_programs();
}

/* ---- stop ---- */

static void signal_processes(const struct init *i, int number)
{
    if (getpid() == 1)
        (void)kill(-1, number); /* there may be nobody */
    else
        process_table_signal_all(i->envd->processes, number);
}

static void on_server_closed(void *owner)
{
    struct init *i = owner;
    process_table_close(i->envd->processes);
    watcher_close_all(i->envd);
    net_loop_close(&i->envd->net);
}

/* The table stays until the last exchange is over: a running one may still ask it. */
static void close_all(struct init *i)
{
    signal_processes(i, SIGKILL);
    for (int k = 0; k < 2; k++)
        uv_close((uv_handle_t *)&i->stop_signals[k], NULL);
    server_close(i->envd->server, INIT_DRAIN_MS, on_server_closed, i);
}

static void on_grace_due(struct net_deadline *d)
{
    close_all(ADIT_CONTAINER_OF(d, struct init, grace));
}

static void on_idle(void *owner)
{
    struct init *i = owner;
    if (net_deadline_is_armed(&i->grace)) /* else what ends now was killed by close_all() */
        net_deadline_arm(&i->grace, 1);   /* not inside the table's own call */
}

static void on_stop_signal(uv_signal_t *h, int number)
{
    struct init *i = h->data;
    if (i->is_stopping)
        return;
    i->is_stopping = true;
    adit_log(ADIT_LOG_INFO, "stopping", LOG_D("signal", number));
    server_stop_listening(i->envd->server);
    signal_processes(i, SIGTERM);
    signal_processes(i, SIGCONT);
    net_deadline_arm(&i->grace, INIT_STOP_MS);
    process_table_when_idle(i->envd->processes, on_idle, i);
}

/* The table grows with the largest descriptor that was ever watched. */
static void make_room(struct init *i)
{
    int event = eventfd(0, EFD_CLOEXEC);
    int high = event >= 0 ? fcntl(event, F_DUPFD_CLOEXEC, INIT_LOOP_FDS - 1) : -1;
    if (event >= 0)
        (void)close(event);
    if (high < 0)
        return; /* the limit is lower, and so is the table's need */
    if (uv_poll_init(i->envd->net.uv, &i->room, high) == 0) {
        (void)uv_poll_start(&i->room, UV_READABLE, NULL); /* closed before the loop runs */
        uv_close((uv_handle_t *)&i->room, NULL);
    }
    (void)close(high);
}

int init_watch(struct init *i, struct envd *e, struct adit_err *err)
{
    static const int numbers[] = {SIGTERM, SIGINT};
    i->envd = e;
    i->is_stopping = false;
    make_room(i);
    net_deadline_init(&i->grace, &e->net, on_grace_due);
    for (int k = 0; k < 2; k++) {
        int failed = uv_signal_init(e->net.uv, &i->stop_signals[k]);
        i->stop_signals[k].data = i;
        if (!failed)
            failed = uv_signal_start(&i->stop_signals[k], on_stop_signal, numbers[k]);
        if (failed)
            return adit_err_sys(err, -failed, "watch signal %d", numbers[k]);
    }
    return ADIT_OK;
}
