/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The egress thread of a broker, with a guest and destinations that the test plays: the guest's
 * socket, its control channel and its accept channels; servers on loopback.
 */
#ifndef ADIT_TESTS_UNIT_BROKER_EGRESS_GUEST_H
#define ADIT_TESTS_UNIT_BROKER_EGRESS_GUEST_H

#include "../suite.h"

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "broker/egress/egress.h"
#include "broker/egress/egress_dial.h"
#include "broker/egress/egress_operator.h"
#include "broker/egress/egress_resolver.h"
#include "rpc/control.h"

#define GUEST_WAIT_MS 60000

/* @control: the channel of guest port 1025, or -1; @in: read from it and not taken yet; @syncs:
 * guest_sync(); @take_trust, @authority (PEM): NULL, or set before guest_start() */
struct guest {
    char dir[64];
    int listener, control;
    struct tls_context *take_trust;
    const char *authority;
    struct egress_operator reach;
    struct egress *egress;
    struct egress_sandbox *sandbox;
    struct frame_reader reader;
    char in[65536];
    size_t start, end;
    uint64_t syncs;
};

static inline void wait_readable(int fd)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};
    ck_assert_msg(poll(&p, 1, GUEST_WAIT_MS) == 1, "nothing comes");
}

/* ---- channels ---- */

/* Return: false when it ends before. */
static inline bool try_line(int fd, char *line, size_t cap)
{
    size_t len = 0;
    do {
        ck_assert_uint_lt(len + 1, cap);
        wait_readable(fd);
        if (read(fd, line + len, 1) != 1)
            return false;
    } while (line[len++] != '\n');
    line[len] = '\0';
    return true;
}

static inline void read_line(int fd, char *line, size_t cap)
{
    ck_assert_msg(try_line(fd, line, cap), "the host has closed its channel");
}

static inline void send_text(int fd, const char *text)
{
    ck_assert_int_eq(send(fd, text, strlen(text), MSG_NOSIGNAL), (ssize_t)strlen(text));
}

/* The host opens a channel. Return: its descriptor. */
static inline int guest_channel(struct guest *g, const char *expected)
{
    char line[64];
    wait_readable(g->listener);
    int fd = accept4(g->listener, NULL, NULL, SOCK_CLOEXEC);
    ck_assert_int_ge(fd, 0);
    read_line(fd, line, sizeof(line));
    ck_assert_str_eq(line, expected);
    send_text(fd, "OK 1\n");
    return fd;
}

/* The channel that answers a dial, "OK" said. */
static inline int guest_accept(struct guest *g, uint32_t id)
{
    char line[64], expected[64];
    (void)snprintf(expected, sizeof(expected), "%u\n", id);
    int fd = guest_channel(g, "CONNECT 1026\n");
    read_line(fd, line, sizeof(line));
    ck_assert_str_eq(line, expected);
    send_text(fd, "OK\n");
    return fd;
}

/* ---- frames ---- */

static inline void guest_send(struct guest *g, const Control__GuestFrame *f)
{
    struct adit_buf out;
    adit_buf_init(&out, 64 * 1024);
    ck_assert_int_eq(control_append_guest(&out, f), ADIT_OK);
    struct adit_view v = adit_buf_view(&out);
    ck_assert_int_eq(send(g->control, v.ptr, v.len, MSG_NOSIGNAL), (ssize_t)v.len);
    adit_buf_fini(&out);
}

/* The host's next frame, to be freed; NULL at the end of the channel. */
static inline Control__HostFrame *guest_next(struct guest *g)
{
    Control__HostFrame *f = NULL;
    struct adit_err err = ADIT_ERR_INIT;
    for (;;) {
        struct adit_view in = adit_view_mem(g->in + g->start, g->end - g->start);
        ck_assert_msg(control_read_host(&g->reader, &in, &f, &err) == ADIT_OK, "%s", err.msg);
        g->start = g->end - in.len;
        if (f)
            return f;
        wait_readable(g->control);
        ssize_t n = read(g->control, g->in, sizeof(g->in));
        if (n <= 0)
            return NULL;
        g->start = 0;
        g->end = (size_t)n;
    }
}

static inline Control__HostFrame *guest_expect(struct guest *g, Control__HostFrame__BodyCase kind)
{
    Control__HostFrame *f = guest_next(g);
    ck_assert_msg(f != NULL, "the host has closed its control channel");
    ck_assert_int_eq(f->body_case, kind);
    return f;
}

static inline void guest_hello(struct guest *g)
{
    Control__GuestHello hello;
    Control__GuestFrame f = CONTROL__GUEST_FRAME__INIT;
    static char version[] = "test";
    control__guest_hello__init(&hello);
    hello.mode = CONTROL__MODE__MODE_TRANSPARENT;
    hello.version = version;
    f.body_case = CONTROL__GUEST_FRAME__BODY_HELLO;
    f.hello = &hello;
    guest_send(g, &f);
}

