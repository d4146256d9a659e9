/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The name in the first bytes of a connection: SNI of a TLS ClientHello, Host of an HTTP/1 request.
 * No I/O, no clock; allocates only while it parses a whole HTTP head.
 */
#ifndef BROKER_EGRESS_EGRESS_PEEK_H
#define BROKER_EGRESS_EGRESS_PEEK_H

#include "net/http_guard.h"
#include "rpc/control.h"

/* Within so many bytes it is all said, or it is broken. */
#define EGRESS_PEEK_MAX (16u * 1024)

enum egress_peek_result {
    EGRESS_PEEK_MORE, /* not said yet */
    EGRESS_PEEK_NAMED,
    EGRESS_PEEK_NAMELESS, /* it names no host, or is neither TLS nor HTTP/1 */
    EGRESS_PEEK_BROKEN,   /* begins as one of them and breaks its rules: two readers may differ */
};

enum egress_peek_kind {
    EGRESS_PEEK_UNKNOWN,
    EGRESS_PEEK_TLS,
    EGRESS_PEEK_HTTP,
    EGRESS_PEEK_HTTP2, /* with prior knowledge, in the clear */
    EGRESS_PEEK_OTHER,
};

/*
 * Embedded by the connection.
 *
 * @name:      lower case, without a dot at the end
 * @record_at: TLS: the record that is not whole yet
 * @hello_len: TLS: bytes of the handshake message in the records before it
 */
struct egress_peek {
    enum egress_peek_result result;
    enum egress_peek_kind kind;
    char name[CONTROL_NAME_MAX + 1];
    size_t name_len;
    size_t record_at, hello_len;
    struct http_guard guard;
};

void egress_peek_init(struct egress_peek *p);
/* @gathered: all that came since the connection began (what was given before, and more). The result
 * is final once it is not EGRESS_PEEK_MORE. */
enum egress_peek_result egress_peek_feed(struct egress_peek *p, struct adit_view gathered);
static inline struct adit_view egress_peek_name(const struct egress_peek *p)
{
    return adit_view_mem(p->name, p->name_len);
}

/*
 * The host that a request is for, of its target in absolute form or its Host; where both are there
 * they have to agree. *name points into @h. An IP address is no name. Never EGRESS_PEEK_MORE.
 */
enum egress_peek_result egress_peek_host(const struct http_head *h, struct adit_view *name);

#endif
