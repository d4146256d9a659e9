/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The broker's data plane beside nginx and beside a plain byte copy, in one run on one machine.
 *
 * Theory of operation
 *
 * What: every part is a process of its own, forked from here: a stub guest on two Unix sockets
 * (with the channel handshake for us, without it for the peers), the edge with one relay loop on a
 * loopback port, nginx with one worker if it is installed, and a plain read/write relay without
 * HTTP. wrk measures small requests, h2load those over HTTP/2; a client here measures one body of
 * BODY_BYTES in each direction; RSS is read from /proc. With TLS, both with the same certificate:
 * the small requests again, and full handshakes, by clients here that make one after the other.
 *
 * Figures: requests and handshakes a second, CPU time of the relaying process a request (which a
 * busy machine distorts less), MiB/s and their ratio to the plain relay, bytes of RSS an idle
 * connection.
 *
 * Usage: bench_edge [seconds of each wrk run, default 5 [tls]], "tls": only what is with TLS
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>

#include <openssl/ssl.h>

#include "broker/dev_cert.h"
#include "broker/edge/edge.h"
#include "net/listener.h"

/* What every request is for; nginx and the plain relay do not look at it. */
#define HOST "Host: 49983-ibench.adit.test"
#define BODY_BYTES (1024ull * 1024 * 1024)
#define IDLE_CONNECTIONS 1000
#define CONNECTIONS 64
#define COPY_CAP (64u * 1024)

#define BODY_RUNS 5
#define HANDSHAKE_CLIENTS 2

/* A process that is measured. */
struct part {
    pid_t pid;
    uint16_t port;
};

static char work_dir[64];

static _Noreturn void die(const char *what)
{
    perror(what);
    exit(1);
}

static double now_s(void)
{
    struct timespec ts;

    if (clock_gettime(CLOCK_MONOTONIC, &ts) < 0)
        die("clock_gettime");
    return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static int unix_listen(const char *name)
{
    char address[128];
    struct adit_err err = ADIT_ERR_INIT;
    int fd;

    (void)snprintf(address, sizeof(address), "unix:%s/%s", work_dir, name);
    if (listener_socket(address, &fd, &err) != ADIT_OK)
        die(err.msg);
    return fd;
}

static int unix_connect(const char *name)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    (void)snprintf(a.sun_path, sizeof(a.sun_path), "%s/%s", work_dir, name);
    if (fd < 0 || connect(fd, (struct sockaddr *)&a, sizeof(a)) < 0)
        die("connect");
    return fd;
}

static int tcp_connect(uint16_t port)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(port)};
    const int on = 1;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (fd < 0 || connect(fd, (struct sockaddr *)&a, sizeof(a)) < 0)
        die("connect");
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    return fd;
}

/* A listening loopback socket on a free port. */
static int tcp_listen(uint16_t *port)
{
    struct adit_err err = ADIT_ERR_INIT;
    int fd;

    if (listener_socket("127.0.0.1:0", &fd, &err) != ADIT_OK)
        die(err.msg);
    *port = listener_port(fd);
    return fd;
}

/* Nothing is left behind when the benchmark is interrupted. */
static void die_with_parent(void)
{
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0)
        die("prctl");
}

static pid_t start(void (*run)(int fd), int fd)
{
    pid_t pid = fork();

    if (pid < 0)
        die("fork");
    if (pid == 0) {
        die_with_parent();
        run(fd);
        _exit(0);
    }
    (void)close(fd);
    return pid;
}

/* ---- the stub guest ---- */

struct stub_conn {
    int fd;
    bool greeted;     /* the handshake is over */
    uint64_t to_send; /* of a large reply */
    uint64_t to_take; /* of a large request */
    size_t len;
    char in[4096];
};

static const char small_reply[] = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n"
                                  "Content-Length: 13\r\n\r\nHello, world\n";
static char zeros[COPY_CAP * 4];

static bool send_all(int fd, const char *p, size_t len)
{
    while (len) {
        ssize_t n = write(fd, p, len);
        if (n <= 0)
            return false;
        p += n;
        len -= (size_t)n;
    }
    return true;
}

