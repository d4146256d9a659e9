/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests on their way out; the first byte chooses how hosts are judged, and what the other end
 * replies to a WebSocket. Oracles: the cut does not matter; what is sent are requests for hosts
 * that are allowed, each with the rule's header and without the guest's own, or without a rule as
 * it is judged; there is no more of it than came in and the rules add.
 */
#include "oracle.h"

#include "broker/egress/egress_inject.h"
#include "broker/egress/egress_peek.h"

#define RULES "{\"rules\":{\"*\":[{\"transform\":{\"headers\":{\"X-Key\":\"s3cret\"}}}]}}"

static struct egress_rules *rules;

static bool is_allowed(struct adit_view name)
{
    return adit_view_ieq_str(name, "a.example");
}

/* @owner: the choice; 1: only that host, 4: no host is where its name leads. */
static enum egress_inject_verdict judge(void *owner, struct adit_view name)
{
    const uint8_t *choice = owner;
    if ((*choice & 1) && !is_allowed(name))
        return EGRESS_INJECT_REFUSE;
    return *choice & 4 ? EGRESS_INJECT_PASS : EGRESS_INJECT_SET;
}

static void reply(struct egress_inject *x, bool is_taken)
{
    struct adit_view yes = ADIT_VIEW("HTTP/1.1 101 Yes\r\n\r\n");
    struct adit_view no = ADIT_VIEW("HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n");
    egress_inject_see_reply(x, is_taken ? yes : no);
    ORACLE(!egress_inject_is_waiting(x) && egress_inject_is_raw(x) == is_taken);
}

/* *raw_at: where what is sent leaves HTTP. */
static int run(uint8_t choice, struct adit_view in, size_t step, struct adit_buf *all,
               size_t *raw_at)
{
    struct egress_inject *x = egress_inject_new(rules, judge, &choice);
    struct adit_buf out;
    int rc = ADIT_OK;
    ORACLE(x);
    adit_buf_init(&out, EGRESS_INJECT_OUT_MAX);
    *raw_at = SIZE_MAX;
    while (rc == ADIT_OK && in.len > 0) {
        struct adit_view piece = {in.ptr, step < in.len ? step : in.len};
        size_t given = piece.len;
        rc = egress_inject_feed(x, &piece, &out, NULL);
        ORACLE(rc != ADIT_ERR_NO_MEMORY);
        in = adit_view_mem(in.ptr + (given - piece.len), in.len - (given - piece.len));
        ORACLE(adit_buf_append_view(all, adit_buf_view(&out)) == ADIT_OK);
        adit_buf_clear(&out);
        if (!egress_inject_is_waiting(x))
            continue;
        reply(x, choice & 2);
        if (choice & 2)
            *raw_at = all->len;
    }
    adit_buf_fini(&out);
    egress_inject_free(x);
    return rc;
}

static void check_head(const struct http_head *h, uint8_t choice)
{
    struct adit_view name;
    enum egress_peek_result host = egress_peek_host(h, &name);
    ORACLE(host != EGRESS_PEEK_BROKEN);
    ORACLE(!(choice & 1) || (host == EGRESS_PEEK_NAMED && is_allowed(name)));
    if (host == EGRESS_PEEK_NAMED && !(choice & 4))
        ORACLE(http_head_count(h, "x-key") == 1 &&
               adit_view_eq_str(http_head_get(h, "x-key"), "s3cret"));
}

static void check_sent(struct adit_view sent, uint8_t choice)
{
    static struct http_head head;
    struct http_parser *p = http_parser_new(HTTP_REQUEST);
    struct adit_view body;
    enum http_event event = HTTP_EV_HEAD;
    size_t cnt = 0;
    ORACLE(p);
    while (event != HTTP_EV_MORE) {
        int rc = http_parser_next(p, &sent, &head, &body, &event, NULL);
        ORACLE(rc == ADIT_OK || (rc == ADIT_ERR_LIMIT && cnt > 0));
        if (rc != ADIT_OK)
            break;
        if (event != HTTP_EV_HEAD)
            continue;
        check_head(&head, choice);
        cnt++;
    }
    http_parser_free(p);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const size_t steps[] = {1, 11, 1000};
    struct adit_buf whole, cut;
    size_t raw_at, cut_raw_at;
    if (!rules) {
        json_t *doc = json_loads(RULES, 0, NULL);
        ORACLE(egress_rules_compile(doc, &rules, NULL) == ADIT_OK);
        json_decref(doc);
    }
    if (size < 1)
        return 0;
    struct adit_view in = adit_view_mem(data + 1, size - 1);
    adit_buf_init(&whole, SIZE_MAX / 2);
    int rc = run(data[0], in, SIZE_MAX, &whole, &raw_at);
    struct adit_view sent = adit_buf_view(&whole);
    sent.len = raw_at < sent.len ? raw_at : sent.len;
    check_sent(sent, data[0]);
    for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
        adit_buf_init(&cut, SIZE_MAX / 2);
        ORACLE(run(data[0], in, steps[i], &cut, &cut_raw_at) == rc && cut_raw_at == raw_at);
        adit_buf_fini(&cut);
    }
    adit_buf_fini(&whole);
    return 0;
}
