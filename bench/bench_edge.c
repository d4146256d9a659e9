/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The broker's data plane beside nginx and beside a plain byte copy, in one run on one machine.
 *
 * Theory of operation
 *
 * What: wrk measures small requests, h2load those over HTTP/2; clients here, one after the other,
 * bodies in each direction, full TLS handshakes and idle connections. All in turns, so that a slow
 * moment hits everybody. What is measured is in parts.h.
 *
 * Figures: requests and handshakes a second, CPU time of the relaying process a request (which a
 * busy machine distorts less), MiB/s, bytes of RSS: exact, by smaps_rollup. While bodies move it is
 * sampled, and only what it grew by is told.
 *
 * Usage: bench_edge [seconds of each wrk run, default 3 [plain|tls]]. ADIT_BENCH_SCALE=full: bodies
 * of 10 GiB.
 */
#include "bench/figure.h"
#include "bench/parts.h"

#include <inttypes.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>

#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include <openssl/ssl.h>

#define GIB (UINT64_C(1) << 30)
#define IDLE_CONNECTIONS 1000
#define CONNECTIONS 64
#define ROUNDS 3
#define BODY_ROUNDS 5
#define COPY_CAP (256u * 1024)
#define SAMPLE_S 0.02
#define HANDSHAKE_CLIENTS 2

static uint64_t body_len;

