/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What HTTP costs the broker for one small request, without any I/O: parse its head, write it anew
 * for the guest, and the same for the reply. Prints nanoseconds a message (median of rounds).
 */
#include "net/http_msg.h"
#include "net/http_write.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define ROUNDS 21
#define MESSAGES 20000

/* As the Python SDK sends a small RPC through a sandbox's host name. */
static const struct adit_view request =
    ADIT_VIEW("POST /process.Process/List HTTP/1.1\r\n"
              "Host: 49983-i2f7sbp9o0o1t4l3k6zq.example.org\r\n"
              "Accept: */*\r\n"
              "Accept-Encoding: gzip, deflate\r\n"
              "Connection: keep-alive\r\n"
              "User-Agent: connect-python\r\n"
              "Content-Type: application/json\r\n"
              "Connect-Protocol-Version: 1\r\n"
              "X-Access-Token: 7c9d1e0fa1b2c3d4e5f60718293a4b5c\r\n"
              "E2b-Sandbox-Id: i2f7sbp9o0o1t4l3k6zq\r\n"
              "E2b-Sandbox-Port: 49983\r\n"
              "Content-Length: 2\r\n"
              "\r\n{}");
static const struct adit_view reply = ADIT_VIEW("HTTP/1.1 200 OK\r\n"
                                                "Content-Type: application/json\r\n"
                                                "Vary: Accept-Encoding\r\n"
                                                "Date: Sat, 21 Nov 2026 08:00:00 GMT\r\n"
                                                "Content-Length: 16\r\n"
                                                "\r\n{\"processes\":[]}");

static void must(int rc)
{
    if (rc != ADIT_OK)
        abort();
}

static void rewrite(struct adit_buf *out, const struct http_head *h)
{
    adit_buf_clear(out);
    if (h->kind == HTTP_REQUEST) {
        must(http_write_request_line(out, h->method_text, h->target));
        must(http_write_header(out, adit_view_str("Host"), http_head_get(h, "Host")));
    } else {
        must(http_write_status_line(out, h->status));
    }
    for (size_t i = 0; i < h->header_cnt; i++)
        if (!http_head_is_hop(h, h->headers[i].name))
            must(http_write_header(out, h->headers[i].name, h->headers[i].value));
    must(http_write_header_u64(out, "Content-Length", h->content_length));
    must(http_write_end(out));
}

static void one_message(struct http_parser *p, struct adit_view bytes, struct http_head *head,
                        struct adit_buf *out, bool with_rewrite)
{
    enum http_event event;
    struct adit_view body;
    do {
        must(http_parser_next(p, &bytes, head, &body, &event, NULL));
        if (event == HTTP_EV_HEAD && with_rewrite)
            rewrite(out, head);
    } while (event != HTTP_EV_MORE);
}

static double now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void measure(const char *name, enum http_kind kind, struct adit_view bytes,
                    bool with_rewrite)
{
    static struct http_head head;
    double rounds[ROUNDS];
    struct adit_buf out;
    struct http_parser *p = http_parser_new(kind);
    if (!p)
        abort();
    adit_buf_init(&out, HTTP_HEAD_CAP);
    for (size_t r = 0; r < ROUNDS; r++) {
        double start = now_ns();
        for (size_t i = 0; i < MESSAGES; i++)
            one_message(p, bytes, &head, &out, with_rewrite);
        rounds[r] = (now_ns() - start) / MESSAGES;
    }
    qsort(rounds, ROUNDS, sizeof(rounds[0]), by_value);
    printf("%-24s %4zu bytes  %7.0f ns (fastest %.0f)\n", name, bytes.len, rounds[ROUNDS / 2],
           rounds[0]);
    adit_buf_fini(&out);
    http_parser_free(p);
}

int main(void)
{
    measure("request: parse", HTTP_REQUEST, request, false);
    measure("request: parse, rewrite", HTTP_REQUEST, request, true);
    measure("reply: parse", HTTP_RESPONSE, reply, false);
    measure("reply: parse, rewrite", HTTP_RESPONSE, reply, true);
    return 0;
}
