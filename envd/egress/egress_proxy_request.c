/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests to the proxies.
 *
 * Theory of operation
 *
 * States:
 *
 *   UNKNOWN --5--> SOCKS, greeting --> SOCKS, request --> CONNECT
 *      \--"CONNECT "--> TUNNEL --head--> CONNECT
 *       \--anything else--> FORWARD: an HTTP server's business, and it refuses what is no HTTP
 *
 * What:   of the head of CONNECT only the target counts. Nothing of it goes any further, so its
 * fields are checked raw by http_guard and dropped.
 * Limits: http_guard's for a head, 262 bytes for SOCKS5 by its own lengths.
 * Trust:  clients are programs of the sandbox, and hostile. A target is a name as the control
 * channel knows it, or an address; what it may be is the host's business.
 */
#include "envd/egress/egress_proxy_request.h"

#include <arpa/inet.h>

#include "net/url.h"

static const struct adit_view connect_word = ADIT_VIEW("CONNECT ");

void egress_proxy_request_init(struct egress_proxy_request *r)
{
    *r = (struct egress_proxy_request){.protocol = EGRESS_PROXY_UNKNOWN};
    http_guard_init(&r->guard);
    adit_buf_init(&r->gathered, EGRESS_PROXY_GATHERED_MAX);
}

void egress_proxy_request_fini(struct egress_proxy_request *r)
{
    adit_buf_fini(&r->gathered);
}

int egress_proxy_request_feed(struct egress_proxy_request *r, struct adit_view bytes)
{
    return adit_buf_append_view(&r->gathered, bytes);
}

static enum egress_proxy_step refuse(struct egress_proxy_request *r, enum egress_proxy_outcome why)
{
    r->refusal = why;
    return EGRESS_PROXY_REFUSE;
}

/* ---- where to ---- */

/* @name: an address as text, or a name with or without the dot of the root. */
static bool set_host(struct egress_proxy_target *t, struct adit_view name)
{
    if (name.len > 1 && name.ptr[name.len - 1] == '.')
        name.len--;
    if (name.len >= sizeof t->host || !control_is_name(name))
        return false;
    memcpy(t->host, name.ptr, name.len);
    t->host[name.len] = '\0';
    return true;
}

/* ---- SOCKS5 ---- */

enum { SOCKS_VERSION = 5, SOCKS_CONNECT = 1, SOCKS_NO_AUTH = 0 };
enum { SOCKS_IPV4 = 1, SOCKS_NAME = 3, SOCKS_IPV6 = 4 };
/* Version, command, a spare byte, type of address; the port behind the address. */
#define SOCKS_HEAD_LEN 4
#define SOCKS_PORT_LEN 2

static enum egress_proxy_step read_greeting(struct egress_proxy_request *r, struct adit_view in)
{
    size_t method_cnt = in.len > 1 ? (uint8_t)in.ptr[1] : 0;
    if (in.len < 2 || in.len < 2 + method_cnt)
        return EGRESS_PROXY_MORE;
    if (!memchr(in.ptr + 2, SOCKS_NO_AUTH, method_cnt))
        return refuse(r, EGRESS_PROXY_NO_METHOD);
    adit_buf_consume(&r->gathered, 2 + method_cnt);
    r->is_greeted = true;
    return EGRESS_PROXY_GREETED;
}

/* Bytes of the address, with a name's own length before it; 0: more are needed to tell. */
static size_t address_len(struct adit_view in)
{
    switch (in.ptr[3]) {
    case SOCKS_IPV4:
        return sizeof(struct in_addr);
    case SOCKS_IPV6:
        return sizeof(struct in6_addr);
    default:
        return in.len > SOCKS_HEAD_LEN ? 1 + (size_t)(uint8_t)in.ptr[SOCKS_HEAD_LEN] : 0;
    }
}

static bool set_address(struct egress_proxy_target *t, char type, const char *bytes, size_t len)
{
    if (type == SOCKS_NAME)
        return set_host(t, adit_view_mem(bytes + 1, len - 1));
    return inet_ntop(type == SOCKS_IPV4 ? AF_INET : AF_INET6, bytes, t->host, sizeof t->host);
}

