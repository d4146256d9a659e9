/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Waking a guest up.
 *
 * Theory of operation
 *
 * States: HEALTH ── 204 ──> INIT ── 204 ──> done, or only the second. A call that fails (nobody
 * accepts yet, reset, a 503) is made again on a new connection after GUEST_RETRY_MS; any other
 * answer, and the deadline, end it. The time of day that /init brings is that of its call, as a
 * kernel may have taken long to boot. Ownership: a guest frees itself after its callback or a
 * cancel, when its timer's handle is closed. Trust: envd's answers come from the sandbox; status
 * codes are all that is read of them.
 */
#include "broker/node/guest.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/encode.h"
#include "base/rand.h"
#include "broker/jtext.h"
#include "broker/tokens.h"
#include "net/http_write.h"

#define BODY_STEP (64u * 1024)
#define ENTROPY_BYTES 64

enum guest_phase { PHASE_INIT, PHASE_HEALTH, PHASE_OVER };

/*
 * @call:   the running call, or NULL
 * @retry:  short, so a timer of its own; its close callback frees the guest
 */
struct guest {
    enum guest_phase phase;
    struct net_loop *loop; /* borrowed */
    struct http_pool *pool;
    bool is_pool_own;
    struct http_call *call;
    json_t *document; /* of /init, but for the time */
    struct adit_buf body;
    char token_before[TOKENS_CAP];
    size_t sent; /* of the body, in this call */
    uv_timer_t retry;
    struct net_deadline deadline;
    struct adit_err last;
    guest_fn on_done;
    void *user;
};

static void begin_call(struct guest *g);

static void on_retry_closed(uv_handle_t *h)
{
    free(h->data);
}

/* The one way out. */
static void close_guest(struct guest *g)
{
    g->phase = PHASE_OVER;
    if (g->call)
        http_call_cancel(g->call);
    net_deadline_cancel(&g->deadline);
    if (g->is_pool_own)
        http_pool_close(g->pool);
    json_decref(g->document);
    adit_buf_fini(&g->body);
    uv_close((uv_handle_t *)&g->retry, on_retry_closed);
}

static void finish(struct guest *g, const struct adit_err *err)
{
    guest_fn on_done = g->on_done;
    void *user = g->user;
    close_guest(g);
    on_done(user, err);
}

static void on_deadline(struct net_deadline *d)
{
    struct guest *g = ADIT_CONTAINER_OF(d, struct guest, deadline);
    struct adit_err err = ADIT_ERR_INIT;
    (void)adit_err_set(&err, ADIT_ERR_TIMEOUT, "envd did not become ready: %s",
                       g->last.code ? g->last.msg : "no answer");
    finish(g, &err);
}

static void on_retry(uv_timer_t *t)
{
    begin_call(t->data);
}

static void retry_later(struct guest *g, const struct adit_err *why)
{
    g->last = *why;
    uv_timer_start(&g->retry, on_retry, GUEST_RETRY_MS, 0);
}

/* What a refusal says is the sandbox's own text, of any length: its head is all that is taken. */
static void refused(struct guest *g, unsigned status)
{
    struct adit_err err = ADIT_ERR_INIT;
    http_call_cancel(adit_steal(&g->call));
    (void)adit_err_set(&err, ADIT_ERR_UNAVAILABLE, "envd answered %s with status %u",
                       g->phase == PHASE_INIT ? "/init" : "/health", status);
    if (status == 503)
        retry_later(g, &err);
    else
        finish(g, &err);
}

static void on_head(struct http_call *c, const struct http_head *head)
{
    if (head->status != 204)
        refused(http_call_user(c), head->status);
}

static void on_end(struct http_call *c)
{
    struct guest *g = http_call_user(c);
    g->call = NULL;
    if (g->phase == PHASE_INIT) {
        finish(g, NULL);
        return;
    }
    g->phase = PHASE_INIT;
    begin_call(g);
}

/* Send what the connection takes; on_drain goes on. A failed write is told by on_fail. */
static void send_body(struct guest *g)
{
    while (g->call && g->sent < g->body.len && !http_call_is_congested(g->call)) {
        struct adit_view rest = adit_buf_view(&g->body);
        size_t step = rest.len - g->sent < BODY_STEP ? rest.len - g->sent : BODY_STEP;
        struct adit_view piece = {rest.ptr + g->sent, step};
        g->sent += step;
        if (http_call_write_body(g->call, piece))
            return;
    }
    if (g->call && g->sent == g->body.len)
        http_call_end_body(g->call);
}

static void on_drain(struct http_call *c)
{
    struct guest *g = http_call_user(c);
    if (g->phase == PHASE_INIT && g->sent < g->body.len)
        send_body(g);
}

static void on_fail(struct http_call *c, const struct adit_err *err)
{
    struct guest *g = http_call_user(c);
    g->call = NULL;
    retry_later(g, err);
}

static const struct http_call_ops call_ops = {
    .on_head = on_head, .on_end = on_end, .on_drain = on_drain, .on_fail = on_fail};

/* The document as of now. */
static int write_body(struct guest *g)
{
    char now[ADIT_CLOCK_RFC3339_CAP];
    adit_clock_format_rfc3339(adit_clock_wall_ns(), now);
    adit_buf_clear(&g->body);
    if (json_object_set_new(g->document, "timestamp", json_string(now)))
        return ADIT_ERR_NO_MEMORY;
    return jtext_append(&g->body, g->document);
}