/* The control channel is @fd; hellos are said. */
static inline void guest_open_on(struct guest *g, int fd)
{
    g->start = g->end = 0;
    frame_reader_init(&g->reader, CONTROL_FRAME_MAX);
    g->control = fd;
    control__host_frame__free_unpacked(guest_expect(g, CONTROL__HOST_FRAME__BODY_HELLO), NULL);
    guest_hello(g);
}

static inline void guest_open(struct guest *g)
{
    guest_open_on(g, guest_channel(g, "CONNECT 1025\n"));
}

static inline void guest_hang_up(struct guest *g)
{
    if (g->control >= 0)
        (void)close(g->control);
    g->control = -1;
    frame_reader_fini(&g->reader);
}

static inline void guest_dial(struct guest *g, uint32_t id, const char *address, uint16_t port)
{
    Control__Dial dial;
    Control__GuestFrame f = CONTROL__GUEST_FRAME__INIT;
    uint8_t bytes[16];
    bool is_v4 = inet_pton(AF_INET, address, bytes) == 1;
    ck_assert(is_v4 || inet_pton(AF_INET6, address, bytes) == 1);
    control__dial__init(&dial);
    dial.id = id;
    dial.address = (ProtobufCBinaryData){is_v4 ? 4 : 16, bytes};
    dial.port = port;
    f.body_case = CONTROL__GUEST_FRAME__BODY_DIAL;
    f.dial = &dial;
    guest_send(g, &f);
}

static inline void guest_end(struct guest *g, uint32_t id, bool is_reset)
{
    Control__End end = CONTROL__END__INIT;
    Control__GuestFrame f = CONTROL__GUEST_FRAME__INIT;
    end.id = id;
    end.is_reset = is_reset;
    f.body_case = CONTROL__GUEST_FRAME__BODY_END;
    f.end = &end;
    guest_send(g, &f);
}

static inline void guest_lookup(struct guest *g, uint32_t id, char *name)
{
    Control__Lookup lookup;
    Control__GuestFrame f = CONTROL__GUEST_FRAME__INIT;
    control__lookup__init(&lookup);
    lookup.id = id;
    lookup.name = name;
    lookup.type = CONTROL_TYPE_A;
    f.body_case = CONTROL__GUEST_FRAME__BODY_LOOKUP;
    f.lookup = &lookup;
    guest_send(g, &f);
}

static inline void guest_expect_refusal(struct guest *g, uint32_t id, Control__Reason reason)
{
    Control__HostFrame *f = guest_expect(g, CONTROL__HOST_FRAME__BODY_REFUSAL);
    ck_assert_uint_eq(f->refusal->id, id);
    ck_assert_int_eq(f->refusal->reason, reason);
    control__host_frame__free_unpacked(f, NULL);
}

static inline void guest_expect_end(struct guest *g, uint32_t id, bool is_reset)
{
    Control__HostFrame *f = guest_expect(g, CONTROL__HOST_FRAME__BODY_END);
    ck_assert_uint_eq(f->end->id, id);
    ck_assert_int_eq(f->end->is_reset, is_reset);
    control__host_frame__free_unpacked(f, NULL);
}

static inline uint32_t guest_expect_rcode(struct guest *g, uint32_t id)
{
    Control__HostFrame *f = guest_expect(g, CONTROL__HOST_FRAME__BODY_LOOKUP_RESULT);
    ck_assert_uint_eq(f->lookup_result->id, id);
    uint32_t rcode = f->lookup_result->rcode;
    control__host_frame__free_unpacked(f, NULL);
    return rcode;
}

/* ---- destinations ---- */

/* A server on loopback. *port: where. */
static inline int server_open(uint16_t *port)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t len = sizeof(a);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ck_assert_int_eq(bind(fd, (struct sockaddr *)&a, len), 0);
    ck_assert_int_eq(listen(fd, 128), 0);
    ck_assert_int_eq(getsockname(fd, (struct sockaddr *)&a, &len), 0);
    *port = ntohs(a.sin_port);
    return fd;
}

static inline int server_accept(int fd)
{
    wait_readable(fd);
    int conn = accept4(fd, NULL, NULL, SOCK_CLOEXEC);
    ck_assert_int_ge(conn, 0);
    return conn;
}

/* Read exactly this. */
static inline void expect_text(int fd, const char *text)
{
    char got[256];
    size_t len = 0, want = strlen(text);
    ck_assert_uint_lt(want, sizeof(got));
    while (len < want) {
        wait_readable(fd);
        ssize_t n = read(fd, got + len, want - len);
        ck_assert_int_gt(n, 0);
        len += (size_t)n;
    }
    got[len] = '\0';
    ck_assert_str_eq(got, text);
}

