/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Stands in for envd in test_container: a static program that, from inside a container, tries what
 * a container must and must not be able to do, and says what happened.
 *
 * On each connection to descriptor 3 it reads one line and answers:
 *   CONNECT <port>  "OK 1"
 *   probe           one line per attempt: name, then "ok" or the name of the errno
 *   exit <n>        ends with that status
 *   hog             takes memory until it is killed
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

static void say(FILE *out, const char *name, long result)
{
    fprintf(out, "%s %s\n", name, result < 0 ? strerrorname_np(errno) : "ok");
}

static long set_user(void)
{
    pid_t pid = fork();
    int status = 0;
    if (pid == 0)
        _exit(setgid(1000) || setuid(1000) || getuid() != 1000);
    waitpid(pid, &status, 0);
    return status ? -1 : 0;
}

static long write_file(const char *path)
{
    int fd = open(path, O_WRONLY | O_CREAT, 0644);
    return fd < 0 ? -1 : write(fd, "x", 1) == 1 ? close(fd) : -1;
}

static long open_device(void)
{
    return open("/planted", O_RDONLY);
}

/* Descriptors that came with the start, apart from 0 to 3. Called first. */
static void count_leaks(FILE *out)
{
    int leaks = 0;
    for (int fd = 4; fd < 1024; fd++) {
        int flags = fcntl(fd, F_GETFD);
        leaks += flags >= 0 && !(flags & FD_CLOEXEC);
    }
    fprintf(out, "leaks %d\n", leaks);
}

static void probe(FILE *out)
{
    struct stat st;
    count_leaks(out);
    fprintf(out, "pid %d\nuid %d\n", (int)getpid(), (int)getuid());
    say(out, "write", write_file("/etc/written"));
    say(out, "write_tmp", write_file("/tmp/written"));
    say(out, "template_is_mine", stat("/etc/hostname", &st) || st.st_uid != 0 ? -1 : 0);
    say(out, "chown_template", chown("/etc/hostname", 1000, 1000));
    say(out, "write_envd", open("/usr/bin/envd", O_WRONLY));
    say(out, "set_user", set_user());
    say(out, "clone_userns", syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, 0, 0, 0, 0));
    say(out, "clone3", syscall(SYS_clone3, NULL, 0));
    say(out, "unshare", unshare(CLONE_NEWNS));
    say(out, "mount", mount("none", "/tmp", "tmpfs", 0, NULL));
    say(out, "bpf", syscall(SYS_bpf, 0, NULL, 0));
    say(out, "io_uring", syscall(SYS_io_uring_setup, 1, NULL));
    say(out, "keyctl", syscall(SYS_keyctl, 0, 0, 0));
    say(out, "vsock", socket(AF_VSOCK, SOCK_STREAM, 0));
    say(out, "alg", socket(AF_ALG, SOCK_SEQPACKET, 0));
    say(out, "inet", socket(AF_INET, SOCK_STREAM, 0));
    say(out, "unknown_call", syscall(1023));
    say(out, "mknod", mknod("/tmp/disk", S_IFBLK | 0600, makedev(8, 0)));
    say(out, "planted_device", open_device());
    say(out, "sysctl", write_file("/proc/sys/kernel/hostname"));
    fprintf(out, "end\n");
}

static void hog(void)
{
    for (;;) {
        char *p = malloc(1 << 20);
        if (p)
            memset(p, 1, 1 << 20);
    }
}

int main(void)
{
    char line[64];
    signal(SIGCHLD, SIG_DFL);
    for (;;) {
        int fd = accept4(3, NULL, NULL, SOCK_CLOEXEC);
        FILE *in = fd < 0 ? NULL : fdopen(fd, "r");
        FILE *out = fd < 0 ? NULL : fdopen(fcntl(fd, F_DUPFD_CLOEXEC, 0), "w");
        if (!in || !out)
            return 99;
        while (fgets(line, sizeof(line), in)) {
            if (strncmp(line, "CONNECT ", 8) == 0)
                fprintf(out, "OK 1\n");
            else if (strcmp(line, "probe\n") == 0)
                probe(out);
            else if (strncmp(line, "exit ", 5) == 0)
                exit(atoi(line + 5));
            else if (strcmp(line, "hog\n") == 0)
                hog();
            fflush(out);
        }
        fclose(in);
        fclose(out);
    }
}