static int write_head(const struct guest *g, struct adit_buf *head)
{
    bool is_init = g->phase == PHASE_INIT;
    int rc;
    if ((rc = http_write_request_line(head, adit_view_str(is_init ? "POST" : "GET"),
                                      adit_view_str(is_init ? "/init" : "/health"))) ||
        (rc = http_write_header_str(head, "Host", "localhost")))
        return rc;
    if (is_init && ((rc = http_write_header_str(head, "Content-Type", "application/json")) ||
                    (rc = http_write_header_u64(head, "Content-Length", g->body.len))))
        return rc;
    if (is_init && g->token_before[0] &&
        (rc = http_write_header_str(head, "X-Access-Token", g->token_before)))
        return rc;
    return http_write_end(head);
}

static int start_call(struct guest *g, struct adit_err *err)
{
    bool is_init = g->phase == PHASE_INIT;
    struct adit_buf head;
    adit_buf_init(&head, HTTP_HEAD_CAP);
    int rc = is_init ? write_body(g) : 0;
    if (rc == 0)
        rc = write_head(g, &head);
    if (rc == 0)
        rc = http_call_start(g->pool, is_init ? HTTP_POST : HTTP_GET, false, adit_buf_view(&head),
                             is_init ? HTTP_BODY_LENGTH : HTTP_BODY_NONE, &call_ops, g, &g->call,
                             err);
    else
        adit_err_set(err, rc, "write the request");
    adit_buf_fini(&head);
    g->sent = 0;
    if (rc == 0 && is_init)
        send_body(g);
    return rc;
}

static void begin_call(struct guest *g)
{
    struct adit_err err = ADIT_ERR_INIT;
    g->call = NULL;
    if (start_call(g, &err))
        retry_later(g, &err);
}

/* Its name, and what nobody else's kernel knows. Return: not 0 without memory. */
static int add_machine(json_t *doc, const char *hostname)
{
    uint8_t bytes[ENTROPY_BYTES];
    struct adit_buf text;
    adit_rand_bytes(bytes, sizeof(bytes));
    adit_buf_init(&text, 2 * sizeof(bytes));
    int bad = adit_base64_append(&text, bytes, sizeof(bytes));
    if (!bad)
        bad =
            json_object_set_new(doc, "entropy", json_stringn(adit_buf_view(&text).ptr, text.len)) ||
            json_object_set_new(doc, "hostname", json_string(hostname));
    adit_buf_fini(&text);
    return bad;
}

static json_t *init_document(const struct guest_conf *conf)
{
    json_t *doc = json_pack("{s:s, s:s, s:s, s:s}", "defaultUser", conf->default_user,
                            "defaultWorkdir", conf->default_workdir, "sandboxID", conf->sandbox_id,
                            "templateID", conf->template_id);
    int bad = !doc;
    if (doc && conf->has_own_kernel)
        bad |= add_machine(doc, conf->sandbox_id);
    if (doc && conf->token[0])
        bad |= json_object_set_new(doc, "accessToken", json_string(conf->token));
    if (doc && conf->env_vars)
        bad |= json_object_set_new(doc, "envVars", json_deep_copy(conf->env_vars));
    if (doc && conf->ca_bundle)
        bad |= json_object_set_new(doc, "caBundle", json_string(conf->ca_bundle));
    if (!bad)
        return doc;
    json_decref(doc);
    return NULL;
}

/* That it fits is known now, and not only when the guest is there. */
static int take_document(struct guest *g, const struct guest_conf *conf, struct adit_err *err)
{
    g->document = init_document(conf);
    int rc = g->document ? write_body(g) : ADIT_ERR_NO_MEMORY;
    return rc ? adit_err_set(err, rc, "write the body of /init") : 0;
}

int guest_channel_new(struct net_loop *loop, const struct http_target *target, uint64_t idle_ms,
                      struct http_pool **out, struct adit_err *err)
{
    struct http_pool_conf conf = {
        .target = *target, .dial_ms = GUEST_DIAL_MS, .idle_ms = idle_ms, .idle_max = 1};
    conf.target.port = CHANNEL_PORT_ENVD;
    conf.target.tcp_port = 0;
    return http_pool_new(loop, &conf, out, err);
}

static int open_pool(struct guest *g, const struct guest_conf *conf, struct adit_err *err)
{
    g->pool = conf->channel;
    g->is_pool_own = !conf->channel;
    return conf->channel
               ? 0
               : guest_channel_new(conf->loop, &conf->target, GUEST_DIAL_MS, &g->pool, err);
}

int guest_start(const struct guest_conf *conf, guest_fn on_done, void *user, struct guest **out,
                struct adit_err *err)
{
    struct guest *g = calloc(1, sizeof(*g));
    if (!g)
        return adit_err_set(err, ADIT_ERR_NO_MEMORY, "no memory");
    adit_buf_init(&g->body, GUEST_BODY_CAP);
    int rc = take_document(g, conf, err);
    if (rc == 0)
        rc = open_pool(g, conf, err);
    if (rc) {
        json_decref(g->document);
        adit_buf_fini(&g->body);
        free(g);
        return rc;
    }
    if (conf->token_before)
        (void)snprintf(g->token_before, sizeof(g->token_before), "%s", conf->token_before);
    g->loop = conf->loop;
    g->phase = conf->talk == GUEST_INIT ? PHASE_INIT : PHASE_HEALTH;
    g->on_done = on_done;
    g->user = user;
    uv_timer_init(conf->loop->uv, &g->retry);
    g->retry.data = g;
    net_deadline_init(&g->deadline, conf->loop, on_deadline);
    net_deadline_arm(&g->deadline, conf->deadline_ms);
    begin_call(g);
    *out = g;
    return 0;
}

void guest_cancel(struct guest *g)
{
    close_guest(g);
}