static inline void expect_eof(int fd)
{
    char c;
    wait_readable(fd);
    ck_assert_int_eq(read(fd, &c, 1), 0);
}

static inline void expect_reset(int fd)
{
    char c;
    wait_readable(fd);
    ck_assert_int_eq(read(fd, &c, 1), -1);
    ck_assert_int_eq(errno, ECONNRESET);
}

/* Close with a reset. */
static inline void reset(int fd)
{
    struct linger now = {1, 0};
    ck_assert_int_eq(setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now)), 0);
    (void)close(fd);
}

/* ---- the egress ---- */

static inline struct egress_policy *policy_of(const struct guest *g, const char *network)
{
    struct egress_policy *p;
    json_t *doc = json_loads(network, 0, NULL);
    ck_assert_ptr_nonnull(doc);
    ck_assert_int_eq(egress_policy_compile(doc, false, &g->reach, &p, NULL), ADIT_OK);
    json_decref(doc);
    if (g->authority) {
        struct egress_authority *a;
        ck_assert_int_eq(egress_authority_open(g->authority, &a, NULL), ADIT_OK);
        egress_policy_set_authority(p, a);
    }
    return p;
}

/* Listen as a sandbox of @g->egress with these rules. */
static inline void guest_listen(struct guest *g, const char *id, const char *network)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    struct http_target target = {.kind = HTTP_TARGET_CHANNEL, .port = 49983};
    struct adit_err err = ADIT_ERR_INIT;
    (void)snprintf(g->dir, sizeof(g->dir), "/tmp/egress.XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(g->dir));
    (void)snprintf(a.sun_path, sizeof(a.sun_path), "%s/guest", g->dir);
    (void)snprintf(target.path, sizeof(target.path), "%s", a.sun_path);
    g->control = -1;
    g->syncs = 0;
    g->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ck_assert_int_eq(bind(g->listener, (struct sockaddr *)&a, sizeof(a)), 0);
    ck_assert_int_eq(listen(g->listener, 256), 0);
    ck_assert_int_eq(egress_open(g->egress, id, &target, policy_of(g, network), &g->sandbox, &err),
                     ADIT_OK);
}

/* @open: what the operator opens; @network: the sandbox's rules; @servers: of names, or NULL */
static inline void guest_start_as(struct guest *g, const char *open, const char *network,
                                  const char *servers, struct egress_conf conf)
{
    struct adit_err err = ADIT_ERR_INIT;
    conf.operator_ = &g->reach;
    conf.take_trust = g->take_trust;
    conf.dials_max = conf.dials_max ? conf.dials_max : EGRESS_DIALS_MAX;
    conf.all_dials_max = conf.all_dials_max ? conf.all_dials_max : EGRESS_DIALS_MAX;
    (void)signal(SIGPIPE, SIG_IGN);
    ck_assert_msg(egress_operator_read(open, "198.100.0.0/16", &g->reach, &err) == ADIT_OK, "%s",
                  err.msg);
    ck_assert_int_eq(egress_resolver_new(servers, &conf.take_resolver, &err), ADIT_OK);
    ck_assert_int_eq(egress_start(&conf, &g->egress, &err), ADIT_OK);
    guest_listen(g, "ia", network);
}

static inline void guest_start(struct guest *g, const char *open, const char *network, bool is_off)
{
    guest_start_as(g, open, network, NULL, (struct egress_conf){.is_off = is_off});
}

static inline void guest_leave(struct guest *g)
{
    char path[80];
    guest_hang_up(g);
    (void)close(g->listener);
    (void)snprintf(path, sizeof(path), "%s/guest", g->dir);
    (void)unlink(path);
    (void)rmdir(g->dir);
}

static inline void guest_stop(struct guest *g)
{
    egress_stop(g->egress);
    egress_free(g->egress);
    egress_operator_fini(&g->reach);
    guest_leave(g);
}

/* What was asked and told before is done then; what it led to is passed over. */
static inline void guest_sync(struct guest *g)
{
    bool is_answer = false;
    guest_dial(g, UINT32_MAX, "10.0.0.1", 9); /* never allowed here, so refused in its turn */
    g->syncs++;
    while (!is_answer) {
        Control__HostFrame *f = guest_next(g);
        ck_assert_msg(f != NULL, "the host has closed its control channel");
        is_answer =
            f->body_case == CONTROL__HOST_FRAME__BODY_REFUSAL && f->refusal->id == UINT32_MAX;
        control__host_frame__free_unpacked(f, NULL);
    }
}

static inline uint64_t count_of(struct guest *g, enum egress_count which)
{
    struct egress_stats stats;
    guest_sync(g);
    egress_measure(g->egress, &stats);
    return stats.at[which] - (which == EGRESS_COUNT_PROHIBITED ? g->syncs : 0);
}

#endif
