/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The beginning of a client's connection to the proxies: which protocol it speaks, and where it
 * wants to go. Bytes in, steps out; no I/O.
 */
#ifndef ENVD_EGRESS_EGRESS_PROXY_REQUEST_H
#define ENVD_EGRESS_EGRESS_PROXY_REQUEST_H

#include "envd/egress/egress_proxy_answer.h"
#include "net/http_guard.h"

/* A head, and what one read brings behind it. */
#define EGRESS_PROXY_GATHERED_MAX (2 * HTTP_HEAD_CAP)

enum egress_proxy_step {
    EGRESS_PROXY_MORE,    /* feed more bytes */
    EGRESS_PROXY_GREETED, /* SOCKS5: say EGRESS_PROXY_GREETING, then ask again */
    EGRESS_PROXY_CONNECT, /* to @target; what is gathered still is for the other end */
    EGRESS_PROXY_SERVE,   /* HTTP that is not CONNECT: all that is gathered is its beginning */
    EGRESS_PROXY_REFUSE,  /* because of @refusal; the last step */
};

/* SOCKS5: no credentials are wanted. */
#define EGRESS_PROXY_GREETING "\x05\x00"
#define EGRESS_PROXY_GREETING_LEN 2

/* Embedded in its owner. @is_greeted: of SOCKS5, the request is next. @gathered: not used yet. */
struct egress_proxy_request {
    enum egress_proxy_protocol protocol;
    bool is_greeted;
    struct http_guard guard;
    struct adit_buf gathered;
    struct egress_proxy_target target;
    enum egress_proxy_outcome refusal;
};

void egress_proxy_request_init(struct egress_proxy_request *r);
void egress_proxy_request_fini(struct egress_proxy_request *r);
/* Take bytes in. Errors: NO_MEMORY; LIMIT (more than one read behind a head). */
ADIT_MUST_CHECK int egress_proxy_request_feed(struct egress_proxy_request *r,
                                              struct adit_view bytes);
/* The next step. Not after EGRESS_PROXY_CONNECT and those behind it. */
enum egress_proxy_step egress_proxy_request_next(struct egress_proxy_request *r);

#endif