static enum egress_proxy_step read_socks(struct egress_proxy_request *r, struct adit_view in)
{
    if (in.len < SOCKS_HEAD_LEN)
        return EGRESS_PROXY_MORE;
    char type = in.ptr[3];
    if (in.ptr[0] != SOCKS_VERSION)
        return refuse(r, EGRESS_PROXY_MALFORMED);
    if (in.ptr[1] != SOCKS_CONNECT)
        return refuse(r, EGRESS_PROXY_NO_COMMAND);
    if (type != SOCKS_IPV4 && type != SOCKS_NAME && type != SOCKS_IPV6)
        return refuse(r, EGRESS_PROXY_NO_ADDRESS);
    size_t len = address_len(in);
    if (len == 0 || in.len < SOCKS_HEAD_LEN + len + SOCKS_PORT_LEN)
        return EGRESS_PROXY_MORE;
    const uint8_t *port = (const uint8_t *)in.ptr + SOCKS_HEAD_LEN + len;
    r->target.port = (uint16_t)(port[0] << 8 | port[1]);
    bool is_fine = set_address(&r->target, type, in.ptr + SOCKS_HEAD_LEN, len);
    adit_buf_consume(&r->gathered, SOCKS_HEAD_LEN + len + SOCKS_PORT_LEN);
    return is_fine && r->target.port > 0 ? EGRESS_PROXY_CONNECT : refuse(r, EGRESS_PROXY_MALFORMED);
}

/* ---- CONNECT ---- */

/* "host:port" (RFC 9112 3.2.3); without a port there is no telling what for. */
static bool set_authority(struct egress_proxy_target *t, struct adit_view authority)
{
    struct adit_view name;
    return url_split_host(authority, &name, &t->port) == ADIT_OK && t->port > 0 &&
           set_host(t, name);
}

static enum egress_proxy_step read_tunnel(struct egress_proxy_request *r, struct adit_view in)
{
    struct adit_err err = ADIT_ERR_INIT;
    struct adit_view word, rest, authority;
    size_t head_len = 0;
    int rc = http_guard_feed(&r->guard, HTTP_REQUEST, in, &head_len, &err);
    if (rc != ADIT_OK)
        return refuse(r, rc == ADIT_ERR_LIMIT ? EGRESS_PROXY_TOO_LONG : EGRESS_PROXY_MALFORMED);
    if (head_len == 0)
        return EGRESS_PROXY_MORE;
    bool is_fine = adit_view_split(in, ' ', &word, &rest) &&
                   adit_view_split(rest, ' ', &authority, &rest) &&
                   set_authority(&r->target, authority);
    adit_buf_consume(&r->gathered, head_len);
    return is_fine ? EGRESS_PROXY_CONNECT : refuse(r, EGRESS_PROXY_MALFORMED);
}

/* ---- all of them ---- */

static enum egress_proxy_protocol protocol_of(struct adit_view in)
{
    size_t len = in.len < connect_word.len ? in.len : connect_word.len;
    if (in.len > 0 && in.ptr[0] == SOCKS_VERSION)
        return EGRESS_PROXY_SOCKS;
    if (len > 0 && memcmp(in.ptr, connect_word.ptr, len) != 0)
        return EGRESS_PROXY_FORWARD;
    return len == connect_word.len ? EGRESS_PROXY_TUNNEL : EGRESS_PROXY_UNKNOWN;
}

enum egress_proxy_step egress_proxy_request_next(struct egress_proxy_request *r)
{
    struct adit_view in = adit_buf_view(&r->gathered);
    if (r->protocol == EGRESS_PROXY_UNKNOWN)
        r->protocol = protocol_of(in);
    switch (r->protocol) {
    case EGRESS_PROXY_SOCKS:
        return r->is_greeted ? read_socks(r, in) : read_greeting(r, in);
    case EGRESS_PROXY_TUNNEL:
        return read_tunnel(r, in);
    case EGRESS_PROXY_FORWARD:
        return EGRESS_PROXY_SERVE;
    default:
        return EGRESS_PROXY_MORE;
    }
}
