/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Both ends of the connections that bench_egress.py measures: servers, a plain relay, programs of a
 * sandbox.
 *
 * Theory of operation
 *
 * What: one static program, so that the same one runs inside a sandbox and outside. What it
 * measures is a line of numbers on its standard output. Whatever fails ends it with a message; only
 * storms count failures, as they are what those are about. Use:  egress_probe serve egress_probe
 * relay PORT ADDRESS TO_PORT egress_probe connect ADDRESS COUNT          microseconds of connect():
 * p50 p99 egress_probe storm ADDRESS RATE SECONDS     answered, lost, late, p50 and p99 as above
 *       egress_probe hold ADDRESS COUNT             "held", until it is killed
 *       egress_probe send|fetch ADDRESS PORT BYTES  bytes a second
 *       egress_probe lookup ADDRESS NAME COUNT      microseconds of an answer: p50 p99; a "%" in
 *                                                   NAME becomes the number of the question
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { ECHO_PORT = 7007, SINK_PORT = 7009, SOURCE_PORT = 7019, DNS_PORT = 53 };
enum { EVENTS = 256, STORM_MAX = 1 << 20, BULK = 256 * 1024, RELAY_BUFFER = 64 * 1024 };

/* Longer than a kernel waits before it sends a lost first packet again: 1 s. */
#define LATE_US 900000.0
#define LOST_S 10.0
/* Between two connects or questions, so that one has gone when the next one comes. */
#define GAP_NS 2000000

static char bulk[BULK];

static void die(const char *what)
{
    perror(what);
    exit(EXIT_FAILURE);
}

static long number(const char *text)
{
    char *end;
    long n = strtol(text, &end, 10);
    if (end == text || *end || n < 0) {
        (void)fprintf(stderr, "%s is no number\n", text);
        exit(EXIT_FAILURE);
    }
    return n;
}

static double now_us(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t); /* exists */
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static void pause_for(long ns)
{
    const struct timespec t = {ns / 1000000000, ns % 1000000000};
    (void)nanosleep(&t, NULL); /* a shorter one is fine */
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double quantile(double *values, long cnt, double q)
{
    long at = (long)((double)cnt * q);
    if (cnt == 0)
        return 0;
    qsort(values, (size_t)cnt, sizeof *values, compare);
    return values[at < cnt ? at : cnt - 1];
}

static struct sockaddr_in address_of(const char *text, long port)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    if (inet_pton(AF_INET, text, &a.sin_addr) != 1)
        die(text);
    return a;
}

static int connected(const struct sockaddr_in *to)
{
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (fd < 0 || connect(fd, (const struct sockaddr *)to, sizeof *to) < 0)
        die("connect");
    return fd;
}

static int listening(long port)
{
    const int on = 1;
    struct sockaddr_in a = address_of("0.0.0.0", port);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) < 0 ||
        bind(fd, (struct sockaddr *)&a, sizeof a) < 0 || listen(fd, 4096) < 0)
        die("listen");
    return fd;
}

static void write_all(int fd, const char *from, size_t len)
{
    while (len > 0) {
        ssize_t put = write(fd, from, len);
        if (put <= 0)
            die("write");
        from += put;
        len -= (size_t)put;
    }
}

/* ---- servers ---- */

static void sink(int fd)
{
    while (read(fd, bulk, sizeof bulk) > 0)
        ;
}

/* As many bytes as eight of the client say. */
static void source(int fd)
{
    uint64_t left;
    if (recv(fd, &left, sizeof left, MSG_WAITALL) != sizeof left)
        return;
    while (left > 0) {
        ssize_t put = write(fd, bulk, left < sizeof bulk ? (size_t)left : sizeof bulk);
        if (put <= 0)
            return; /* the client has had enough */
        left -= (uint64_t)put;
    }
}

/* A process for each, so that bulk keeps nobody else waiting. */
static void serve_one(int listener, void (*serve)(int fd))
{
    int fd = accept(listener, NULL, NULL);
    if (fd >= 0 && fork() == 0) {
        serve(fd);
        _exit(0);
    }
    (void)close(fd);
}

static void watch(int poller, int fd)
{
    struct epoll_event e = {.events = EPOLLIN, .data = {.fd = fd}};
    if (epoll_ctl(poller, EPOLL_CTL_ADD, fd, &e) < 0)
        die("epoll_ctl");
}

static void echo(int fd)
{
    char line[512];
    ssize_t got = read(fd, line, sizeof line);
    if (got <= 0 || write(fd, line, (size_t)got) != got)
        (void)close(fd);
}

