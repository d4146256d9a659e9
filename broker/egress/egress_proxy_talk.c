/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is said to a proxy.
 *
 * Theory of operation
 *
 *   METHOD ──"credentials"──> LOGIN ──> REPLY ──> OVER          SOCKS5
 *      └──────"none"──────────────────────^
 *   HEAD ──2xx──> OVER                                          CONNECT; HEAD again after a 1xx
 *
 * What: each SOCKS5 answer says how long it is, and exactly that is taken. The head that answers
 * CONNECT is checked by http_guard; of it the status counts, no length field does (RFC 9110 9.3.6).
 * What is asked for is an address, the one that was judged, never a name.
 * Limits: EGRESS_PROXY_ANSWER_MAX.
 * Trust: a proxy is the sandbox's owner's; its bytes are hostile. What it says is told to the guest
 * as one of control.proto's reasons; a proxy that is of no use is a network that is not reached.
 */
#include "broker/egress/egress_proxy_talk.h"

#include "base/encode.h"
#include "net/http_write.h"
#include "net/url.h"

#include <stdio.h>

#include <arpa/inet.h>

#define SOCKS_VERSION 5
#define SOCKS_CONNECT 1
#define SOCKS_IPV4 1
#define SOCKS_NAME 3
#define SOCKS_IPV6 4
#define SOCKS_METHOD_NONE 0
#define SOCKS_METHOD_PASSWORD 2
#define LOGIN_VERSION 1
#define METHOD_LEN 2u
#define LOGIN_LEN 2u
/* Version, code, reserved, type of the address, and a byte of it: a name's length. */
#define REPLY_HEAD_LEN 5u
/* "HTTP/1.1 200": what http_guard vouches for. */
#define STATUS_AT 9
/* "[" address "]:" port. */
#define AUTHORITY_CAP (INET6_ADDRSTRLEN + 10)

/* ---- configuration ---- */

static bool cut_prefix(struct adit_view *v, const char *prefix)
{
    if (!adit_view_has_prefix(*v, prefix))
        return false;
    size_t len = strlen(prefix);
    *v = adit_view_mem(v->ptr + len, v->len - len);
    return true;
}

int egress_proxy_parse_address(struct adit_view address, struct egress_proxy *out)
{
    struct adit_view name;
    out->kind = cut_prefix(&address, "http://") ? EGRESS_PROXY_CONNECT : EGRESS_PROXY_SOCKS5;
    if (out->kind == EGRESS_PROXY_SOCKS5)
        (void)cut_prefix(&address, "socks5://"); /* may be left out */
    if (url_split_host(address, &name, &out->port) != ADIT_OK || out->port == 0 ||
        name.len > CONTROL_NAME_MAX)
        return ADIT_ERR_BAD_INPUT;
    memcpy(out->host, name.ptr, name.len);
    out->host[name.len] = '\0';
    return ADIT_OK;
}

static bool copy_credential(const json_t *v, char out[EGRESS_PROXY_CREDENTIAL_MAX + 1])
{
    const char *text = v && !json_is_null(v) ? json_string_value(v) : "";
    size_t len = text ? strlen(text) : 0;
    if (!text || len > EGRESS_PROXY_CREDENTIAL_MAX || !http_guard_is_value(adit_view_str(text)))
        return false;
    memcpy(out, text, len + 1);
    return true;
}

int egress_proxy_parse(const json_t *member, struct egress_proxy *out, struct adit_err *err)
{
    const char *address = json_string_value(json_object_get(member, "address"));
    memset(out, 0, sizeof(*out));
    if (!address || egress_proxy_parse_address(adit_view_str(address), out) != ADIT_OK)
        return adit_err_set(err, ADIT_ERR_BAD_INPUT, "egressProxy: not the address of a proxy");
    if (!copy_credential(json_object_get(member, "username"), out->username) ||
        !copy_credential(json_object_get(member, "password"), out->password))
        return adit_err_set(err, ADIT_ERR_BAD_INPUT, "egressProxy: not a user name or password");
    return ADIT_OK;
}

/* ---- what we say ---- */

