/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A live envd in charge of a namespace's network, and the broker's side of it played by the test:
 * frames of the control channel, accept channels. The test's own sockets are the programs.
 */
#ifndef ADIT_TESTS_UNIT_ENVD_EGRESS_BROKER_H
#define ADIT_TESTS_UNIT_ENVD_EGRESS_BROKER_H

#include "egress_space.h"

#include <fcntl.h>

#include "live_envd.h"

#include "rpc/control.h"

struct broker {
    struct live_conn control;
    struct frame_reader reader;
    Control__Mode mode; /* as the guest says */
};

/* Send a frame. */
static inline void broker_send(struct broker *b, const Control__HostFrame *f)
{
    struct adit_buf out;
    adit_buf_init(&out, 64 * 1024);
    ck_assert_int_eq(control_append_host(&out, f), ADIT_OK);
    live_send(&b->control, adit_buf_view(&out).ptr, out.len);
    adit_buf_fini(&out);
}

/* The next frame of the guest; NULL at the end of the channel. Free it. */
static inline Control__GuestFrame *broker_next(struct broker *b)
{
    Control__GuestFrame *f = NULL;
    struct adit_err err = ADIT_ERR_INIT;
    for (;;) {
        struct adit_view in =
            adit_view_mem(b->control.buf + b->control.start, b->control.end - b->control.start);
        ck_assert_msg(control_read_guest(&b->reader, &in, &f, &err) == ADIT_OK, "%s", err.msg);
        b->control.start = b->control.end - in.len;
        if (f || !live_fill(&b->control))
            return f;
    }
}

/* A frame that must be of this kind. */
static inline Control__GuestFrame *broker_expect(struct broker *b,
                                                 Control__GuestFrame__BodyCase kind)
{
    Control__GuestFrame *f = broker_next(b);
    ck_assert_msg(f != NULL, "the guest has closed its control channel");
    ck_assert_int_eq(f->body_case, kind);
    return f;
}

/* Connect as a broker that starts, up to its own hello. */
static inline void broker_connect(struct broker *b)
{
    b->control = live_channel(CHANNEL_PORT_CONTROL);
    frame_reader_init(&b->reader, CONTROL_FRAME_MAX);
    Control__GuestFrame *f = broker_expect(b, CONTROL__GUEST_FRAME__BODY_HELLO);
    b->mode = f->hello->mode;
    ck_assert_str_eq(f->hello->version, ENVD_VERSION);
    control__guest_frame__free_unpacked(f, NULL);
}

static inline void broker_hello(struct broker *b, bool ipv6)
{
    Control__HostHello hello = CONTROL__HOST_HELLO__INIT;
    Control__HostFrame f = CONTROL__HOST_FRAME__INIT;
    hello.ipv6 = ipv6;
    f.body_case = CONTROL__HOST_FRAME__BODY_HELLO;
    f.hello = &hello;
    broker_send(b, &f);
}

static inline void broker_open(struct broker *b, bool ipv6)
{
    broker_connect(b);
    broker_hello(b, ipv6);
}

static inline void broker_close(struct broker *b)
{
    live_hang_up(&b->control);
    frame_reader_fini(&b->reader);
}

static inline void broker_refuse(struct broker *b, uint32_t id, Control__Reason reason)
{
    Control__Refusal refusal = CONTROL__REFUSAL__INIT;
    Control__HostFrame f = CONTROL__HOST_FRAME__INIT;
    refusal.id = id;
    refusal.reason = reason;
    f.body_case = CONTROL__HOST_FRAME__BODY_REFUSAL;
    f.refusal = &refusal;
    broker_send(b, &f);
}

static inline void broker_end(struct broker *b, uint32_t id, bool is_reset)
{
    Control__End end = CONTROL__END__INIT;
    Control__HostFrame f = CONTROL__HOST_FRAME__INIT;
    end.id = id;
    end.is_reset = is_reset;
    f.body_case = CONTROL__HOST_FRAME__BODY_END;
    f.end = &end;
    broker_send(b, &f);
}

