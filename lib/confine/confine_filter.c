/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The system call filter of our own processes.
 *
 * Theory of operation
 *
 * What: a list of names that are allowed; sockets only of the families that the profile names;
 * threads, but no processes and no namespaces. Everything else raises SIGSYS before it is done: the
 * handler writes the number of the call to standard error (a prepared line, one write(2)) and lets
 * the signal end the process. Modes: "enforce"; "log" lets everything through and has the kernel
 * log what is not on the list, for those who look for a call that is missing; "off". clone3(2)
 * cannot be looked into and is answered with ENOSYS, on which the C library takes clone(2).
 * Failure: a filter that cannot be made or entered ends the start.
 */
#include "confine/confine.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <seccomp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define DIGITS_MAX 10

/* None of them is made by an OCI runtime, nor allowed to sandboxes. */
const char *const confine_denied_calls[] = {
    /* another kernel, other code in it, its memory and devices */
    "bpf", "create_module", "delete_module", "finit_module", "init_module", "ioperm", "iopl",
    "kexec_file_load", "kexec_load", "perf_event_open", "userfaultfd", "io_uring_enter",
    "io_uring_register", "io_uring_setup",
    /* the machine */
    "acct", "clock_settime", "quotactl", "quotactl_fd", "reboot", "settimeofday", "swapoff",
    "swapon", "syslog", "vhangup",
    /* around permissions */
    "add_key", "fanotify_init", "lookup_dcookie", "nfsservctl", "open_by_handle_at", "request_key",
    NULL};

/* A process that breaks its filter cannot be trusted with more than this. */
static void on_refused(int number, siginfo_t *info, void *context)
{
    static const char text[] = "seccomp: system call refused: ";
    char line[sizeof(text) + DIGITS_MAX + 1];
    size_t len = sizeof(text) - 1, digits = 1;
    unsigned call = (unsigned)info->si_syscall;
    (void)context;
    memcpy(line, text, len);
    for (unsigned rest = call; rest >= 10; rest /= 10)
        digits++;
    for (size_t i = digits; i-- > 0; call /= 10)
        line[len + i] = (char)('0' + call % 10);
    line[len + digits] = '\n';
    (void)!write(STDERR_FILENO, line, len + digits + 1); /* the signal says it as well */
    (void)signal(number, SIG_DFL);
    (void)raise(number);
}

static int watch(struct adit_err *err)
{
    struct sigaction action = {.sa_sigaction = on_refused, .sa_flags = SA_SIGINFO | SA_NODEFER};
    return sigaction(SIGSYS, &action, NULL) ? adit_err_sys(err, errno, "watch the filter") : 0;
}

static int add_names(scmp_filter_ctx filter, const char *const *names)
{
    int rc = 0;
    for (; rc == 0 && *names; names++) {
        int call = seccomp_syscall_resolve_name(*names);
        if (call >= 0) /* a call that this machine does not have is not made */
            rc = seccomp_rule_add(filter, SCMP_ACT_ALLOW, call, 0);
    }
    return rc;
}

static int add_conditions(scmp_filter_ctx filter, const struct confine_profile *p)
{
    int rc = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(clone), 1,
                              SCMP_A0(SCMP_CMP_MASKED_EQ, CLONE_THREAD, CLONE_THREAD));
    if (rc == 0)
        rc = seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0);
    if (rc == 0) /* its own limits, to read them: the C library asks for the size of stacks */
        rc = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(prlimit64), 2,
                              SCMP_A0(SCMP_CMP_EQ, 0, 0), SCMP_A2(SCMP_CMP_EQ, 0, 0));
    for (size_t i = 0; rc == 0 && i < p->family_cnt; i++)
        rc = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(socket), 1,
                              SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t)p->families[i], 0));
    return rc;
}

static int deny_calls(scmp_filter_ctx filter)
{
    /* Of what comes after AF_PACKET only AF_VSOCK and its like can be made without a device. */
    int rc = seccomp_rule_add(filter, SCMP_ACT_ERRNO(EAFNOSUPPORT), SCMP_SYS(socket), 1,
                              SCMP_A0(SCMP_CMP_GT, AF_PACKET, 0));
    for (const char *const *name = confine_denied_calls; rc == 0 && *name; name++) {
        int call = seccomp_syscall_resolve_name(*name);
        if (call >= 0) /* as above */
            rc = seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), call, 0);
    }
    return rc;
}

int confine_deny_kernel(struct adit_err *err)
{
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);
    if (!filter)
        return adit_err_set(err, ADIT_ERR_NO_MEMORY, "no memory for the system call filter");
    int sys = seccomp_attr_set(filter, SCMP_FLTATR_CTL_NNP, 0);
    if (sys == 0)
        sys = seccomp_attr_set(filter, SCMP_FLTATR_CTL_OPTIMIZE, 2);
    if (sys == 0)
        sys = deny_calls(filter);
    if (sys == 0)
        sys = seccomp_load(filter);
    seccomp_release(filter);
    return sys ? adit_err_sys(err, -sys, "enter the filter of kernel calls") : 0;
}

int confine_deny_symlinks(struct adit_err *err)
{
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);
    if (!filter)
        return adit_err_set(err, ADIT_ERR_NO_MEMORY, "no memory for the system call filter");
    int sys = seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(symlink), 0);
    if (sys == 0)
        sys = seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(symlinkat), 0);
    if (sys == 0)
        sys = seccomp_load(filter);
    seccomp_release(filter);
    return sys ? adit_err_sys(err, -sys, "enter the filter of links") : 0;
}

int confine_filter(const struct confine_profile *p, struct adit_err *err)
{
    if (p->mode == CONFINE_OFF || CONFINE_IS_SANITIZED)
        return 0;
    scmp_filter_ctx filter = seccomp_init(p->mode == CONFINE_LOG ? SCMP_ACT_LOG : SCMP_ACT_TRAP);
    if (!filter)
        return adit_err_set(err, ADIT_ERR_NO_MEMORY, "no memory for the system call filter");
    (void)setenv("UV_USE_IO_URING", "0", 1); /* newer versions of libuv would try it */
    int rc = watch(err);
    if (rc == 0) {
        int sys = seccomp_attr_set(filter, SCMP_FLTATR_CTL_OPTIMIZE, 2);
        if (sys == 0)
            sys = add_names(filter, p->calls);
        if (sys == 0)
            sys = add_conditions(filter, p);
        if (sys == 0)
            sys = seccomp_load(filter);
        rc = sys ? adit_err_sys(err, -sys, "enter the system call filter") : 0;
    }
    seccomp_release(filter);
    return rc;
}

int confine_mode_parse(const char *text, enum confine_mode *mode, struct adit_err *err)
{
    static const char *const names[] = {"enforce", "log", "off"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (strcmp(text, names[i]) == 0) {
            *mode = (enum confine_mode)i;
            return 0;
        }
    }
    return adit_err_set(err, ADIT_ERR_BAD_INPUT, "seccomp: %s is not enforce, log or off", text);
}
