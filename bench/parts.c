/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The processes that bench_edge measures.
 *
 * Theory of operation
 *
 * What: all are forked from here and die with the benchmark: a stub guest on two Unix sockets (with
 * the channel handshake for us, without it for the peers), edges with one relay loop each on
 * loopback ports, nginx with one worker, and a plain read/write relay without
 * HTTP. The stub answers any request with a few bytes, "GET /big" with the body that the start was
 * told of, and takes one of that size with any POST.
 */
#include "bench/parts.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "broker/dev_cert.h"
#include "broker/edge/edge.h"
#include "net/listener.h"

#define COPY_CAP (64u * 1024)

static char work_dir[64];
static uint64_t body_bytes;

_Noreturn void parts_die(const char *what)
{
    perror(what);
    exit(1);
}

static int unix_listen(const char *name)
{
    char address[128];
    struct adit_err err = ADIT_ERR_INIT;
    int fd;

    (void)snprintf(address, sizeof(address), "unix:%s/%s", work_dir, name);
    if (listener_socket(address, &fd, &err) != ADIT_OK)
        parts_die(err.msg);
    return fd;
}

static int unix_connect(const char *name)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    (void)snprintf(a.sun_path, sizeof(a.sun_path), "%s/%s", work_dir, name);
    if (fd < 0 || connect(fd, (struct sockaddr *)&a, sizeof(a)) < 0)
        parts_die("connect");
    return fd;
}

int parts_connect(uint16_t port)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(port)};
    const int on = 1;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (fd < 0 || connect(fd, (struct sockaddr *)&a, sizeof(a)) < 0)
        parts_die("connect");
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    return fd;
}

/* A listening loopback socket on a free port. */
static int tcp_listen(uint16_t *port)
{
    struct adit_err err = ADIT_ERR_INIT;
    int fd;

    if (listener_socket("127.0.0.1:0", &fd, &err) != ADIT_OK)
        parts_die(err.msg);
    *port = listener_port(fd);
    return fd;
}

/* Nothing is left behind when the benchmark is interrupted. */
void parts_die_with_parent(void)
{
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0)
        parts_die("prctl");
}

static pid_t start(void (*run)(int fd), int fd)
{
    pid_t pid = fork();

    if (pid < 0)
        parts_die("fork");
    if (pid == 0) {
        parts_die_with_parent();
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

bool parts_send_all(int fd, const char *p, size_t len)
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
        c->to_take = body_bytes - extra;
        c->len = len;
        return true;
    }
    if (memcmp(c->in, "GET /big", 8) != 0)
        return parts_send_all(c->fd, small_reply, sizeof(small_reply) - 1);
    n = snprintf(head, sizeof(head), "HTTP/1.1 200 OK\r\nContent-Length: %" PRIu64 "\r\n\r\n",
                 body_bytes);
    c->to_send = body_bytes;
    return parts_send_all(c->fd, head, (size_t)n) && stub_send_body(c);
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
    return parts_send_all(c->fd, small_reply, sizeof(small_reply) - 1);
}

static bool stub_parse(struct stub_conn *c)
{
    char *end;

    if (!c->greeted && (end = memchr(c->in, '\n', c->len))) {
        c->greeted = true;
        c->len -= (size_t)(end + 1 - c->in);
        memmove(c->in, end + 1, c->len);
        if (!parts_send_all(c->fd, "OK 1\n", 5))
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
        parts_die("stub");
    c->fd = fd;
    c->greeted = greeted;
    ev.data.ptr = c;
    if (epoll_ctl(ep, EPOLL_CTL_ADD, fd, &ev) < 0)
        parts_die("epoll_ctl");
}

static int plain_fd; /* the stub's socket without handshake */

static void run_stub(int channel_fd)
{
    struct epoll_event evs[64], ev = {.events = EPOLLIN};
    int ep = epoll_create1(EPOLL_CLOEXEC);

    ev.data.ptr = &channel_fd;
    if (epoll_ctl(ep, EPOLL_CTL_ADD, channel_fd, &ev) < 0)
        parts_die("epoll_ctl");
    ev.data.ptr = &plain_fd;
    if (epoll_ctl(ep, EPOLL_CTL_ADD, plain_fd, &ev) < 0)
        parts_die("epoll_ctl");
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
        parts_die(err.msg);
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
        parts_die(err.msg);
    (void)uv_run(&control, UV_RUN_DEFAULT); /* until it is killed */
}

/* ---- the plain relay: one pair of connections at a time ---- */

static bool copy_some(int from, int to)
{
    static char buf[COPY_CAP];
    ssize_t n = read(from, buf, sizeof(buf));

    return n > 0 && parts_send_all(to, buf, (size_t)n);
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
        parts_die(path);
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
        parts_die(path);
    pid = fork();
    if (pid == 0) {
        parts_die_with_parent();
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

/* ---- all of them ---- */

static void start_edge(struct part *part, bool has_tls)
{
    int fd = tcp_listen(&part->port);

    edge_has_tls = has_tls;
    part->pid = start(run_edge, fd);
}

/* A port that is free now. */
static void take_port(struct part *part)
{
    (void)close(tcp_listen(&part->port));
}

static void start_peers(struct parts *p)
{
    int fd = tcp_listen(&p->plain.port);

    p->plain.pid = start(run_plain, fd);
    take_port(&p->nginx);
    take_port(&p->tls_nginx);
    take_port(&p->http2_nginx);
    p->nginx.pid = start_nginx(p->nginx.port, p->tls_nginx.port, p->http2_nginx.port);
    if (p->nginx.pid <= 0)
        parts_die("nginx");
    p->tls_nginx.pid = p->http2_nginx.pid = p->nginx.pid;
}

void parts_start(struct parts *p, uint64_t body_len)
{
    struct adit_err err = ADIT_ERR_INIT;
    int channel_fd;

    body_bytes = body_len;
    (void)snprintf(work_dir, sizeof(work_dir), "/tmp/bench-edge-%d", (int)getpid());
    if (mkdir(work_dir, 0700) < 0)
        parts_die(work_dir);
    if (dev_cert_make("adit.test", work_dir, &err) != 0)
        parts_die(err.msg);
    channel_fd = unix_listen("channel");
    plain_fd = unix_listen("plain");
    p->stub.pid = start(run_stub, channel_fd);
    start_edge(&p->edge, false);
    start_edge(&p->body_edge, false);
    start_edge(&p->idle_edge, false);
    start_edge(&p->tls_edge, true);
    start_edge(&p->idle_tls_edge, true);
    start_peers(p);
}

static void stop(const struct part *part)
{
    if (part->pid <= 0)
        return;
    (void)kill(part->pid, SIGKILL);
    (void)waitpid(part->pid, NULL, 0);
}

void parts_stop(struct parts *p)
{
    const struct part *const all[] = {&p->nginx,     &p->plain,    &p->edge,          &p->body_edge,
                                      &p->idle_edge, &p->tls_edge, &p->idle_tls_edge, &p->stub};
    char command[128];

    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
        stop(all[i]);
    (void)snprintf(command, sizeof(command), "rm -rf '%s'", work_dir);
    if (system(command) != 0)
        parts_die(command);
}