/* The guest's next frame is a dial. @want: "address:port", or NULL for any. Return: its id. */
static inline uint32_t broker_expect_dial(struct broker *b, const char *want)
{
    char text[INET6_ADDRSTRLEN], name[80];
    Control__GuestFrame *f = broker_expect(b, CONTROL__GUEST_FRAME__BODY_DIAL);
    uint32_t id = f->dial->id;
    ck_assert_ptr_nonnull(inet_ntop(f->dial->address.len == 4 ? AF_INET : AF_INET6,
                                    f->dial->address.data, text, sizeof text));
    (void)snprintf(name, sizeof name, "%s:%u", text, f->dial->port);
    if (want)
        ck_assert_str_eq(name, want);
    control__guest_frame__free_unpacked(f, NULL);
    return id;
}

static inline void broker_expect_end(struct broker *b, uint32_t id, bool is_reset)
{
    Control__GuestFrame *f = broker_expect(b, CONTROL__GUEST_FRAME__BODY_END);
    ck_assert_uint_eq(f->end->id, id);
    ck_assert_int_eq(f->end->is_reset, is_reset);
    control__guest_frame__free_unpacked(f, NULL);
}

/* Answer a dial. Return: the channel; has_ok says whether the guest took it. */
static inline struct live_conn broker_accept_line(const char *line, bool *has_ok)
{
    char answer[CHANNEL_LINE_CAP];
    struct live_conn c = live_channel(CHANNEL_PORT_ACCEPT);
    live_send(&c, line, strlen(line));
    *has_ok = live_read_until(&c, "\n", answer, sizeof answer);
    if (*has_ok)
        ck_assert_str_eq(answer, "OK\n");
    return c;
}

static inline struct live_conn broker_accept(uint32_t id)
{
    char line[32];
    bool has_ok;
    (void)snprintf(line, sizeof line, "%u\n", id);
    struct live_conn c = broker_accept_line(line, &has_ok);
    ck_assert(has_ok);
    return c;
}

/* ---- names ---- */

/* The guest asks for this. Return: the id. */
static inline uint32_t broker_expect_lookup(struct broker *b, const char *name, uint32_t type)
{
    Control__GuestFrame *f = broker_expect(b, CONTROL__GUEST_FRAME__BODY_LOOKUP);
    uint32_t id = f->lookup->id;
    ck_assert_str_eq(f->lookup->name, name);
    ck_assert_uint_eq(f->lookup->type, type);
    control__guest_frame__free_unpacked(f, NULL);
    return id;
}

/* @address_cnt addresses 192.0.2.1 and on, or 2001:db8::1 and on. */
static inline void broker_tell_type(struct broker *b, uint32_t type, uint32_t id, uint32_t rcode,
                                    const char *name, size_t address_cnt, uint32_t ttl)
{
    static uint8_t bytes[CONTROL_ANSWERS_MAX][16];
    static Control__Answer answers[CONTROL_ANSWERS_MAX], *list[CONTROL_ANSWERS_MAX];
    static char text[256];
    bool is_ipv4 = type == CONTROL_TYPE_A;
    Control__LookupResult result = CONTROL__LOOKUP_RESULT__INIT;
    Control__HostFrame f = CONTROL__HOST_FRAME__INIT;
    (void)snprintf(text, sizeof text, "%s", name);
    for (size_t i = 0; i < address_cnt; i++) {
        const uint8_t ipv4[4] = {192, 0, 2, (uint8_t)(i + 1)};
        const uint8_t ipv6[16] = {0x20, 1, 0x0d, 0xb8, [15] = (uint8_t)(i + 1)};
        memcpy(bytes[i], is_ipv4 ? ipv4 : ipv6, is_ipv4 ? 4 : 16);
        control__answer__init(&answers[i]);
        answers[i].name = text;
        answers[i].type = type;
        answers[i].ttl = ttl;
        answers[i].data = (ProtobufCBinaryData){is_ipv4 ? 4 : 16, bytes[i]};
        list[i] = &answers[i];
    }
    result.id = id;
    result.rcode = rcode;
    result.answers = list;
    result.n_answers = address_cnt;
    result.negative_ttl = ttl;
    f.body_case = CONTROL__HOST_FRAME__BODY_LOOKUP_RESULT;
    f.lookup_result = &result;
    broker_send(b, &f);
}

