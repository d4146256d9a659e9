/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is said to a proxy before the bytes of a connection go through it: SOCKS5 (RFC 1928, 1929)
 * or HTTP CONNECT (RFC 9110 9.3.6). No I/O.
 */
#ifndef BROKER_EGRESS_EGRESS_PROXY_TALK_H
#define BROKER_EGRESS_EGRESS_PROXY_TALK_H

#include <jansson.h>

#include "base/buf.h"
#include "net/http_guard.h"
#include "net/ip_block.h"
#include "rpc/control.h"

/* Of the user name and of the password: what SOCKS5 has room for. */
#define EGRESS_PROXY_CREDENTIAL_MAX 255
/* Of a head that answers CONNECT. */
#define EGRESS_PROXY_ANSWER_MAX (16u * 1024)

enum egress_proxy_kind { EGRESS_PROXY_SOCKS5, EGRESS_PROXY_CONNECT };

/* @host: a name or the text of an address. No @username: no credentials. */
struct egress_proxy {
    enum egress_proxy_kind kind;
    char host[CONTROL_NAME_MAX + 1];
    uint16_t port;
    char username[EGRESS_PROXY_CREDENTIAL_MAX + 1], password[EGRESS_PROXY_CREDENTIAL_MAX + 1];
};

/* "host:port" or "socks5://host:port" is a SOCKS5 proxy, "http://host:port" one for CONNECT.
 * Errors: BAD_INPUT. */
ADIT_MUST_CHECK int egress_proxy_parse_address(struct adit_view address, struct egress_proxy *out);
/* The egressProxy member of a sandbox's network options. Errors: BAD_INPUT. */
ADIT_MUST_CHECK int egress_proxy_parse(const json_t *member, struct egress_proxy *out,
                                       struct adit_err *err);

enum egress_proxy_state {
    EGRESS_PROXY_METHOD,
    EGRESS_PROXY_LOGIN,
    EGRESS_PROXY_REPLY,
    EGRESS_PROXY_HEAD,
    EGRESS_PROXY_OVER,
};

/* One connection's talk; embedded. @reason: once a function failed, what the guest is told. */
struct egress_proxy_talk {
    const struct egress_proxy *proxy; /* borrowed */
    struct ip_addr addr;
    uint16_t port;
    enum egress_proxy_state state;
    Control__Reason reason;
    struct adit_buf in;
    struct http_guard guard;
};

/* To be connected: @addr and @port. Appends to @out what is sent first. Errors: NO_MEMORY. */
ADIT_MUST_CHECK int egress_proxy_talk_begin(struct egress_proxy_talk *t,
                                            const struct egress_proxy *proxy,
                                            const struct ip_addr *addr, uint16_t port,
                                            struct adit_buf *out);
void egress_proxy_talk_fini(struct egress_proxy_talk *t);
/*
 * Take bytes of the proxy from the front of @in, append to @out what answers them. *is_over: it is
 * connected; what is left of @in comes from the other end. Errors: PROTOCOL, DENIED (credentials),
 * UNAVAILABLE (it could or would not connect), NO_MEMORY; @t->reason is set.
 */
ADIT_MUST_CHECK int egress_proxy_talk_feed(struct egress_proxy_talk *t, struct adit_view *in,
                                           struct adit_buf *out, bool *is_over,
                                           struct adit_err *err);

#endif
