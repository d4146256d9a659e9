/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An HTTP/2 client's bytes behind the preface, given to a server on a socket pair. Oracles: what
 * the handler is given, written as an HTTP/1 head, reads the same with our own parser; how the
 * bytes are cut decides at most how much is read before the connection ends, not what; nothing is
 * left behind.
 */
#include "tests/fuzz/oracle.h"

#include <signal.h>
#include <string.h>
#include <unistd.h>

#include <sys/socket.h>

#include "base/clock.h"
#include "net/http2_server.h"
#include "net/http_write.h"
#include "tests/fuzz/http_transcript.h"

#define TEXT_CAP (8u * 1024 * 1024)
#define TURNS_MAX 100000

static const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

static struct {
    uv_loop_t uv;
    struct net_loop net;
    struct http_server *server;
    struct adit_buf text; /* what the handler saw */
    size_t request_cnt, last;
    bool is_over; /* a request was refused, or a tunnel: from here on nothing is compared */
} F;

/* The request's number is the exchange's user data. */
static void on_body(struct http_exchange *x, struct adit_view bytes)
{
    size_t number = (size_t)(uintptr_t)http_exchange_user(x);

    if (F.is_over)
        return;
    if (F.last != number)
        ORACLE(adit_buf_appendf(&F.text, "\nbody of %zu: ", number) == 0);
    F.last = number;
    ORACLE(adit_buf_append_view(&F.text, bytes) == 0);
}

static void on_end(struct http_exchange *x)
{
    F.last = 0;
    if (!F.is_over)
        ORACLE(adit_buf_appendf(&F.text, "\nend of %zu",
                                (size_t)(uintptr_t)http_exchange_user(x)) == 0);
}

static const struct http_exchange_ops ops = {.on_body = on_body, .on_end = on_end};

/* Written for a guest, the head must read the same. */
static void check_head(const struct http_head *head)
{
    struct http_transcript first, again;
    struct adit_buf text;

    http_transcript_init(&first, HTTP_REQUEST, HTTP_GET);
    http_transcript_init(&again, HTTP_REQUEST, HTTP_GET);
    http_transcript_head(&first, head);
    adit_buf_init(&text, 2 * HTTP_HEAD_CAP);
    ORACLE(http_write_request_line(&text, head->method_text, head->target) == ADIT_OK);
    for (size_t i = 0; i < head->header_cnt; i++)
        ORACLE(http_write_header(&text, head->headers[i].name, head->headers[i].value) == ADIT_OK);
    ORACLE(http_write_end(&text) == ADIT_OK);
    http_transcript_feed(&again, adit_buf_view(&text));
    ORACLE(again.text.len >= first.text.len &&
           memcmp(adit_buf_view(&again.text).ptr, adit_buf_view(&first.text).ptr, first.text.len) ==
               0);
    if (!F.is_over)
        ORACLE(adit_buf_appendf(&F.text, "\nrequest %zu: ", F.request_cnt) == 0 &&
               adit_buf_append_view(&F.text, adit_buf_view(&first.text)) == 0);
    adit_buf_fini(&text);
    http_transcript_fini(&again);
    http_transcript_fini(&first);
}

static void on_request(struct http_exchange *x, const struct http_head *head)
{
    F.request_cnt++;
    F.last = 0;
    F.is_over |= head->upgrade; /* a tunnel's key is random */
    check_head(head);
    http_exchange_set_ops(x, &ops, (void *)(uintptr_t)F.request_cnt);
}

static void on_refuse(struct http_server *s, unsigned status, const char *message,
                      struct adit_buf *headers, struct adit_buf *body)
{
    (void)s;
    (void)headers;
    (void)message;
    (void)body;
    ORACLE(status >= 400);
    F.is_over = true;
}

static uint64_t no_time(void)
{
    return 1;
}

static void set_up(void)
{
    struct http_server_conf conf = {
        .on_request = on_request, .on_refuse = on_refuse, .adopt_http2 = http2_server_adopt};

    ORACLE(signal(SIGPIPE, SIG_IGN) != SIG_ERR);
    adit_clock_set(no_time, NULL);
    ORACLE(uv_loop_init(&F.uv) == 0 && net_loop_init(&F.net, &F.uv, NULL) == 0);
    ORACLE(http_server_new(&F.net, &conf, &F.server, NULL) == 0);
    adit_buf_init(&F.text, TEXT_CAP);
}

static void turn(int fd)
{
    static char sink[65536];

    (void)uv_run(&F.uv, UV_RUN_NOWAIT);
    while (recv(fd, sink, sizeof(sink), MSG_DONTWAIT) > 0)
        ;
}

static void push(int fd, const void *bytes, size_t len)
{
    for (int i = 0; len > 0 && i < TURNS_MAX; i++) {
        ssize_t n = send(fd, bytes, len, MSG_DONTWAIT);

        if (n > 0) {
            bytes = (const char *)bytes + n;
            len -= (size_t)n;
        }
        turn(fd);
        if (http_server_connection_cnt(F.server) == 0)
            return;
    }
}

/* Return: what the handler saw. */
static char *run(const uint8_t *data, size_t size, size_t cut, size_t *len)
{
    int fds[2];

    F.request_cnt = F.last = 0;
    F.is_over = false;
    ORACLE(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds) == 0);
    http_server_accept(F.server, fds[1]);
    push(fds[0], preface, sizeof(preface) - 1);
    for (size_t at = 0; at < size && http_server_connection_cnt(F.server); at += cut)
        push(fds[0], data + at, cut < size - at ? cut : size - at);
    ORACLE(shutdown(fds[0], SHUT_WR) == 0 || http_server_connection_cnt(F.server) == 0);
    for (int i = 0; http_server_connection_cnt(F.server); i++) {
        ORACLE(i < TURNS_MAX);
        turn(fds[0]);
    }
    ORACLE(http_server_exchange_cnt(F.server) == 0);
    ORACLE(close(fds[0]) == 0);
    for (int i = 0; i < 4; i++) /* the stream's last words */
        (void)uv_run(&F.uv, UV_RUN_NOWAIT);
    *len = F.text.len;
    return F.text.len > 0 ? adit_buf_steal_str(&F.text) : NULL;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t whole_len, cut_len;

    if (size == 0)
        return 0;
    if (!F.server)
        set_up();
    char *whole = run(data + 1, size - 1, size, &whole_len);
    char *cut = run(data + 1, size - 1, 1 + data[0] % 64u, &cut_len);
    size_t common = whole_len < cut_len ? whole_len : cut_len;
    ORACLE(common == 0 || memcmp(whole, cut, common) == 0);
    free(whole);
    free(cut);
    return 0;
}
