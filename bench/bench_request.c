/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What one small request costs the broker, without any I/O: the raw check of its head, reading it,
 * finding and authorizing what it is for, writing it anew for the guest, and the reply.
 *
 * Short rounds, of which the fastest says what the code takes: whatever else the machine does only
 * adds to it. The median is told beside it.
 */
#include "bench/figure.h"
#include "broker/edge/edge_int.h"
#include "broker/edge/edge_target.h"
#include "net/http_guard.h"
#include "net/http_msg.h"
#include "net/http_write.h"
#include "net/url.h"

#include <time.h>

#define ROUNDS 201
#define MESSAGES 500
#define SANDBOXES 500
#define AIM_NS 2000

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

/* ---- the steps; all work on what the last parse left ---- */

static struct http_head head;
static struct adit_buf out, path;
static struct http_parser *requests, *replies;
static struct adit_map table; /* sandbox id → edge_route */
static struct edge_request_id_source ids;
static volatile bool is_allowed; /* keeps the compiler from dropping what is not used */

static void guard(void)
{
    struct http_guard g;
    size_t len;

    http_guard_init(&g);
    must(http_guard_feed(&g, HTTP_REQUEST, request, &len, NULL));
}

/* As edge_loop.c and edge_proxy.c do for envd's port, and a token as for a private port. */
static void route_and_authorize(void)
{
    struct edge_target_input said = {
        .host = http_head_get(&head, "host"),
        .id = http_head_get(&head, "e2b-sandbox-id"),
        .port = http_head_get(&head, "e2b-sandbox-port"),
        .path = head.target,
    };
    char id[EDGE_REQUEST_ID_CAP];
    struct edge_target target;
    struct url_target url;

    edge_target_parse(&said, adit_view_str("example.org"), &target);
    const struct edge_route *route = adit_map_get(&table, target.sandbox_id);
    if (target.kind != EDGE_TARGET_SANDBOX || !route)
        abort();
    edge_request_id_take(&ids, &head, id);
    must(url_split_target(head.target, &url, NULL));
    adit_buf_clear(&path);
    must(url_clean_path(url.path, &path));
    is_allowed = !edge_target_is_reserved(target.port) &&
                 !edge_target_is_envd_control(adit_buf_view(&path)) &&
                 !adit_view_eq_secret(http_head_get(&head, "x-access-token"),
                                      adit_view_str(route->traffic_token));
}

static void parse(struct http_parser *p, struct adit_view bytes, bool with_rewrite)
{
    enum http_event event;
    struct adit_view body;

    do {
        must(http_parser_next(p, &bytes, &head, &body, &event, NULL));
        if (event == HTTP_EV_HEAD && with_rewrite)
            rewrite(&out, &head);
    } while (event != HTTP_EV_MORE);
}

static void parse_request(void)
{
    parse(requests, request, false);
}

static void relay_request(void)
{
    parse(requests, request, true);
}

static void parse_reply(void)
{
    parse(replies, reply, false);
}

static void relay_reply(void)
{
    parse(replies, reply, true);
}

/* ---- measuring ---- */

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

struct cost {
    double fastest_ns, median_ns;
};

static struct cost measure(void (*step)(void))
{
    double rounds[ROUNDS];

    for (size_t r = 0; r < ROUNDS; r++) {
        double start = now_ns();
        for (size_t i = 0; i < MESSAGES; i++)
            step();
        rounds[r] = (now_ns() - start) / MESSAGES;
    }
    qsort(rounds, ROUNDS, sizeof(rounds[0]), by_value);
    return (struct cost){rounds[0], rounds[ROUNDS / 2]};
}

static void print(const char *what, struct cost c)
{
    figure_print(FIGURE_NO_AIM, what, "-", "%.0f ns, median %.0f ns", c.fastest_ns, c.median_ns);
}

static void set_up(void)
{
    static struct edge_route routes[SANDBOXES];

    requests = http_parser_new(HTTP_REQUEST);
    replies = http_parser_new(HTTP_RESPONSE);
    adit_buf_init(&out, HTTP_HEAD_CAP);
    adit_buf_init(&path, HTTP_HEAD_CAP);
    edge_request_id_source_init(&ids);
    adit_map_init(&table);
    for (size_t i = 0; i < SANDBOXES; i++) {
        char *id = routes[i].sandbox_id;
        (void)snprintf(id, EDGE_ID_CAP, "i2f7sbp9o0o1t4l3k%03zu", i);
        if (i == SANDBOXES - 1)
            (void)snprintf(id, EDGE_ID_CAP, "i2f7sbp9o0o1t4l3k6zq");
        memcpy(routes[i].traffic_token, "0123456789abcdef0123456789abcdef", 32);
        must(adit_map_put(&table, adit_view_str(id), &routes[i]));
    }
    if (!requests || !replies)
        abort();
}

static void tear_down(void)
{
    http_parser_free(requests);
    http_parser_free(replies);
    adit_buf_fini(&out);
    adit_buf_fini(&path);
    adit_map_fini(&table);
}

int main(void)
{
    set_up();
    struct cost guarded = measure(guard), parsed = measure(parse_request);
    struct cost routed = measure(route_and_authorize);
    double sum_ns = guarded.fastest_ns + routed.fastest_ns;

    figure_print(figure_is(sum_ns <= AIM_NS), "a request: guard, routing, authorization", "<= 2 us",
                 "%.2f us, median %.2f us", sum_ns / 1e3,
                 (guarded.median_ns + routed.median_ns) / 1e3);
    print("  guard alone", guarded);
    print("  routing and authorization, 500 sandboxes", routed);
    print("  reading it, with the guard", parsed);
    print("  reading and writing it", measure(relay_request));
    print("a reply: reading it", measure(parse_reply));
    print("  reading and writing it", measure(relay_reply));
    tear_down();
    return 0;
}