static int say_methods(const struct egress_proxy_talk *t, struct adit_buf *out)
{
    static const char alone[] = {SOCKS_VERSION, 1, SOCKS_METHOD_NONE};
    static const char both[] = {SOCKS_VERSION, 2, SOCKS_METHOD_NONE, SOCKS_METHOD_PASSWORD};
    if (t->proxy->username[0])
        return adit_buf_append(out, both, sizeof(both));
    return adit_buf_append(out, alone, sizeof(alone));
}

static int say_login(const struct egress_proxy_talk *t, struct adit_buf *out)
{
    const struct egress_proxy *p = t->proxy;
    char message[3 + 2 * EGRESS_PROXY_CREDENTIAL_MAX + 2];
    int len =
        snprintf(message, sizeof(message), "%c%c%s%c%s", LOGIN_VERSION, (int)strlen(p->username),
                 p->username, (int)strlen(p->password), p->password);
    return adit_buf_append(out, message, (size_t)len);
}

static int say_request(const struct egress_proxy_talk *t, struct adit_buf *out)
{
    bool is_v4 = ip_addr_is_v4(&t->addr);
    char message[4 + sizeof(t->addr.bytes) + 2] = {SOCKS_VERSION, SOCKS_CONNECT, 0,
                                                   is_v4 ? SOCKS_IPV4 : SOCKS_IPV6};
    size_t skip = is_v4 ? 12 : 0, len = sizeof(t->addr.bytes) - skip;
    memcpy(message + 4, t->addr.bytes + skip, len);
    message[4 + len] = (char)(t->port >> 8);
    message[5 + len] = (char)t->port;
    return adit_buf_append(out, message, 6 + len);
}

static void format_authority(const struct egress_proxy_talk *t, char out[AUTHORITY_CAP])
{
    char text[INET6_ADDRSTRLEN];
    bool is_v4 = ip_addr_is_v4(&t->addr);
    (void)inet_ntop(is_v4 ? AF_INET : AF_INET6, t->addr.bytes + (is_v4 ? 12 : 0), text,
                    sizeof(text)); /* both have room */
    (void)snprintf(out, AUTHORITY_CAP, is_v4 ? "%s:%u" : "[%s]:%u", text, t->port);
}

static int say_authorization(const struct egress_proxy_talk *t, struct adit_buf *out)
{
    char pair[2 * EGRESS_PROXY_CREDENTIAL_MAX + 2];
    int len = snprintf(pair, sizeof(pair), "%s:%s", t->proxy->username, t->proxy->password);
    int rc = adit_buf_append_str(out, "Proxy-Authorization: Basic ");
    if (rc == ADIT_OK)
        rc = adit_base64_append(out, pair, (size_t)len);
    return rc == ADIT_OK ? adit_buf_append_str(out, "\r\n") : rc;
}

static int say_connect(const struct egress_proxy_talk *t, struct adit_buf *out)
{
    char authority[AUTHORITY_CAP];
    format_authority(t, authority);
    int rc = http_write_request_line(out, adit_view_str("CONNECT"), adit_view_str(authority));
    if (rc == ADIT_OK)
        rc = http_write_header_str(out, "Host", authority);
    if (rc == ADIT_OK && t->proxy->username[0])
        rc = say_authorization(t, out);
    return rc == ADIT_OK ? http_write_end(out) : rc;
}

int egress_proxy_talk_begin(struct egress_proxy_talk *t, const struct egress_proxy *proxy,
                            const struct ip_addr *addr, uint16_t port, struct adit_buf *out)
{
    memset(t, 0, sizeof(*t));
    t->proxy = proxy;
    t->addr = *addr;
    t->port = port;
    adit_buf_init(&t->in, EGRESS_PROXY_ANSWER_MAX);
    http_guard_init(&t->guard);
    t->state = proxy->kind == EGRESS_PROXY_CONNECT ? EGRESS_PROXY_HEAD : EGRESS_PROXY_METHOD;
    return t->state == EGRESS_PROXY_HEAD ? say_connect(t, out) : say_methods(t, out);
}

void egress_proxy_talk_fini(struct egress_proxy_talk *t)
{
    adit_buf_fini(&t->in);
}

