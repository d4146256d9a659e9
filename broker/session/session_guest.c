/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A session's sandbox as the session API calls it.
 *
 * Theory of operation
 *
 * What: calls go the way of every client's, over a channel to envd's ports, with the sandbox's own
 * token and as its default user. Ownership: a guest is a copy; a sandbox that ends meanwhile fails
 * the call.
 */
#include "broker/session/session_guest.h"

#include "broker/session/session_request.h"
#include "net/http_write.h"

/* For the next call of the same owner. */
#define KEEP_MS 60000

void session_guest_init(struct session_guest *g, const struct broker *b, const struct sandbox *s)
{
    const struct record *r = node_record(s);
    memcpy(g->sandbox_id, r->sandbox_id, sizeof(g->sandbox_id));
    g->target = r->instance.target;
    g->dial_ms = b->conf.dial_ms;
    tokens_envd(&b->tokens, r->sandbox_id, record_generation(r), g->token);
}

int session_guest_pool(const struct session_guest *g, struct net_loop *loop, uint16_t port,
                       struct http_pool **out, struct adit_err *err)
{
    struct http_pool_conf conf = {
        .target = g->target, .dial_ms = g->dial_ms, .idle_ms = KEEP_MS, .idle_max = 1};
    conf.target.port = port;
    conf.target.tcp_port = 0;
    return http_pool_new(loop, &conf, out, err);
}

int session_guest_write_head(const struct session_guest *g, const struct session_guest_head *head,
                             struct adit_buf *out)
{
    int rc = http_write_request_line(out, adit_view_str(head->method), head->target);
    if (rc == 0)
        rc = http_write_header_str(out, "Host", "localhost");
    if (rc == 0)
        rc = http_write_header_str(out, "X-Access-Token", g->token);
    if (rc == 0 && head->content_type)
        rc = http_write_header_str(out, "Content-Type", head->content_type);
    if (rc == 0 && head->body == HTTP_BODY_LENGTH)
        rc = http_write_header_u64(out, "Content-Length", head->length);
    if (rc == 0 && head->body == HTTP_BODY_CHUNKED)
        rc = http_write_header_str(out, "Transfer-Encoding", "chunked");
    return rc ? rc : http_write_end(out);
}

int session_guest_append_file(struct adit_buf *out, struct adit_view path)
{
    int rc = adit_buf_append_str(out, "/files?path=");
    return rc ? rc : session_request_append_escaped(out, path);
}