static double now_s(void)
{
    struct timespec ts;

    if (clock_gettime(CLOCK_MONOTONIC, &ts) < 0)
        parts_die("clock_gettime");
    return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
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

/* User and system time of a process in seconds. */
static double cpu_s(pid_t pid)
{
    char path[64], line[1024], *p;
    unsigned long utime, stime;
    FILE *f;

    (void)snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
    f = fopen(path, "r");
    if (!f || !fgets(line, sizeof(line), f))
        parts_die(path);
    (void)fclose(f);
    p = strrchr(line, ')');
    if (!p ||
        sscanf(p, ") %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &utime, &stime) != 2)
        parts_die(path);
    return (double)(utime + stime) / (double)sysconf(_SC_CLK_TCK);
}

static long rss_kib(pid_t pid)
{
    char path[64], line[256];
    long kib = -1;
    FILE *f;

    (void)snprintf(path, sizeof(path), "/proc/%d/smaps_rollup", (int)pid);
    f = fopen(path, "r");
    while (f && kib < 0 && fgets(line, sizeof(line), f))
        (void)sscanf(line, "Rss: %ld kB", &kib);
    if (kib < 0)
        parts_die(path);
    (void)fclose(f);
    return kib;
}

/* ---- small requests ---- */

/* What a client program found; sums or medians of all rounds. */
struct rates {
    double per_s[ROUNDS], p99_ms[ROUNDS], cpu_us[ROUNDS];
};

static double in_ms(const char *text)
{
    char *unit;
    double n = strtod(text, &unit);

    return strcmp(unit, "us") == 0 ? n / 1e3 : strcmp(unit, "ms") == 0 ? n : n * 1e3;
}

/* wrk for @seconds, as round @i. */
static void measure_requests(const char *name, const char *scheme, const struct part *part,
                             int connections, int seconds, struct rates *r, int i)
{
    char command[256], line[256], p50[32] = "?", p99[32] = "?";
    double rate = 0, before = cpu_s(part->pid);
    unsigned long requests = 0;
    FILE *f;

    (void)snprintf(command, sizeof(command),
                   "wrk -t1 -c%d -d%ds --latency -H 'Host: " PARTS_HOST "' %s://127.0.0.1:%u/",
                   connections, seconds, scheme, part->port);
    f = popen(command, "r");
    if (!f)
        parts_die("wrk");
    while (fgets(line, sizeof(line), f)) {
        (void)sscanf(line, " Requests/sec: %lf", &rate);
        (void)sscanf(line, " %lu requests in", &requests);
        (void)sscanf(line, " 50%% %31s", p50);
        (void)sscanf(line, " 99%% %31s", p99);
        if (strstr(line, "Socket errors") || strstr(line, "Non-2xx"))
            (void)fputs(line, stdout);
    }
    if (pclose(f) != 0 || requests == 0)
        parts_die("wrk");
    r->per_s[i] = rate;
    r->p99_ms[i] = in_ms(p99);
    r->cpu_us[i] = (cpu_s(part->pid) - before) / (double)requests * 1e6;
    printf("    %-9s %4d connections  %8.0f req/s  p50 %-8s p99 %-8s %5.2f us CPU/request\n", name,
           connections, rate, p50, p99, r->cpu_us[i]);
    (void)fflush(stdout);
}

/* The same requests over HTTP/2, by h2load: 64 at once on 8 connections. */
static void measure_http2(const char *name, const struct part *part, int seconds, struct rates *r,
                          int i)
{
    char command[256], line[256];
    double rate = 0, before = cpu_s(part->pid);
    unsigned long done = 0, failed = 0;
    FILE *f;

    (void)snprintf(command, sizeof(command),
                   "h2load -t1 -c8 -m8 -D %d -H ':authority: " PARTS_HOST "' "
                   "http://127.0.0.1:%u/ 2>&1",
                   seconds, part->port);
    f = popen(command, "r");
    if (!f)
        parts_die("h2load");
    while (fgets(line, sizeof(line), f)) {
        (void)sscanf(line, "finished in %*[^,], %lf req/s", &rate);
        (void)sscanf(line, "requests: %*u total, %*u started, %*u done, %lu succeeded, %lu failed",
                     &done, &failed);
    }
    if (pclose(f) != 0 || done == 0)
        parts_die("h2load");
    r->per_s[i] = rate;
    r->cpu_us[i] = (cpu_s(part->pid) - before) / (double)done * 1e6;
    printf("    %-9s HTTP/2  %8.0f req/s  %5.2f us CPU/request, %lu failed\n", name, rate,
           r->cpu_us[i], failed);
    (void)fflush(stdout);
}

/* @aim: of nginx's requests; 0: none. */
static void print_beside_nginx(const char *what, double aim, struct rates *ours,
                               struct rates *theirs)
{
    double our_rate = median(ours->per_s, ROUNDS), their_rate = median(theirs->per_s, ROUNDS);
    char text[32] = "-";

    if (aim > 0)
        (void)snprintf(text, sizeof(text), ">= %.1f of nginx", aim);
    figure_print(aim > 0 ? figure_is(our_rate >= aim * their_rate) : FIGURE_NO_AIM, what, text,
                 "%.2f (%.0f/s; %.0f us CPU each, nginx %.0f us)", our_rate / their_rate, our_rate,
                 median(ours->cpu_us, ROUNDS), median(theirs->cpu_us, ROUNDS));
}

static void print_p99(struct rates *ours, struct rates *theirs, double aim_ms)
{
    double p99 = median(ours->p99_ms, ROUNDS);
    char text[32];

    (void)snprintf(text, sizeof(text), "<= %.0f ms", aim_ms);
    figure_print(figure_is(p99 <= aim_ms), "  their p99", text, "%.2f ms, nginx %.2f ms", p99,
                 median(theirs->p99_ms, ROUNDS));
}

static void measure_small(const struct parts *p, int connections, int seconds, double p99_aim_ms)
{
    struct rates ours, theirs;
    char what[64];

    for (int i = 0; i < ROUNDS; i++) {
        measure_requests("nginx", "http", &p->nginx, connections, seconds, &theirs, i);
        measure_requests("adit", "http", &p->edge, connections, seconds, &ours, i);
    }
    (void)snprintf(what, sizeof(what), "small requests, %d connections", connections);
    print_beside_nginx(what, 0.6, &ours, &theirs);
    print_p99(&ours, &theirs, p99_aim_ms);
}

static void measure_small_http2(const struct parts *p, int seconds)
{
    struct rates ours, theirs;

    for (int i = 0; i < ROUNDS; i++) {
        measure_http2("nginx", &p->http2_nginx, seconds, &theirs, i);
        measure_http2("adit", &p->edge, seconds, &ours, i);
    }
    print_beside_nginx("small requests, HTTP/2, 8 x 8 streams", 0, &ours, &theirs);
}

/* ---- TLS ---- */

static SSL *tls_connect(SSL_CTX *ctx, uint16_t port)
{
    SSL *ssl = SSL_new(ctx);

    if (!ssl || SSL_set_fd(ssl, parts_connect(port)) != 1 || SSL_connect(ssl) != 1)
        parts_die("handshake");
    return ssl;
}

static void tls_close(SSL *ssl)
{
    (void)close(SSL_get_fd(ssl));
    SSL_free(ssl);
}

static SSL_CTX *tls_client(void)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());

    if (!ctx)
        parts_die("TLS client");
    return ctx;
}

/* Full handshakes one after the other until the time is over. Return: how many. */
static unsigned long make_handshakes(uint16_t port, double until_s)
{
    SSL_CTX *ctx = tls_client();
    unsigned long cnt = 0;

    while (now_s() < until_s) {
        tls_close(tls_connect(ctx, port));
        cnt++;
    }
    SSL_CTX_free(ctx);
    return cnt;
}

static void measure_handshakes(const char *name, const struct part *part, int seconds,
                               struct rates *r, int i)
{
    double before = cpu_s(part->pid), begin = now_s();
    unsigned long total = 0, cnt;
    int results[2];

    if (pipe(results) < 0)
        parts_die("pipe");
    for (int n = 0; n < HANDSHAKE_CLIENTS; n++) {
        if (fork() == 0) {
            parts_die_with_parent();
            cnt = make_handshakes(part->port, begin + seconds);
            _exit(write(results[1], &cnt, sizeof(cnt)) == sizeof(cnt) ? 0 : 1);
        }
    }
    (void)close(results[1]);
    while (read(results[0], &cnt, sizeof(cnt)) == sizeof(cnt))
        total += cnt;
    (void)close(results[0]);
    if (total == 0)
        parts_die("handshakes");
    r->per_s[i] = (double)total / (now_s() - begin);
    r->cpu_us[i] = (cpu_s(part->pid) - before) / (double)total * 1e6;
    printf("    %-9s %8.0f full handshakes/s  %5.0f us CPU/handshake\n", name, r->per_s[i],
           r->cpu_us[i]);
    (void)fflush(stdout);
}

static void print_rate(const char *what, const char *aim, double aim_per_s, struct rates *ours)
{
    double rate = median(ours->per_s, ROUNDS);

    figure_print(figure_is(rate >= aim_per_s), what, aim, "%.0f/s", rate);
}

static void measure_tls(const struct parts *p, int seconds)
{
    struct rates ours, theirs, our_handshakes, their_handshakes;

    for (int i = 0; i < ROUNDS; i++) {
        measure_requests("nginx/TLS", "https", &p->tls_nginx, CONNECTIONS, seconds, &theirs, i);
        measure_handshakes("nginx/TLS", &p->tls_nginx, seconds, &their_handshakes, i);
        measure_requests("adit/TLS", "https", &p->tls_edge, CONNECTIONS, seconds, &ours, i);
        measure_handshakes("adit/TLS", &p->tls_edge, seconds, &our_handshakes, i);
    }
    print_beside_nginx("small requests, TLS 1.3, 64 connections", 0.6, &ours, &theirs);
    print_rate("  their rate, one relay loop", ">= 30000/s", 30000, &ours);
    print_beside_nginx("full TLS handshakes, 2 clients", 0.6, &our_handshakes, &their_handshakes);
    print_rate("  their rate, one relay loop", ">= 1500/s", 1500, &our_handshakes);
}

/* ---- bodies ---- */

/*
 * @part:  whose memory is looked at
 * @max_kib: the most that was seen
 */
struct body_run {
    const struct part *part;
    double next_s;
    long max_kib;
};

static void sample(struct body_run *r)
{
    double now = now_s();
    long kib;

    if (now < r->next_s)
        return;
    r->next_s = now + SAMPLE_S;
    kib = rss_kib(r->part->pid);
    if (kib > r->max_kib)
        r->max_kib = kib;
}

static bool read_some(int fd, uint64_t *left)
{
    static char sink[COPY_CAP];
    ssize_t n = read(fd, sink, sizeof(sink));

    if (n > 0)
        *left -= (uint64_t)n < *left ? (uint64_t)n : *left;
    return n > 0 && *left;
}

/* Return: MiB a second. */
static double download(struct body_run *r)
{
    static const char request[] = "GET /big HTTP/1.1\r\nHost: " PARTS_HOST "\r\n\r\n";
    uint64_t left = body_len;
    int fd = parts_connect(r->part->port);
    double begin = now_s();

    if (!parts_send_all(fd, request, sizeof(request) - 1))
        parts_die("download");
    while (read_some(fd, &left))
        sample(r);
    (void)close(fd);
    if (left)
        parts_die("download");
    return (double)body_len / (1 << 20) / (now_s() - begin);
}

static double upload(struct body_run *r)
{
    static const char zeros[COPY_CAP];
    char head[160];
    uint64_t left = body_len, reply = 1;
    int fd = parts_connect(r->part->port);
    double begin = now_s();
    int n =
        snprintf(head, sizeof(head),
                 "POST /up HTTP/1.1\r\nHost: " PARTS_HOST "\r\nContent-Length: %" PRIu64 "\r\n\r\n",
                 body_len);

    if (!parts_send_all(fd, head, (size_t)n))
        parts_die("upload");
    for (; left; sample(r)) {
        size_t part = left < sizeof(zeros) ? (size_t)left : sizeof(zeros);
        if (!parts_send_all(fd, zeros, part))
            parts_die("upload");
        left -= part;
    }
    (void)read_some(fd, &reply);
    (void)close(fd);
    if (reply)
        parts_die("upload");
    return (double)body_len / (1 << 20) / (now_s() - begin);
}

static void small_request(int fd)
{
    static const char request[] = "GET / HTTP/1.1\r\nHost: " PARTS_HOST "\r\n\r\n";
    uint64_t left = 1;

    if (!parts_send_all(fd, request, sizeof(request) - 1))
        parts_die("request");
    (void)read_some(fd, &left);
    if (left)
        parts_die("request");
}

static void print_bodies(const char *way, double mib[3][BODY_ROUNDS], size_t rounds, long growth)
{
    double ours = median(mib[0], rounds), nginx = median(mib[1], rounds);
    char what[64];

    (void)snprintf(what, sizeof(what), "body of %" PRIu64 " GiB %s", body_len / GIB, way);
    figure_print(figure_is(ours >= 0.6 * nginx), what, ">= 0.6 of nginx",
                 "%.2f (%.0f MiB/s); of a plain copy %.2f", ours / nginx, ours,
                 ours / median(mib[2], rounds));
    figure_print(figure_is(growth <= 2048), "  growth of memory meanwhile", "<= 2 MiB", "%ld KiB",
                 growth);
}

/* @parts: ours, nginx, the plain copy. */
static void measure_bodies(const char *way, double (*move)(struct body_run *r),
                           const struct part *const parts[3])
{
    size_t rounds = figure_is_full() ? 1 : BODY_ROUNDS;
    double mib[3][BODY_ROUNDS];
    struct body_run runs[3];
    long before = rss_kib(parts[0]->pid);

    for (int i = 0; i < 3; i++)
        runs[i] = (struct body_run){.part = parts[i]};
    for (size_t round = 0; round < rounds; round++)
        for (int i = 0; i < 3; i++)
            mib[i][round] = move(&runs[i]);
    print_bodies(way, mib, rounds, runs[0].max_kib - before);
}

static void measure_bodies_beside(const struct parts *p)
{
    const struct part *const all[3] = {&p->body_edge, &p->nginx, &p->plain};
    int fd = parts_connect(p->body_edge.port);

    small_request(fd); /* what a first request of any size takes is there before */
    (void)close(fd);
    measure_bodies("down", download, all);
    measure_bodies("up", upload, all);
}

/* ---- idle connections ---- */

static void measure_idle(const struct part *part)
{
    static int fds[IDLE_CONNECTIONS];
    long before = rss_kib(part->pid);
    double each;

    for (int i = 0; i < IDLE_CONNECTIONS; i++) {
        fds[i] = parts_connect(part->port);
        small_request(fds[i]);
    }
    each = (double)(rss_kib(part->pid) - before) / IDLE_CONNECTIONS;
    for (int i = 0; i < IDLE_CONNECTIONS; i++)
        (void)close(fds[i]);
    figure_print(figure_is(each <= 16), "memory of 1000 idle connections", "<= 16 KiB each",
                 "%.2f KiB each", each);
}

static void measure_idle_tls(const struct part *part)
{
    static const char request[] = "GET / HTTP/1.1\r\nHost: " PARTS_HOST "\r\n\r\n";
    static SSL *held[IDLE_CONNECTIONS];
    char answer[4096];
    long before = rss_kib(part->pid);
    SSL_CTX *ctx = tls_client();
    double each;

    for (int i = 0; i < IDLE_CONNECTIONS; i++) {
        held[i] = tls_connect(ctx, part->port);
        if (SSL_write(held[i], request, sizeof(request) - 1) <= 0 ||
            SSL_read(held[i], answer, sizeof(answer)) <= 0)
            parts_die("request");
    }
    each = (double)(rss_kib(part->pid) - before) / IDLE_CONNECTIONS;
    for (int i = 0; i < IDLE_CONNECTIONS; i++)
        tls_close(held[i]);
    SSL_CTX_free(ctx);
    figure_print(FIGURE_NO_AIM, "memory of 1000 idle connections with TLS", "-", "%.2f KiB each",
                 each);
}

int main(int argc, char **argv)
{
    struct rlimit nofile = {8192, 8192};
    int seconds = argc > 1 ? atoi(argv[1]) : 3;
    const char *only = argc > 2 ? argv[2] : "";
    struct parts p;

    if (signal(SIGPIPE, SIG_IGN) == SIG_ERR || setrlimit(RLIMIT_NOFILE, &nofile) < 0)
        parts_die("set-up");
    body_len = figure_is_full() ? 10 * GIB : GIB;
    parts_start(&p, body_len);
    if (strcmp(only, "tls") != 0) {
        measure_idle(&p.idle_edge);
        measure_bodies_beside(&p);
        measure_small(&p, CONNECTIONS, seconds, 2);
        measure_small(&p, IDLE_CONNECTIONS, seconds, 50);
        measure_small_http2(&p, seconds);
    }
    if (strcmp(only, "plain") != 0) {
        measure_idle_tls(&p.idle_tls_edge);
        measure_tls(&p, seconds);
    }
    parts_stop(&p);
    return 0;
}