static bool stub_send_body(struct stub_conn *c)
{
    while (c->to_send) {
        size_t part = c->to_send < sizeof(zeros) ? (size_t)c->to_send : sizeof(zeros);
        ssize_t n = write(c->fd, zeros, part);
        if (n < 0)
            return errno == EAGAIN;
        c->to_send -= (uint64_t)n;
    }
    return true;
}

/* One complete request head of @len bytes at the front. */
static bool stub_answer(struct stub_conn *c, size_t len)
{
    char head[128];
    int n;

    if (memcmp(c->in, "POST", 4) == 0) {
        size_t extra = c->len - len;
        c->to_take = BODY_BYTES - extra;
        c->len = len;
        return true;
    }
    if (memcmp(c->in, "GET /big", 8) != 0)
        return send_all(c->fd, small_reply, sizeof(small_reply) - 1);
    n = snprintf(head, sizeof(head), "HTTP/1.1 200 OK\r\nContent-Length: %llu\r\n\r\n", BODY_BYTES);
    c->to_send = BODY_BYTES;
    return send_all(c->fd, head, (size_t)n) && stub_send_body(c);
}

static bool stub_take_body(struct stub_conn *c)
{
    static char sink[COPY_CAP * 4];

    while (c->to_take) {
        ssize_t n = read(c->fd, sink, sizeof(sink));
        if (n <= 0)
            return n < 0 && errno == EAGAIN;
        c->to_take -= (uint64_t)n;
    }
    return send_all(c->fd, small_reply, sizeof(small_reply) - 1);
}

static bool stub_parse(struct stub_conn *c)
{
    char *end;

    if (!c->greeted && (end = memchr(c->in, '\n', c->len))) {
        c->greeted = true;
        c->len -= (size_t)(end + 1 - c->in);
        memmove(c->in, end + 1, c->len);
        if (!send_all(c->fd, "OK 1\n", 5))
            return false;
    }
    while (c->greeted && (end = memmem(c->in, c->len, "\r\n\r\n", 4))) {
        size_t len = (size_t)(end + 4 - c->in);
        if (!stub_answer(c, len))
            return false;
        c->len -= len;
        memmove(c->in, c->in + len, c->len);
    }
    return true;
}

static bool stub_step(struct stub_conn *c, uint32_t events)
{
    ssize_t n;

    if (c->to_send && (events & EPOLLOUT))
        return stub_send_body(c);
    if (!(events & (EPOLLIN | EPOLLHUP | EPOLLERR)))
        return true;
    if (c->to_take)
        return stub_take_body(c);
    n = read(c->fd, c->in + c->len, sizeof(c->in) - c->len);
    if (n <= 0)
        return n < 0 && errno == EAGAIN;
    c->len += (size_t)n;
    return stub_parse(c) && (!c->to_take || stub_take_body(c));
}

static void stub_accept(int ep, int listen_fd, bool greeted)
{
    struct epoll_event ev = {.events = EPOLLIN | EPOLLOUT | EPOLLET};
    struct stub_conn *c;
    int fd = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

    if (fd < 0)
        return;
    c = calloc(1, sizeof(*c));
    if (!c)
        die("stub");
    c->fd = fd;
    c->greeted = greeted;
    ev.data.ptr = c;
    if (epoll_ctl(ep, EPOLL_CTL_ADD, fd, &ev) < 0)
        die("epoll_ctl");
}

static int plain_fd; /* the stub's socket without handshake */

static void run_stub(int channel_fd)
{
    struct epoll_event evs[64], ev = {.events = EPOLLIN};
    int ep = epoll_create1(EPOLL_CLOEXEC);

    ev.data.ptr = &channel_fd;
    if (epoll_ctl(ep, EPOLL_CTL_ADD, channel_fd, &ev) < 0)
        die("epoll_ctl");
    ev.data.ptr = &plain_fd;
    if (epoll_ctl(ep, EPOLL_CTL_ADD, plain_fd, &ev) < 0)
        die("epoll_ctl");
    for (;;) {
        int n = epoll_wait(ep, evs, 64, -1);
        for (int i = 0; i < n; i++) {
            struct stub_conn *c = evs[i].data.ptr;
            if (evs[i].data.ptr == &channel_fd || evs[i].data.ptr == &plain_fd) {
                stub_accept(ep, *(int *)evs[i].data.ptr, evs[i].data.ptr == &plain_fd);
            } else if (!stub_step(c, evs[i].events)) {
                (void)close(c->fd);
                free(c);
            }
        }
    }
}