static inline void broker_tell(struct broker *b, uint32_t id, uint32_t rcode, const char *name,
                               size_t address_cnt, uint32_t ttl)
{
    broker_tell_type(b, CONTROL_TYPE_A, id, rcode, name, address_cnt, ttl);
}

/* ---- programs ---- */

static inline void program_say(int fd, const char *text)
{
    ck_assert_int_eq(send(fd, text, strlen(text), MSG_NOSIGNAL), (ssize_t)strlen(text));
}

static inline void program_hear(int fd, const char *text)
{
    char got[256];
    ck_assert_int_eq(recv(fd, got, strlen(text), MSG_WAITALL), (ssize_t)strlen(text));
    ck_assert_int_eq(memcmp(got, text, strlen(text)), 0);
}

static inline void broker_hears(struct live_conn *host, const char *text)
{
    char got[512];
    ck_assert(live_read_until(host, text, got, sizeof got));
    ck_assert_str_eq(got, text);
}

/* Read to the end. Return: 0 for a clean one, or the errno. */
static inline int program_end(int fd)
{
    char byte;
    ssize_t n = recv(fd, &byte, 1, 0);
    ck_assert_int_le(n, 0);
    return n == 0 ? 0 : errno;
}

/* Begin to connect. */
static inline int program_dial(const char *text, uint16_t port)
{
    socklen_t len;
    union space_address a = space_address(text, port, &len);
    int fd = socket(a.any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    ck_assert_int_ge(fd, 0);
    if (connect(fd, &a.any, len) != 0)
        ck_assert_int_eq(errno, EINPROGRESS);
    return fd;
}

/* Wait for the end of connecting. Return: 0, or the errno; the socket blocks from then on. */
static inline int program_connected(int fd)
{
    int failed = 0;
    socklen_t len = sizeof failed;
    struct pollfd p = {.fd = fd, .events = POLLOUT};
    ck_assert_msg(poll(&p, 1, 60000) == 1, "connect() does not end");
    ck_assert_int_eq(getsockopt(fd, SOL_SOCKET, SO_ERROR, &failed, &len), 0);
    ck_assert_int_eq(fcntl(fd, F_SETFL, 0), 0);
    return failed;
}

static inline bool program_is_waiting(int fd)
{
    struct pollfd p = {.fd = fd, .events = POLLOUT};
    return poll(&p, 1, 0) == 0;
}

/* A dial that the broker grants. @host: the broker's side. Return: the program's. */
static inline int program_open(struct broker *b, const char *text, uint16_t port, uint32_t *id,
                               struct live_conn *host)
{
    int fd = program_dial(text, port);
    *id = broker_expect_dial(b, NULL);
    *host = broker_accept(*id);
    ck_assert_int_eq(program_connected(fd), 0);
    return fd;
}

/* The one port on which envd listens at 127.0.0.1. */
static inline uint16_t program_proxy_port(void)
{
    char line[256];
    unsigned found = 0, p;
    FILE *f = fopen("/proc/self/net/tcp", "r");
    ck_assert_ptr_nonnull(f);
    while (fgets(line, sizeof line, f))
        if (strstr(line, " 0A ") && sscanf(line, "%*u: 0100007F:%x", &p) == 1)
            found = p;
    (void)fclose(f);
    ck_assert_uint_ne(found, 0);
    return (uint16_t)found;
}

/* ---- envd ---- */

static inline void egress_start(enum egress_mode mode)
{
    space_enter();
    live_egress = mode;
    live_start_in(CLONE_NEWPID, "");
}

#endif
