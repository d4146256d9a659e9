/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The device gives up what it does not need.
 *
 * Theory of operation
 *
 * What: whoever starts it for a sandbox has done what needs privileges: the sandbox's user, no
 * capability, an empty root, namespaces of its own. What is left to do is done here and needs none:
 * no file grows (a file of guest memory neither), DEVICE_PROFILE_FD_MAX descriptors, no core, not
 * dumpable, no new privileges, and the calls below, which are those that its loop makes, those of
 * its memory, and those with which it ends.
 */
#include "vsock-device/device_profile.h"

#include <errno.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/resource.h>

#include "confine/confine.h"

/* The filter adds clone (of threads, of which there is none) and prlimit64 (to read). */
static const char *const calls[] = {
    /* the loop, and its log */
    "epoll_wait", "epoll_ctl", "poll", "clock_gettime",
    /* sockets */
    "accept4", "readv", "write", "writev", "recvfrom", "recvmsg", "sendto", "shutdown", "close",
    "fcntl", "setsockopt",
    /* memory: the guest's, and what is kept for slow clients */
    "newfstatat", "mmap", "munmap", "brk",
    /* the end */
    "rt_sigaction", "rt_sigprocmask", "rt_sigreturn", "getpid", "gettid", "tgkill", "exit_group",
    NULL};

static int limit(int what, rlim_t most, struct adit_err *err)
{
    struct rlimit now;
    if (getrlimit((__rlimit_resource_t)what, &now))
        return adit_err_sys(err, errno, "read a limit");
    if (now.rlim_max > most)
        now.rlim_max = most;
    now.rlim_cur = now.rlim_max; /* as much as it may have */
    return setrlimit((__rlimit_resource_t)what, &now) ? adit_err_sys(err, errno, "set a limit") : 0;
}

int device_profile_enter(const char *seccomp, bool may_log_to_file, struct adit_err *err)
{
    struct confine_profile profile = {.calls = calls};
    int rc = confine_mode_parse(seccomp, &profile.mode, err);
    if (rc == 0 && !may_log_to_file)
        rc = limit(RLIMIT_FSIZE, 0, err);
    if (rc == 0)
        rc = limit(RLIMIT_NOFILE, DEVICE_PROFILE_FD_MAX, err);
    if (rc == 0)
        rc = confine_hide_memory(err);
    if (rc == 0 && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
        rc = adit_err_sys(err, errno, "give up new privileges");
    return rc ? rc : confine_filter(&profile, err);
}