/* ---- the broker's edge, one relay loop ---- */

static void on_api(void *owner, struct edge_api_request *r)
{
    (void)owner;
    edge_api_reply(r, 404, (struct adit_view){NULL, 0});
}

static bool edge_has_tls; /* of the next edge */

static struct tls_context *load_certificate(void)
{
    char cert[128], key[128];
    struct tls_context_conf files = {.cert_file = cert, .key_file = key};
    struct tls_context *tls = NULL;
    struct adit_err err = ADIT_ERR_INIT;

    (void)snprintf(cert, sizeof(cert), "%s/" DEV_CERT_CERT, work_dir);
    (void)snprintf(key, sizeof(key), "%s/" DEV_CERT_KEY, work_dir);
    if (tls_context_load(&files, &tls, &err) != ADIT_OK)
        die(err.msg);
    return tls;
}

static void run_edge(int fd)
{
    char address[24];
    uv_loop_t control;
    struct edge *edge;
    struct edge_route route = {.sandbox_id = "ibench", .target = {.kind = HTTP_TARGET_CHANNEL}};
    struct edge_conf conf = {
        .control = &control,
        .listen = {address},
        .listen_cnt = 1,
        .loops = 1,
        .domain = "adit.test",
        .connections_max = 16384,
        .channels_per_sandbox = 2048,
        .header_ms = 10000,
        .body_ms = 60000,
        .client_idle_ms = 650000,
        .guest_idle_ms = 610000,
        .dial_ms = 2000,
        .on_api = on_api,
    };
    struct adit_err err = ADIT_ERR_INIT;

    (void)snprintf(address, sizeof(address), "%sfd:%d", edge_has_tls ? "tls:" : "", fd);
    if (edge_has_tls)
        conf.tls = load_certificate();
    (void)snprintf(route.target.path, sizeof(route.target.path), "%s/channel", work_dir);
    if (uv_loop_init(&control) < 0 || edge_open(&conf, &edge, &err) != ADIT_OK ||
        edge_start(edge, &err) != ADIT_OK || edge_publish(edge, &route, &err) != ADIT_OK)
        die(err.msg);
    (void)uv_run(&control, UV_RUN_DEFAULT); /* until it is killed */
}

/* ---- the plain relay: one pair of connections at a time ---- */

static bool copy_some(int from, int to)
{
    static char buf[COPY_CAP];
    ssize_t n = read(from, buf, sizeof(buf));

    return n > 0 && send_all(to, buf, (size_t)n);
}

static void run_plain(int fd)
{
    int flags = fcntl(fd, F_GETFL);

    (void)fcntl(fd, F_SETFL, flags & ~O_NONBLOCK);
    for (;;) {
        int client = accept4(fd, NULL, NULL, SOCK_CLOEXEC);
        int guest = unix_connect("plain");
        struct pollfd p[2] = {{client, POLLIN, 0}, {guest, POLLIN, 0}};
        bool alive = true;
        while (alive && poll(p, 2, -1) > 0) {
            if (p[0].revents)
                alive = copy_some(client, guest);
            if (alive && p[1].revents)
                alive = copy_some(guest, client);
        }
        (void)close(client);
        (void)close(guest);
    }
}

/* ---- nginx ---- */