/* ---- what it says ---- */

/* Once a byte came. */
static const unsigned char *gathered(const struct egress_proxy_talk *t)
{
    return (const unsigned char *)t->in.data + t->in.off;
}

static int fail(struct egress_proxy_talk *t, Control__Reason reason, int code, struct adit_err *err,
                const char *message)
{
    t->reason = reason;
    return adit_err_set(err, code, "proxy: %s", message);
}

static int fail_protocol(struct egress_proxy_talk *t, struct adit_err *err)
{
    return fail(t, CONTROL__REASON__REASON_NET_UNREACHABLE, ADIT_ERR_PROTOCOL, err,
                "not an answer of the protocol");
}

static int fail_denied(struct egress_proxy_talk *t, struct adit_err *err)
{
    return fail(t, CONTROL__REASON__REASON_NET_UNREACHABLE, ADIT_ERR_DENIED, err,
                "credentials refused");
}

static int take_method(struct egress_proxy_talk *t, const unsigned char *m, struct adit_buf *out,
                       struct adit_err *err)
{
    if (m[0] != SOCKS_VERSION)
        return fail_protocol(t, err);
    if (m[1] == SOCKS_METHOD_PASSWORD && t->proxy->username[0]) {
        t->state = EGRESS_PROXY_LOGIN;
        return say_login(t, out);
    }
    if (m[1] != SOCKS_METHOD_NONE)
        return fail_denied(t, err);
    t->state = EGRESS_PROXY_REPLY;
    return say_request(t, out);
}

static int take_login(struct egress_proxy_talk *t, const unsigned char *m, struct adit_buf *out,
                      struct adit_err *err)
{
    if (m[0] != LOGIN_VERSION)
        return fail_protocol(t, err);
    if (m[1] != 0)
        return fail_denied(t, err);
    t->state = EGRESS_PROXY_REPLY;
    return say_request(t, out);
}

static Control__Reason reason_of_reply(unsigned code)
{
    switch (code) {
    case 2:
        return CONTROL__REASON__REASON_PROHIBITED;
    case 3:
    case 7: /* cannot connect at all */
    case 8: /* not to such addresses */
        return CONTROL__REASON__REASON_NET_UNREACHABLE;
    case 5:
        return CONTROL__REASON__REASON_REFUSED;
    case 6:
        return CONTROL__REASON__REASON_TIMED_OUT;
    default:
        return CONTROL__REASON__REASON_HOST_UNREACHABLE;
    }
}

static int take_reply(struct egress_proxy_talk *t, const unsigned char *m, struct adit_err *err)
{
    if (m[1] != 0)
        return fail(t, reason_of_reply(m[1]), ADIT_ERR_UNAVAILABLE, err, "not connected");
    t->state = EGRESS_PROXY_OVER;
    return ADIT_OK;
}

/* The length of the answer that has begun in @in, as far as it can be told. 0: it is none. */
static size_t answer_len(const struct egress_proxy_talk *t)
{
    if (t->state != EGRESS_PROXY_REPLY)
        return t->state == EGRESS_PROXY_METHOD ? METHOD_LEN : LOGIN_LEN;
    if (t->in.len < REPLY_HEAD_LEN)
        return REPLY_HEAD_LEN;
    const unsigned char *m = gathered(t);
    if (m[0] != SOCKS_VERSION || m[2] != 0)
        return 0;
    switch (m[3]) {
    case SOCKS_IPV4:
        return 4 + 4 + 2;
    case SOCKS_IPV6:
        return 4 + 16 + 2;
    case SOCKS_NAME:
        return 4 + 1 + (size_t)m[4] + 2;
    default:
        return 0;
    }
}

static int take_answer(struct egress_proxy_talk *t, struct adit_buf *out, struct adit_err *err)
{
    const unsigned char *m = gathered(t);
    int rc;
    if (t->state == EGRESS_PROXY_METHOD)
        rc = take_method(t, m, out, err);
    else if (t->state == EGRESS_PROXY_LOGIN)
        rc = take_login(t, m, out, err);
    else
        rc = take_reply(t, m, err);
    adit_buf_clear(&t->in);
    return rc;
}