static void serve_all(void)
{
    struct epoll_event events[EVENTS];
    int poller = epoll_create1(0), echoes = listening(ECHO_PORT), sinks = listening(SINK_PORT),
        sources = listening(SOURCE_PORT);
    watch(poller, echoes);
    watch(poller, sinks);
    watch(poller, sources);
    (void)signal(SIGCHLD, SIG_IGN);
    (void)puts("ready");
    (void)fflush(stdout);
    for (;;) {
        int cnt = epoll_wait(poller, events, EVENTS, -1);
        for (int i = 0; i < cnt; i++) {
            int fd = events[i].data.fd;
            if (fd == sinks)
                serve_one(fd, sink);
            else if (fd == sources)
                serve_one(fd, source);
            else if (fd == echoes)
                watch(poller, accept(fd, NULL, NULL));
            else
                echo(fd);
        }
    }
}

/* Return: false at the end of @from, which @to is told. */
static bool pass(int from, int to)
{
    ssize_t got = read(from, bulk, RELAY_BUFFER);
    if (got > 0)
        write_all(to, bulk, (size_t)got);
    else
        (void)shutdown(to, SHUT_WR);
    return got > 0;
}

/* Read and write, nothing else: what a relay in user space costs at least. */
static void relay(int a, int b)
{
    struct pollfd p[2] = {{.fd = a, .events = POLLIN}, {.fd = b, .events = POLLIN}};
    while ((p[0].fd >= 0 || p[1].fd >= 0) && poll(p, 2, -1) > 0)
        for (int i = 0; i < 2; i++)
            if (p[i].revents && !pass(i ? b : a, i ? a : b))
                p[i].fd = -1;
}

static void relay_all(char **argv)
{
    int listener = listening(number(argv[0]));
    struct sockaddr_in to = address_of(argv[1], number(argv[2]));
    (void)signal(SIGCHLD, SIG_IGN);
    (void)puts("ready");
    (void)fflush(stdout);
    for (;;) {
        int fd = accept(listener, NULL, NULL);
        if (fd >= 0 && fork() == 0) {
            relay(fd, connected(&to));
            _exit(0);
        }
        (void)close(fd);
    }
}

/* ---- connections one by one ---- */

static void print_times(double *us, long cnt)
{
    double p50 = quantile(us, cnt, .5);
    (void)printf("%.1f %.1f\n", p50, quantile(us, cnt, .99));
}

static double *room_for(long cnt)
{
    double *us = calloc((size_t)cnt, sizeof *us);
    if (!us)
        die("calloc");
    return us;
}

static void time_connects(char **argv)
{
    struct sockaddr_in to = address_of(argv[0], ECHO_PORT);
    long cnt = number(argv[1]);
    double *us = room_for(cnt);
    for (long i = 0; i < cnt; i++) {
        double began = now_us();
        int fd = connected(&to);
        us[i] = now_us() - began;
        (void)close(fd);
        pause_for(GAP_NS);
    }
    print_times(us, cnt);
}

static void hold(char **argv)
{
    struct sockaddr_in to = address_of(argv[0], ECHO_PORT);
    char c = 'x';
    for (long cnt = number(argv[1]); cnt > 0; cnt--) {
        int fd = connected(&to);
        if (write(fd, &c, 1) != 1 || read(fd, &c, 1) != 1)
            die("echo");
    }
    (void)puts("held");
    (void)fflush(stdout);
    for (;;)
        (void)pause();
}

/* ---- a storm ---- */

/* A connection, by its descriptor. */
struct shot {
    double began;
    bool is_connected;
};

/* @us: of those that were connected */
struct storm {
    struct sockaddr_in to;
    int poller;
    struct shot shots[65536];
    double *us;
    long open_cnt, connected_cnt, answered_cnt, lost_cnt, late_cnt;
};

static void shoot(struct storm *s)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    struct epoll_event e = {.events = EPOLLOUT, .data = {.fd = fd}};
    if (fd < 0 || fd >= 65536 || epoll_ctl(s->poller, EPOLL_CTL_ADD, fd, &e) < 0)
        die("socket");
    s->shots[fd] = (struct shot){.began = now_us()};
    s->open_cnt++;
    if (connect(fd, (struct sockaddr *)&s->to, sizeof s->to) < 0 && errno != EINPROGRESS)
        die("connect");
}

static void shot_over(struct storm *s, int fd, long *count)
{
    (void)close(fd);
    s->open_cnt--;
    (*count)++;
}

static void shot_event(struct storm *s, int fd)
{
    static const char question[16] = "fifteen letters";
    struct epoll_event e = {.events = EPOLLIN, .data = {.fd = fd}};
    char answer[sizeof question];
    struct shot *shot = &s->shots[fd];
    if (shot->is_connected) {
        bool is_whole = read(fd, answer, sizeof answer) == sizeof answer;
        shot_over(s, fd, is_whole ? &s->answered_cnt : &s->lost_cnt);
    } else if (write(fd, question, sizeof question) != sizeof question) {
        shot_over(s, fd, &s->lost_cnt);
    } else {
        shot->is_connected = true;
        s->us[s->connected_cnt++] = now_us() - shot->began;
        s->late_cnt += now_us() - shot->began > LATE_US;
        (void)epoll_ctl(s->poller, EPOLL_CTL_MOD, fd, &e);
    }
}