static pid_t start_nginx(uint16_t port, uint16_t tls_port, uint16_t http2_port)
{
    char path[128];
    FILE *f;
    pid_t pid;

    (void)snprintf(path, sizeof(path), "%s/nginx.conf", work_dir);
    f = fopen(path, "w");
    if (!f)
        die(path);
    (void)fprintf(f,
                  "daemon off; master_process off; worker_processes 1; pid %s/nginx.pid;\n"
                  "error_log %s/nginx.log;\n"
                  "events { worker_connections 4096; }\n"
                  "http { access_log off; keepalive_requests 100000000; keepalive_timeout 600;\n"
                  "client_max_body_size 0; proxy_request_buffering off; proxy_buffering on;\n"
                  "proxy_max_temp_file_size 0;\n"
                  "client_body_temp_path %s/b; proxy_temp_path %s/p; fastcgi_temp_path %s/f;\n"
                  "uwsgi_temp_path %s/u; scgi_temp_path %s/s;\n"
                  "upstream guest { server unix:%s/plain; keepalive 1024;\n"
                  "  keepalive_requests 100000000; }\n"
                  "ssl_certificate %s/" DEV_CERT_CERT "; ssl_certificate_key %s/" DEV_CERT_KEY ";\n"
                  "ssl_protocols TLSv1.2 TLSv1.3;\n"
                  "server { listen 127.0.0.1:%u; listen 127.0.0.1:%u ssl;\n"
                  "  listen 127.0.0.1:%u http2;\n"
                  "  location / { proxy_pass http://guest;\n"
                  "  proxy_http_version 1.1; proxy_set_header Connection \"\"; } } }\n",
                  work_dir, work_dir, work_dir, work_dir, work_dir, work_dir, work_dir, work_dir,
                  work_dir, work_dir, port, tls_port, http2_port);
    if (fclose(f) != 0)
        die(path);
    pid = fork();
    if (pid == 0) {
        die_with_parent();
        (void)execlp("nginx", "nginx", "-c", path, (char *)NULL);
        _exit(127);
    }
    for (int i = 0; i < 100; i++) { /* it opens its socket some time after the fork */
        struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(port)};
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        int rc = connect(fd, (struct sockaddr *)&a, sizeof(a));
        (void)close(fd);
        if (rc == 0)
            return pid;
        if (waitpid(pid, NULL, WNOHANG) == pid)
            return -1;
        (void)poll(NULL, 0, 20);
    }
    return pid;
}

/* ---- measuring ---- */

