/* SPDX-License-Identifier: Apache-2.0 */
/* What becomes of a request to a proxy, and how its client is told: in HTTP and in SOCKS5. No I/O.
 */
#ifndef ENVD_EGRESS_EGRESS_PROXY_ANSWER_H
#define ENVD_EGRESS_EGRESS_PROXY_ANSWER_H

#include "base/buf.h"
#include "rpc/control.h"

/* Longest answer. */
#define EGRESS_PROXY_ANSWER_MAX 1024
/* A host as text, with its NUL. */
#define EGRESS_PROXY_HOST_CAP 256

enum egress_proxy_protocol {
    EGRESS_PROXY_UNKNOWN, /* nothing tells yet */
    EGRESS_PROXY_SOCKS,   /* SOCKS5 (RFC 1928) */
    EGRESS_PROXY_TUNNEL,  /* HTTP, CONNECT (RFC 9110 9.3.6) */
    EGRESS_PROXY_FORWARD, /* HTTP, any other request */
};

/* The first are a host's reasons (proto/control.proto) by number. */
enum egress_proxy_outcome {
    EGRESS_PROXY_CONNECTED = CONTROL__REASON__REASON_UNSPECIFIED,
    EGRESS_PROXY_REFUSED = CONTROL__REASON__REASON_REFUSED,
    EGRESS_PROXY_HOST_UNREACHABLE = CONTROL__REASON__REASON_HOST_UNREACHABLE,
    EGRESS_PROXY_NET_UNREACHABLE = CONTROL__REASON__REASON_NET_UNREACHABLE,
    EGRESS_PROXY_PROHIBITED = CONTROL__REASON__REASON_PROHIBITED,
    EGRESS_PROXY_TIMED_OUT = CONTROL__REASON__REASON_TIMED_OUT,
    EGRESS_PROXY_BUSY = CONTROL__REASON__REASON_BUSY,
    EGRESS_PROXY_NO_NAME,     /* nobody has it, or it has no address */
    EGRESS_PROXY_NAME_FAILED, /* it could not be looked up */
    EGRESS_PROXY_BROKEN,      /* the connection broke before the reply */
    EGRESS_PROXY_MALFORMED,   /* the request */
    EGRESS_PROXY_TOO_LONG,    /* the request */
    EGRESS_PROXY_NO_COMMAND,  /* of SOCKS5 but CONNECT */
    EGRESS_PROXY_NO_ADDRESS,  /* a type of address that SOCKS5 has not */
    EGRESS_PROXY_NO_METHOD,   /* SOCKS5: the client insists on credentials */
    EGRESS_PROXY_OUTCOME_CNT,
};

/* Where a client wants to go. @host: an address or a name, without brackets. */
struct egress_proxy_target {
    char host[EGRESS_PROXY_HOST_CAP];
    uint16_t port;
};

/* The status of HTTP that says so. */
unsigned egress_proxy_status(enum egress_proxy_outcome outcome);
/* Append the line that says so to people. Errors: of @out. */
ADIT_MUST_CHECK int egress_proxy_explain(struct adit_buf *out,
                                         const struct egress_proxy_target *target,
                                         enum egress_proxy_outcome outcome);
/* Append the answer to a request of SOCKS5, or to CONNECT. Errors: of @out. */
ADIT_MUST_CHECK int egress_proxy_answer(struct adit_buf *out, enum egress_proxy_protocol protocol,
                                        const struct egress_proxy_target *target,
                                        enum egress_proxy_outcome outcome);

#endif