/* At its pace, whatever becomes of those before. */
static void storm(char **argv)
{
    static struct storm s;
    struct epoll_event events[EVENTS];
    long rate = number(argv[1]), cnt = rate * number(argv[2]), done = 0;
    double began = now_us(), end = began + (double)cnt / (double)rate * 1e6 + LOST_S * 1e6;
    s.to = address_of(argv[0], ECHO_PORT);
    s.poller = epoll_create1(0);
    s.us = room_for(cnt);
    while ((done < cnt || s.open_cnt > 0) && now_us() < end) {
        while (done < cnt && began + (double)done * 1e6 / (double)rate <= now_us()) {
            shoot(&s);
            done++;
        }
        int ready = epoll_wait(s.poller, events, EVENTS, 1);
        for (int i = 0; i < ready; i++)
            shot_event(&s, events[i].data.fd);
    }
    (void)printf("%ld %ld %ld ", s.answered_cnt, s.lost_cnt + s.open_cnt, s.late_cnt);
    print_times(s.us, s.connected_cnt);
}

/* ---- bulk ---- */

static void print_rate(double bytes, double began)
{
    (void)printf("%.0f\n", bytes / (now_us() - began) * 1e6);
}

static void send_bulk(char **argv)
{
    struct sockaddr_in to = address_of(argv[0], number(argv[1]));
    long left = number(argv[2]), bytes = left;
    int fd = connected(&to);
    double began = now_us();
    for (; left > 0; left -= BULK)
        write_all(fd, bulk, left < BULK ? (size_t)left : BULK);
    (void)shutdown(fd, SHUT_WR);
    if (read(fd, bulk, 1) != 0)
        die("end");
    print_rate((double)bytes, began);
}

static void fetch_bulk(char **argv)
{
    struct sockaddr_in to = address_of(argv[0], number(argv[1]));
    uint64_t bytes = (uint64_t)number(argv[2]), got = 0;
    int fd = connected(&to);
    double began = now_us();
    ssize_t piece;
    write_all(fd, (const char *)&bytes, sizeof bytes);
    while ((piece = read(fd, bulk, sizeof bulk)) > 0)
        got += (uint64_t)piece;
    if (got != bytes)
        die("fetch");
    print_rate((double)bytes, began);
}

/* ---- names ---- */

static size_t put_name(uint8_t *out, const char *name)
{
    uint8_t *at = out;
    while (*name) {
        size_t len = strcspn(name, ".");
        *at++ = (uint8_t)len;
        memcpy(at, name, len);
        at += len;
        name += len + (name[len] == '.');
    }
    *at++ = 0;
    return (size_t)(at - out);
}

/* Ask for the IPv4 addresses of @name. Return: how many there are. */
static int ask(int fd, uint16_t id, const char *name)
{
    uint8_t m[512] = {(uint8_t)(id >> 8), (uint8_t)id, 1, 0, 0, 1};
    size_t len = 12 + put_name(m + 12, name);
    memcpy(m + len, (const uint8_t[]){0, 1, 0, 1}, 4);
    if (send(fd, m, len + 4, 0) < 0 || recv(fd, m, sizeof m, 0) < 12)
        die("lookup");
    return m[6] << 8 | m[7];
}

static void time_lookups(char **argv)
{
    struct sockaddr_in to = address_of(argv[0], DNS_PORT);
    long cnt = number(argv[2]);
    double *us = room_for(cnt);
    char name[256];
    const char *mark = strchr(argv[1], '%');
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&to, sizeof to) < 0)
        die("socket");
    for (long i = 0; i < cnt; i++) {
        if (mark)
            (void)snprintf(name, sizeof name, "%.*s%ld-%d%s", (int)(mark - argv[1]), argv[1], i,
                           (int)getpid(), mark + 1);
        else
            (void)snprintf(name, sizeof name, "%s", argv[1]);
        double began = now_us();
        if (ask(fd, (uint16_t)i, name) < 1)
            die(name);
        us[i] = now_us() - began;
        pause_for(GAP_NS);
    }
    print_times(us, cnt);
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        int argument_cnt;
        void (*run)(char **arguments);
    } modes[] = {
        {"relay", 3, relay_all},     {"connect", 2, time_connects}, {"storm", 3, storm},
        {"hold", 2, hold},           {"send", 3, send_bulk},        {"fetch", 3, fetch_bulk},
        {"lookup", 3, time_lookups},
    };
    struct rlimit files;
    (void)signal(SIGPIPE, SIG_IGN);
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &files); /* what fails for want of it says so */
    }
    if (argc == 2 && strcmp(argv[1], "serve") == 0)
        serve_all();
    for (size_t i = 0; argc > 1 && i < sizeof modes / sizeof *modes; i++) {
        if (strcmp(argv[1], modes[i].name) == 0 && argc - 2 == modes[i].argument_cnt) {
            modes[i].run(argv + 2);
            return EXIT_SUCCESS;
        }
    }
    (void)fputs("egress_probe: see the head of its source\n", stderr);
    return EXIT_FAILURE;
}
