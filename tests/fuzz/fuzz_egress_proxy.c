/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a proxy answers; the first byte chooses which kind it is and whether there are credentials.
 * Oracles: the cut does not matter, neither for what is said back nor for where the connection's
 * own bytes begin; a failure has a reason that the guest can be told.
 */
#include "oracle.h"

#include "broker/egress/egress_proxy_talk.h"

#define OUT_MAX 2048u

struct outcome {
    int rc;
    bool is_over;
    Control__Reason reason;
    size_t rest;
    struct adit_buf out;
};

static void run(struct outcome *o, const struct egress_proxy *proxy, struct adit_view in,
                size_t step)
{
    struct egress_proxy_talk t;
    struct ip_addr addr = {{0x20, 0x01}};
    o->is_over = false;
    adit_buf_init(&o->out, OUT_MAX);
    o->rc = egress_proxy_talk_begin(&t, proxy, &addr, 443, &o->out);
    while (o->rc == ADIT_OK && !o->is_over && in.len > 0) {
        struct adit_view piece = {in.ptr, step < in.len ? step : in.len};
        size_t given = piece.len;
        o->rc = egress_proxy_talk_feed(&t, &piece, &o->out, &o->is_over, NULL);
        ORACLE(o->rc != ADIT_OK || o->is_over || piece.len == 0);
        in = adit_view_mem(in.ptr + (given - piece.len), in.len - (given - piece.len));
    }
    o->rest = o->is_over ? in.len : 0;
    o->reason = t.reason;
    ORACLE(o->rc != ADIT_ERR_LIMIT);
    ORACLE(o->rc == ADIT_OK || (o->reason >= CONTROL__REASON__REASON_REFUSED &&
                                o->reason <= CONTROL__REASON__REASON_BUSY));
    egress_proxy_talk_fini(&t);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const size_t steps[] = {1, 7, 1000};
    struct egress_proxy proxy = {.host = "proxy.example", .port = 1080};
    struct outcome whole, cut;
    if (size < 1)
        return 0;
    struct adit_view in = adit_view_mem(data + 1, size - 1);
    proxy.kind = data[0] & 1 ? EGRESS_PROXY_CONNECT : EGRESS_PROXY_SOCKS5;
    if (data[0] & 2)
        memcpy(proxy.username, "user", 5);
    run(&whole, &proxy, in, SIZE_MAX);
    for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
        run(&cut, &proxy, in, steps[i]);
        ORACLE(cut.rc == whole.rc && cut.is_over == whole.is_over && cut.rest == whole.rest);
        ORACLE(cut.reason == whole.reason || in.len == 0);
        ORACLE(adit_view_eq(adit_buf_view(&cut.out), adit_buf_view(&whole.out)));
        adit_buf_fini(&cut.out);
    }
    adit_buf_fini(&whole.out);
    return 0;
}
