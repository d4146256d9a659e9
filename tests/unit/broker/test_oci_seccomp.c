/* SPDX-License-Identifier: Apache-2.0 */
/* The compiled filter, in force. */
#include "broker/launcher/oci_seccomp.h"

#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <seccomp.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/encode.h"
#include "confine/confine.h"

#include "tests/unit/suite.h"

/* Put this process under the filter. */
static void enter(void)
{
    static union {
        char bytes[OCI_SECCOMP_BPF_CAP];
        struct sock_filter steps[1];
    } code;
    struct adit_buf text;
    size_t len;
    adit_buf_init(&text, OCI_SECCOMP_BPF_CAP);
    ck_assert_int_eq(oci_seccomp_bpf(&text, NULL), 0);
    ck_assert_int_eq(adit_base64_decode(adit_buf_view(&text), code.bytes, &len), 0);
    adit_buf_fini(&text);
    ck_assert_uint_eq(len % sizeof(struct sock_filter), 0);
    struct sock_fprog program = {(unsigned short)(len / sizeof(struct sock_filter)), code.steps};
    ck_assert(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
    ck_assert(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program) == 0);
}

static void assert_refused(long result, int error, const char *what)
{
    ck_assert_msg(result == -1 && errno == error, "%s: %ld, %s", what, result, strerror(errno));
}

START_TEST(oci_seccomp_refuses_what_reaches_the_host)
{
    enter();
    assert_refused(mount("none", "/tmp", "tmpfs", 0, NULL), EPERM, "mount");
    assert_refused(unshare(CLONE_NEWUSER), EPERM, "unshare");
    assert_refused(setns(0, 0), EPERM, "setns");
    assert_refused(syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, 0, 0, 0, 0), EPERM, "clone user");
    assert_refused(syscall(SYS_clone, CLONE_NEWNET | SIGCHLD, 0, 0, 0, 0), ENOSYS, "clone net");
    assert_refused(syscall(SYS_clone3, NULL, 0), ENOSYS, "clone3");
    assert_refused(syscall(SYS_bpf, 0, NULL, 0), EPERM, "bpf");
    assert_refused(syscall(SYS_io_uring_setup, 1, NULL), EPERM, "io_uring");
    assert_refused(syscall(SYS_keyctl, 0, 0, 0), EPERM, "keyctl");
    assert_refused(syscall(SYS_open_by_handle_at, 0, NULL, 0), EPERM, "open_by_handle_at");
    assert_refused(syscall(1023), ENOSYS, "a call that does not exist");
    assert_refused(socket(AF_VSOCK, SOCK_STREAM, 0), EAFNOSUPPORT, "vsock");
    assert_refused(socket(AF_ALG, SOCK_SEQPACKET, 0), EAFNOSUPPORT, "alg");
}
END_TEST

/* Sandboxes inherit the launcher's filter: it must take nothing from them. */
START_TEST(oci_seccomp_refuses_all_that_the_launcher_may_not_do)
{
    enter();
    for (const char *const *name = confine_denied_calls; *name; name++) {
        int call = seccomp_syscall_resolve_name(*name);
        if (call >= 0)
            assert_refused(syscall(call, 0, 0, 0, 0, 0, 0), EPERM, *name);
    }
}
END_TEST

START_TEST(oci_seccomp_allows_what_programs_need)
{
    int status, ends[2];
    enter();
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_ge(socket(AF_UNIX, SOCK_STREAM, 0), 0);
    ck_assert_int_ge(socket(AF_NETLINK, SOCK_RAW, 0), 0);
    ck_assert(pipe(ends) == 0);
    pid_t pid = fork();
    if (pid == 0)
        _exit(3);
    ck_assert(waitpid(pid, &status, 0) == pid && WEXITSTATUS(status) == 3);
    ck_assert(syscall(SYS_personality, 0xffffffff) >= 0);
}
END_TEST

SUITE_MAIN("oci_seccomp", oci_seccomp_refuses_what_reaches_the_host,
           oci_seccomp_refuses_all_that_the_launcher_may_not_do,
           oci_seccomp_allows_what_programs_need)