/* User and system time of a process in seconds. */
static double cpu_s(pid_t pid)
{
    char path[64], line[1024], *p;
    unsigned long utime, stime;
    FILE *f;

    (void)snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
    f = fopen(path, "r");
    if (!f || !fgets(line, sizeof(line), f))
        die(path);
    (void)fclose(f);
    p = strrchr(line, ')');
    if (!p ||
        sscanf(p, ") %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &utime, &stime) != 2)
        die(path);
    return (double)(utime + stime) / (double)sysconf(_SC_CLK_TCK);
}

static long rss_bytes(pid_t pid)
{
    char path[64];
    long pages;
    FILE *f;

    (void)snprintf(path, sizeof(path), "/proc/%d/statm", (int)pid);
    f = fopen(path, "r");
    if (!f || fscanf(f, "%*d %ld", &pages) != 1)
        die(path);
    (void)fclose(f);
    return pages * sysconf(_SC_PAGESIZE);
}

/* wrk for @seconds. Return: requests a second. */
static double measure_requests(const char *name, const char *scheme, const struct part *part,
                               int connections, int seconds)
{
    pid_t pid = part->pid;
    char command[256], line[256];
    double rate = 0, before = cpu_s(pid), cpu;
    unsigned long requests = 0;
    char p50[32] = "?", p99[32] = "?";
    FILE *f;

    (void)snprintf(command, sizeof(command),
                   "wrk -t1 -c%d -d%ds --latency -H '" HOST "' %s://127.0.0.1:%u/", connections,
                   seconds, scheme, part->port);
    f = popen(command, "r");
    if (!f)
        die("wrk");
    while (fgets(line, sizeof(line), f)) {
        (void)sscanf(line, " Requests/sec: %lf", &rate);
        (void)sscanf(line, " %lu requests in", &requests);
        (void)sscanf(line, " 50%% %31s", p50);
        (void)sscanf(line, " 99%% %31s", p99);
        if (strstr(line, "Socket errors") || strstr(line, "Non-2xx"))
            (void)fputs(line, stdout);
    }
    (void)pclose(f);
    cpu = cpu_s(pid) - before;
    printf("%-8s %4d connections  %8.0f req/s  p50 %-8s p99 %-8s %5.2f us CPU/request\n", name,
           connections, rate, p50, p99, requests ? cpu / (double)requests * 1e6 : 0);
    (void)fflush(stdout);
    return rate;
}

/* The same requests over HTTP/2, by h2load: 64 at once on 8 connections. */
static double measure_http2(const char *name, const struct part *part, int seconds)
{
    char command[256], line[256];
    double rate = 0, before = cpu_s(part->pid);
    unsigned long done = 0, failed = 0;
    FILE *f;

    (void)snprintf(command, sizeof(command),
                   "h2load -t1 -c8 -m8 -D %d -H ':authority: 49983-ibench.adit.test' "
                   "http://127.0.0.1:%u/ 2>&1",
                   seconds, part->port);
    f = popen(command, "r");
    if (!f)
        die("h2load");
    while (fgets(line, sizeof(line), f)) {
        (void)sscanf(line, "finished in %*[^,], %lf req/s", &rate);
        (void)sscanf(line, "requests: %*u total, %*u started, %*u done, %lu succeeded, %lu failed",
                     &done, &failed);
    }
    (void)pclose(f);
    printf("%-8s HTTP/2: %8.0f req/s  %5.2f us CPU/request, %lu failed\n", name, rate,
           done ? (cpu_s(part->pid) - before) / (double)done * 1e6 : 0, failed);
    (void)fflush(stdout);
    return rate;
}

static void measure_http2_beside(const struct part *edge, const struct part *nginx, int seconds)
{
    double ours = 0, theirs = 0;

    for (int i = 0; i < 3; i++) { /* in turns */
        if (nginx->pid > 0)
            theirs += measure_http2("nginx", nginx, seconds);
        ours += measure_http2("adit", edge, seconds);
    }
    if (nginx->pid > 0)
        printf("HTTP/2 beside nginx: %.2f of its requests\n", ours / theirs);
}

/* Full handshakes one after the other until the time is over. Return: how many. */
static unsigned long make_handshakes(uint16_t port, double until_s)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
    unsigned long cnt = 0;

    if (!ctx)
        die("TLS client");
    while (now_s() < until_s) {
        int fd = tcp_connect(port);
        SSL *ssl = SSL_new(ctx);
        if (!ssl || SSL_set_fd(ssl, fd) != 1 || SSL_connect(ssl) != 1)
            die("handshake");
        SSL_free(ssl);
        (void)close(fd);
        cnt++;
    }
    SSL_CTX_free(ctx);
    return cnt;
}

static double measure_handshakes(const char *name, const struct part *part, int seconds)
{
    double before = cpu_s(part->pid), begin = now_s(), rate;
    unsigned long total = 0, cnt;
    int results[2];

    if (pipe(results) < 0)
        die("pipe");
    for (int i = 0; i < HANDSHAKE_CLIENTS; i++) {
        if (fork() == 0) {
            die_with_parent();
            cnt = make_handshakes(part->port, begin + seconds);
            _exit(write(results[1], &cnt, sizeof(cnt)) == sizeof(cnt) ? 0 : 1);
        }
    }
    (void)close(results[1]);
    while (read(results[0], &cnt, sizeof(cnt)) == sizeof(cnt))
        total += cnt;
    (void)close(results[0]);
    rate = (double)total / (now_s() - begin);
    printf("%-8s %8.0f full handshakes/s  %5.0f us CPU/handshake\n", name, rate,
           total ? (cpu_s(part->pid) - before) / (double)total * 1e6 : 0);
    (void)fflush(stdout);
    return rate;
}

static void measure_tls(const struct part *edge, const struct part *nginx, int seconds)
{
    double ours = 0, theirs = 0, our_handshakes = 0, their_handshakes = 0;

    for (int i = 0; i < 3; i++) { /* in turns */
        if (nginx->pid > 0) {
            theirs += measure_requests("nginx/TLS", "https", nginx, CONNECTIONS, seconds);
            their_handshakes += measure_handshakes("nginx/TLS", nginx, seconds);
        }
        ours += measure_requests("adit/TLS", "https", edge, CONNECTIONS, seconds);
        our_handshakes += measure_handshakes("adit/TLS", edge, seconds);
    }
    if (nginx->pid > 0)
        printf("TLS beside nginx: %.2f of its requests, %.2f of its handshakes\n", ours / theirs,
               our_handshakes / their_handshakes);
}

static bool read_some(int fd, uint64_t *left)
{
    static char sink[COPY_CAP * 4];
    ssize_t n = read(fd, sink, sizeof(sink));

    if (n > 0)
        *left -= (uint64_t)n < *left ? (uint64_t)n : *left;
    return n > 0 && *left;
}

static double measure_download(uint16_t port)
{
    static const char request[] = "GET /big HTTP/1.1\r\n" HOST "\r\n\r\n";
    uint64_t left = BODY_BYTES;
    int fd = tcp_connect(port);
    double t = now_s();

    if (!send_all(fd, request, sizeof(request) - 1))
        die("download");
    while (read_some(fd, &left))
        ;
    (void)close(fd);
    return left ? 0 : (double)BODY_BYTES / (1 << 20) / (now_s() - t);
}

static double measure_upload(uint16_t port)
{
    char head[128];
    uint64_t left = BODY_BYTES, reply = 1;
    int fd = tcp_connect(port);
    double t = now_s();
    int n = snprintf(head, sizeof(head),
                     "POST /up HTTP/1.1\r\n" HOST "\r\nContent-Length: %llu\r\n\r\n", BODY_BYTES);

    if (!send_all(fd, head, (size_t)n))
        die("upload");
    while (left) {
        size_t part = left < sizeof(zeros) ? (size_t)left : sizeof(zeros);
        if (!send_all(fd, zeros, part))
            die("upload");
        left -= part;
    }
    (void)read_some(fd, &reply);
    (void)close(fd);
    return reply ? 0 : (double)BODY_BYTES / (1 << 20) / (now_s() - t);
}

static int compare_double(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

static double median(double *v, size_t cnt)
{
    qsort(v, cnt, sizeof(*v), compare_double);
    return v[cnt / 2];
}

/* Both relays in turns, so that a slow moment hits both. */
static void measure_bodies(const char *name, double (*measure)(uint16_t port),
                           const struct part *plain, const struct part *ours)
{
    double plain_v[BODY_RUNS], our_v[BODY_RUNS], plain_mib, our_mib, plain_cpu = cpu_s(plain->pid),
                                                                     our_cpu = cpu_s(ours->pid);

    for (int i = 0; i < BODY_RUNS; i++) {
        plain_v[i] = measure(plain->port);
        our_v[i] = measure(ours->port);
    }
    plain_mib = median(plain_v, BODY_RUNS);
    our_mib = median(our_v, BODY_RUNS);
    printf("%s of 1 GiB: plain relay %.0f MiB/s (%.2f s CPU), adit %.0f MiB/s (%.2f s CPU), "
           "ratio %.2f\n",
           name, plain_mib, (cpu_s(plain->pid) - plain_cpu) / BODY_RUNS, our_mib,
           (cpu_s(ours->pid) - our_cpu) / BODY_RUNS, our_mib / plain_mib);
    (void)fflush(stdout);
}

static void measure_idle(pid_t pid, uint16_t port)
{
    static const char request[] = "GET / HTTP/1.1\r\n" HOST "\r\n\r\n";
    static int fds[IDLE_CONNECTIONS];
    long before = rss_bytes(pid), after;
    uint64_t left;

    for (int i = 0; i < IDLE_CONNECTIONS; i++) {
        fds[i] = tcp_connect(port);
        left = 1;
        if (!send_all(fds[i], request, sizeof(request) - 1))
            die("idle");
        (void)read_some(fds[i], &left);
    }
    after = rss_bytes(pid);
    for (int i = 0; i < IDLE_CONNECTIONS; i++)
        (void)close(fds[i]);
    printf("%d idle connections: %ld bytes of RSS each (%ld KiB in all)\n", IDLE_CONNECTIONS,
           (after - before) / IDLE_CONNECTIONS, after / 1024);
}

static void measure_all(const struct part *edge, const struct part *nginx, const struct part *plain,
                        int seconds)
{
    for (int i = 0; i < 3; i++) { /* in turns, too */
        if (nginx->pid > 0)
            (void)measure_requests("nginx", "http", nginx, CONNECTIONS, seconds); /* printed */
        (void)measure_requests("adit", "http", edge, CONNECTIONS, seconds);
    }
    if (nginx->pid > 0)
        (void)measure_requests("nginx", "http", nginx, IDLE_CONNECTIONS, seconds);
    (void)measure_requests("adit", "http", edge, IDLE_CONNECTIONS, seconds);
    measure_bodies("download", measure_download, plain, edge);
    measure_bodies("upload", measure_upload, plain, edge);
    printf("edge's RSS after that: %ld KiB\n", rss_bytes(edge->pid) / 1024);
}

static void stop(pid_t pid)
{
    if (pid <= 0)
        return;
    (void)kill(pid, SIGKILL);
    (void)waitpid(pid, NULL, 0);
}

int main(int argc, char **argv)
{
    struct rlimit nofile = {8192, 8192};
    int seconds = argc > 1 ? atoi(argv[1]) : 5;
    bool is_tls_only = argc > 2 && strcmp(argv[2], "tls") == 0;
    struct part edge, tls_edge, idle, nginx, tls_nginx, http2_nginx, plain;
    struct adit_err err = ADIT_ERR_INIT;
    pid_t stub;
    int fd, channel_fd;
    char command[128];

    if (signal(SIGPIPE, SIG_IGN) == SIG_ERR || setrlimit(RLIMIT_NOFILE, &nofile) < 0)
        die("set-up");
    (void)snprintf(work_dir, sizeof(work_dir), "/tmp/bench-edge-%d", (int)getpid());
    if (mkdir(work_dir, 0700) < 0)
        die(work_dir);
    if (dev_cert_make("adit.test", work_dir, &err) != 0)
        die(err.msg);
    channel_fd = unix_listen("channel");
    plain_fd = unix_listen("plain");
    stub = start(run_stub, channel_fd);
    fd = tcp_listen(&edge.port);
    edge.pid = start(run_edge, fd);
    edge_has_tls = true;
    fd = tcp_listen(&tls_edge.port);
    tls_edge.pid = start(run_edge, fd);
    edge_has_tls = false;
    fd = tcp_listen(&idle.port);
    idle.pid = start(run_edge, fd);
    fd = tcp_listen(&plain.port);
    plain.pid = start(run_plain, fd);
    fd = tcp_listen(&nginx.port);
    (void)close(fd);
    fd = tcp_listen(&tls_nginx.port);
    (void)close(fd);
    fd = tcp_listen(&http2_nginx.port);
    (void)close(fd);
    nginx.pid = start_nginx(nginx.port, tls_nginx.port, http2_nginx.port);
    tls_nginx.pid = http2_nginx.pid = nginx.pid;
    if (nginx.pid <= 0)
        printf("nginx is not installed: no comparison\n");

    if (!is_tls_only) {
        measure_all(&edge, &nginx, &plain, seconds);
        measure_http2_beside(&edge, &http2_nginx, seconds);
        measure_idle(idle.pid, idle.port);
    }
    measure_tls(&tls_edge, &tls_nginx, seconds);

    stop(nginx.pid);
    stop(plain.pid);
    stop(idle.pid);
    stop(edge.pid);
    stop(tls_edge.pid);
    stop(stub);
    (void)snprintf(command, sizeof(command), "rm -rf '%s'", work_dir);
    return system(command) == 0 ? 0 : 1;
}
