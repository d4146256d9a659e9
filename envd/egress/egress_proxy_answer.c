/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Answers of the proxies.
 *
 * Theory of operation
 *
 * What:  one table from an outcome to the status of HTTP, the reply of SOCKS5 (RFC 1928 section 6)
 * and the words for people. A client that is refused reads what was refused, since "502" alone
 * tells nobody whether to mend a name, a rule or a server.
 * Trust: the target is the client's own word, and has no control character in it.
 */
#include "envd/egress/egress_proxy_answer.h"

#include "net/http_write.h"

#define SOCKS_VERSION 5
#define SOCKS_NO_METHOD 0xff
/* A reply names the address that is used; ours mean nothing to the client, so they are zero. */
#define SOCKS_REPLY_LEN 10
#define SOCKS_IPV4 1

enum socks_reply {
    SOCKS_SUCCEEDED = 0,
    SOCKS_FAILURE = 1,
    SOCKS_NOT_ALLOWED = 2,
    SOCKS_NET_UNREACHABLE = 3,
    SOCKS_HOST_UNREACHABLE = 4,
    SOCKS_REFUSED = 5,
    SOCKS_TTL_EXPIRED = 6, /* what others say for a time-out */
    SOCKS_NO_COMMAND = 7,
    SOCKS_NO_ADDRESS = 8,
};

static const struct row {
    unsigned status;
    enum socks_reply reply;
    const char *words;
} rows[EGRESS_PROXY_OUTCOME_CNT] = {
    [EGRESS_PROXY_CONNECTED] = {200, SOCKS_SUCCEEDED, "connected"},
    [EGRESS_PROXY_REFUSED] = {502, SOCKS_REFUSED, "connection refused"},
    [EGRESS_PROXY_HOST_UNREACHABLE] = {502, SOCKS_HOST_UNREACHABLE, "no route to host"},
    [EGRESS_PROXY_NET_UNREACHABLE] = {502, SOCKS_NET_UNREACHABLE, "network is unreachable"},
    [EGRESS_PROXY_PROHIBITED] = {403, SOCKS_NOT_ALLOWED,
                                 "not allowed by the rules of this sandbox"},
    [EGRESS_PROXY_TIMED_OUT] = {504, SOCKS_TTL_EXPIRED, "timed out"},
    [EGRESS_PROXY_BUSY] = {503, SOCKS_FAILURE, "too many connections"},
    [EGRESS_PROXY_NO_NAME] = {502, SOCKS_HOST_UNREACHABLE, "name not found"},
    [EGRESS_PROXY_NAME_FAILED] = {504, SOCKS_HOST_UNREACHABLE, "name cannot be looked up"},
    [EGRESS_PROXY_BROKEN] = {502, SOCKS_FAILURE, "connection broken by the server"},
    [EGRESS_PROXY_MALFORMED] = {400, SOCKS_FAILURE, "malformed request"},
    [EGRESS_PROXY_TOO_LONG] = {431, SOCKS_FAILURE, "request too long"},
    [EGRESS_PROXY_NO_COMMAND] = {501, SOCKS_NO_COMMAND, "only connections can be made"},
    [EGRESS_PROXY_NO_ADDRESS] = {400, SOCKS_NO_ADDRESS, "unknown type of address"},
    [EGRESS_PROXY_NO_METHOD] = {407, SOCKS_FAILURE, "there are no credentials"},
};

unsigned egress_proxy_status(enum egress_proxy_outcome outcome)
{
    return rows[outcome].status;
}

int egress_proxy_explain(struct adit_buf *out, const struct egress_proxy_target *target,
                         enum egress_proxy_outcome outcome)
{
    if (!target->host[0])
        return adit_buf_appendf(out, "%s\n", rows[outcome].words);
    return adit_buf_appendf(out, "%s port %u: %s\n", target->host, target->port,
                            rows[outcome].words);
}

static int append_socks(struct adit_buf *out, enum egress_proxy_outcome outcome)
{
    static const char no_method[] = {SOCKS_VERSION, (char)SOCKS_NO_METHOD};
    char reply[SOCKS_REPLY_LEN] = {SOCKS_VERSION, (char)rows[outcome].reply, 0, SOCKS_IPV4};
    if (outcome == EGRESS_PROXY_NO_METHOD)
        return adit_buf_append(out, no_method, sizeof no_method);
    return adit_buf_append(out, reply, sizeof reply);
}

static int append_refusal(struct adit_buf *out, const struct egress_proxy_target *target,
                          enum egress_proxy_outcome outcome)
{
    struct adit_buf text;
    adit_buf_init(&text, EGRESS_PROXY_ANSWER_MAX);
    int rc = egress_proxy_explain(&text, target, outcome);
    if (rc == ADIT_OK)
        rc = http_write_status_line(out, rows[outcome].status);
    if (rc == ADIT_OK)
        rc = http_write_header_str(out, "Content-Type", "text/plain");
    if (rc == ADIT_OK)
        rc = http_write_header_u64(out, "Content-Length", text.len);
    if (rc == ADIT_OK)
        rc = http_write_header_str(out, "Connection", "close");
    if (rc == ADIT_OK)
        rc = http_write_end(out);
    if (rc == ADIT_OK)
        rc = adit_buf_append_view(out, adit_buf_view(&text));
    adit_buf_fini(&text);
    return rc;
}

int egress_proxy_answer(struct adit_buf *out, enum egress_proxy_protocol protocol,
                        const struct egress_proxy_target *target, enum egress_proxy_outcome outcome)
{
    if (protocol == EGRESS_PROXY_SOCKS)
        return append_socks(out, outcome);
    if (outcome == EGRESS_PROXY_CONNECTED)
        return adit_buf_append_str(out, "HTTP/1.1 200 Connection established\r\n\r\n");
    return append_refusal(out, target, outcome);
}
