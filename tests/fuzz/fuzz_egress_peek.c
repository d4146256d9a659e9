/* SPDX-License-Identifier: Apache-2.0 */
/*
 * First bytes of connections. Oracles: the cut does not matter; what is decided stays decided when
 * more comes; a name is one that the rules can be compared with.
 */
#include "oracle.h"

#include "broker/egress/egress_peek.h"
#include "broker/egress/egress_reply.h"

static enum egress_peek_result run(struct egress_peek *p, struct adit_view all, size_t step)
{
    enum egress_peek_result result = EGRESS_PEEK_MORE;
    egress_peek_init(p);
    for (size_t n = 0; n < all.len && result == EGRESS_PEEK_MORE;) {
        n = all.len - n < step ? all.len : n + step;
        result = egress_peek_feed(p, adit_view_mem(all.ptr, n));
    }
    return result;
}

static void check_name(const struct egress_peek *p)
{
    struct adit_view name = egress_peek_name(p);
    ORACLE(p->kind == EGRESS_PEEK_TLS || p->kind == EGRESS_PEEK_HTTP);
    ORACLE(egress_reply_is_name(name));
    for (size_t i = 0; i < name.len; i++)
        ORACLE(name.ptr[i] < 'A' || name.ptr[i] > 'Z');
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct egress_peek whole, cut;
    struct adit_view all = adit_view_mem(data, size);
    static const size_t steps[] = {1, 3, 1000};
    enum egress_peek_result result = run(&whole, all, SIZE_MAX);
    for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
        ORACLE(run(&cut, all, steps[i]) == result && cut.kind == whole.kind);
        ORACLE(adit_view_eq(egress_peek_name(&cut), egress_peek_name(&whole)));
    }
    ORACLE(size < EGRESS_PEEK_MAX || result != EGRESS_PEEK_MORE);
    if (result == EGRESS_PEEK_NAMED)
        check_name(&whole);
    else
        ORACLE(whole.name_len == 0);
    if (result != EGRESS_PEEK_MORE)
        ORACLE(egress_peek_feed(&whole, adit_view_mem("", 0)) == result);
    return 0;
}
