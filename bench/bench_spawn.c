/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What starting a command through envd costs.
 *
 * Theory of operation
 *
 * What:  process.Start of /bin/true over one kept channel, from the first byte of the request to
 * the end of the stream, beside a bare posix_spawn and waitpid of the same program in the same run.
 * Once with envd as it is, once with 200 MiB more memory in it: a spawn that copied page tables
 * would show. The three kinds take turns in every order, so that a busy machine hurts them alike.
 * Use: bench_spawn [rounds]
 */
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "bench/figure.h"
#include "envd/init.h"
#include "envd/process/process_table.h"
#include "envd/state.h"

#define ROUNDS 400
#define AIM_MS 0.3
#define ROUNDS_MAX 100000
#define BALLAST (200u * 1024 * 1024)

static const char request[] =
    "POST /process.Process/Start HTTP/1.1\r\nHost: envd\r\n"
    "Content-Type: application/connect+json\r\nContent-Length: %zu\r\n\r\n";
static const char message[] = "{\"process\":{\"cmd\":\"/bin/true\",\"cwd\":\"/\"},\"stdin\":false}";

static void die(const char *what)
{
    perror(what);
    exit(EXIT_FAILURE);
}

static int serve(int listen_fd, size_t ballast)
{
    static struct envd envd;
    static struct init init;
    struct rlimit nofile;
    struct adit_err err = ADIT_ERR_INIT;
    if (ballast > 0) {
        char *p = malloc(ballast);
        if (!p)
            die("malloc");
        for (size_t i = 0; i < ballast; i += 4096)
            ((volatile char *)p)[i] = 1;
    }
    adit_log_init("envd", ADIT_LOG_WARN, false);
    init_process(&nofile);
    if (uv_loop_init(&envd.uv) != 0 || net_loop_init(&envd.net, &envd.uv, &err) != ADIT_OK ||
        state_setup(&envd, &err) != ADIT_OK ||
        process_table_new(&envd, &nofile, &envd.processes, &err) != ADIT_OK ||
        server_new(&envd, &envd.server, &err) != ADIT_OK ||
        init_watch(&init, &envd, &err) != ADIT_OK ||
        server_listen_channel(envd.server, listen_fd, &err) != ADIT_OK)
        return EXIT_FAILURE;
    (void)uv_run(&envd.uv, UV_RUN_DEFAULT);
    return EXIT_SUCCESS;
}

/* An envd in a child process, and a channel to it. */
static int start_envd(size_t ballast, pid_t *pid)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    char ok[16];
    (void)snprintf(a.sun_path, sizeof a.sun_path, "/tmp/bench-spawn-%d", (int)getpid());
    (void)unlink(a.sun_path);
    int listening = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (bind(listening, (struct sockaddr *)&a, sizeof a) != 0 || listen(listening, 16) != 0)
        die("listen");
    *pid = fork();
    if (*pid == 0)
        _exit(serve(listening, ballast));
    (void)close(listening);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (connect(fd, (struct sockaddr *)&a, sizeof a) != 0)
        die("connect");
    (void)unlink(a.sun_path);
    if (write(fd, "CONNECT 49983\n", 14) != 14 || recv(fd, ok, 9, MSG_WAITALL) != 9 ||
        memcmp(ok, "OK 49983\n", 9) != 0)
        die("handshake");
    return fd;
}

static double now_ms(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static double run_start(int fd)
{
    char bytes[1024], reply[8192];
    size_t len = sizeof message - 1;
    int n = snprintf(bytes, sizeof bytes, request, len + 5);
    bytes[n] = bytes[n + 1] = bytes[n + 2] = bytes[n + 3] = 0;
    bytes[n + 4] = (char)len;
    memcpy(bytes + n + 5, message, len);
    double before = now_ms();
    if (write(fd, bytes, (size_t)n + 5 + len) != (ssize_t)((size_t)n + 5 + len))
        die("write");
    size_t got = 0;
    while (got < 5 || memcmp(reply + got - 5, "0\r\n\r\n", 5) != 0) {
        ssize_t r = read(fd, reply + got, sizeof reply - got);
        if (r <= 0)
            die("read");
        got += (size_t)r;
    }
    double after = now_ms();
    if (!memmem(reply, got, "exit status 0", 13)) {
        fprintf(stderr, "unexpected reply: %.*s\n", (int)got, reply);
        exit(EXIT_FAILURE);
    }
    return after - before;
}

static double run_bare(void)
{
    static char path[] = "/bin/true";
    char *argv[] = {path, NULL}, *env[] = {NULL};
    pid_t pid;
    int status;
    double before = now_ms();
    if (posix_spawn(&pid, path, NULL, NULL, argv, env) != 0 || waitpid(pid, &status, 0) != pid)
        die("posix_spawn");
    return now_ms() - before;
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* @ms and @floor_ms are sorted. */
static void report(const char *what, const double *ms, const double *floor_ms, size_t cnt)
{
    double more = ms[cnt / 2] - floor_ms[cnt / 2];

    figure_print(figure_is(more <= AIM_MS), what, "p50 <= +0.30 ms",
                 "%+.3f ms (%.3f and %.3f ms; p95 %.3f and %.3f ms)", more, ms[cnt / 2],
                 floor_ms[cnt / 2], ms[cnt * 95 / 100], floor_ms[cnt * 95 / 100]);
}

/* Each kind comes after each other: what one leaves to the kernel costs the next. */
static const unsigned orders[6][3] = {{0, 1, 2}, {2, 1, 0}, {1, 2, 0},
                                      {0, 2, 1}, {2, 0, 1}, {1, 0, 2}};

int main(int argc, char **argv)
{
    size_t rounds = argc > 1 ? strtoul(argv[1], NULL, 10) : ROUNDS;
    if (rounds == 0 || rounds > ROUNDS_MAX)
        rounds = ROUNDS;
    double *ms = calloc(rounds * 3, sizeof *ms);
    if (!ms)
        die("calloc");
    pid_t pids[2];
    int small = start_envd(0, &pids[0]), large = start_envd(BALLAST, &pids[1]);
    for (int i = 0; i < 20; i++)
        (void)(run_bare() + run_start(small) + run_start(large));
    for (size_t i = 0; i < rounds * 3; i++) {
        unsigned kind = orders[i / 3 % 6][i % 3];
        double took = kind == 0 ? run_bare() : run_start(kind == 1 ? small : large);
        ms[rounds * kind + i / 3] = took;
    }
    for (size_t i = 0; i < 3; i++)
        qsort(ms + rounds * i, rounds, sizeof *ms, compare);
    report("process.Start of envd over a bare posix_spawn", ms + rounds, ms, rounds);
    report("  with envd 200 MiB larger", ms + rounds * 2, ms, rounds);
    free(ms);
    for (int i = 0; i < 2; i++) {
        (void)kill(pids[i], SIGTERM);
        (void)waitpid(pids[i], NULL, 0);
    }
    return EXIT_SUCCESS;
}