static int feed_socks(struct egress_proxy_talk *t, struct adit_view *in, struct adit_buf *out,
                      struct adit_err *err)
{
    int rc = ADIT_OK;
    while (rc == ADIT_OK && t->state != EGRESS_PROXY_OVER && in->len > 0) {
        size_t missing = answer_len(t) - t->in.len;
        size_t len = missing < in->len ? missing : in->len;
        rc = adit_buf_append(&t->in, in->ptr, len);
        *in = adit_view_mem(in->ptr + len, in->len - len);
        if (rc != ADIT_OK)
            break;
        size_t wanted = answer_len(t);
        if (wanted == 0)
            rc = fail_protocol(t, err);
        else if (t->in.len == wanted)
            rc = take_answer(t, out, err);
    }
    return rc;
}

static Control__Reason reason_of_status(unsigned status)
{
    switch (status) {
    case 401:
    case 407:
        return CONTROL__REASON__REASON_NET_UNREACHABLE;
    case 403:
    case 451:
        return CONTROL__REASON__REASON_PROHIBITED;
    case 408:
    case 504:
        return CONTROL__REASON__REASON_TIMED_OUT;
    case 429:
    case 503:
        return CONTROL__REASON__REASON_BUSY;
    default:
        return CONTROL__REASON__REASON_HOST_UNREACHABLE;
    }
}

/* A whole head lies at the front of @in. */
static int take_head(struct egress_proxy_talk *t, size_t head_len, struct adit_err *err)
{
    const unsigned char *digits = gathered(t) + STATUS_AT;
    unsigned status = (unsigned)(digits[0] - '0') * 100 + (unsigned)(digits[1] - '0') * 10 +
                      (unsigned)(digits[2] - '0');
    adit_buf_consume(&t->in, head_len);
    http_guard_init(&t->guard);
    if (status == 407 || status == 401)
        return fail_denied(t, err);
    if (status == 101)
        return fail_protocol(t, err);
    if (status >= 300)
        return fail(t, reason_of_status(status), ADIT_ERR_UNAVAILABLE, err, "not connected");
    if (status >= 200)
        t->state = EGRESS_PROXY_OVER;
    return ADIT_OK;
}

/* All heads that are whole in @in. */
static int take_heads(struct egress_proxy_talk *t, struct adit_err *err)
{
    size_t head_len = 1;
    int rc = ADIT_OK;
    while (rc == ADIT_OK && t->state == EGRESS_PROXY_HEAD && head_len > 0) {
        if (http_guard_feed(&t->guard, HTTP_RESPONSE, adit_buf_view(&t->in), &head_len, NULL))
            return fail_protocol(t, err);
        if (head_len > 0)
            rc = take_head(t, head_len, err);
    }
    return rc;
}

static int feed_head(struct egress_proxy_talk *t, struct adit_view *in, struct adit_err *err)
{
    int rc = ADIT_OK;
    while (rc == ADIT_OK && t->state == EGRESS_PROXY_HEAD && in->len > 0) {
        size_t room = EGRESS_PROXY_ANSWER_MAX - t->in.len;
        size_t len = room < in->len ? room : in->len;
        if (len == 0)
            return fail_protocol(t, err);
        rc = adit_buf_append(&t->in, in->ptr, len);
        if (rc == ADIT_OK)
            rc = take_heads(t, err);
        /* what is behind the last head came with these bytes: no whole one was there before */
        size_t taken = t->state == EGRESS_PROXY_OVER ? len - t->in.len : len;
        *in = adit_view_mem(in->ptr + taken, in->len - taken);
    }
    return rc;
}

int egress_proxy_talk_feed(struct egress_proxy_talk *t, struct adit_view *in, struct adit_buf *out,
                           bool *is_over, struct adit_err *err)
{
    t->reason = CONTROL__REASON__REASON_BUSY; /* without memory */
    int rc = t->state == EGRESS_PROXY_HEAD ? feed_head(t, in, err) : feed_socks(t, in, out, err);
    *is_over = rc == ADIT_OK && t->state == EGRESS_PROXY_OVER;
    return rc;
}
