/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The development switch of the session API.
 *
 * Theory of operation
 *
 * What: with --session-open a front end under development needs no key. A connection from a
 * loopback address alone does not prove much: a proxy on this machine passes strangers on, and a
 * page in the developer's browser may be anybody's. So Host must name this machine (a name that was
 * rebound to it does not), Origin, where there is one, must be a page of this machine, and nothing
 * may say that a proxy was there. Trust: all of it is the client's word but the peer's address;
 * what a process of this machine can claim is allowed to it anyway.
 */
#include "broker/session/session_access.h"

#include "broker/api/api.h"
#include "net/url.h"

static bool is_loopback_address(struct adit_view v)
{
    return adit_view_has_prefix(v, "127.") || adit_view_has_prefix(v, "::ffff:127.") ||
           adit_view_eq_str(v, "::1");
}

/* "localhost:3000", "127.0.0.1", "[::1]:80" */
static bool is_loopback_host(struct adit_view host)
{
    static const char *const names[] = {"localhost", "127.0.0.1", "::1"};
    struct adit_view name;
    uint16_t port;
    if (url_split_host(host, &name, &port))
        return false;
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (adit_view_ieq_str(name, names[i]))
            return true;
    return false;
}

/* "http://localhost:5173" */
static bool is_loopback_origin(struct adit_view origin)
{
    static const char *const schemes[] = {"http://", "https://"};
    for (size_t i = 0; i < sizeof(schemes) / sizeof(schemes[0]); i++) {
        size_t len = strlen(schemes[i]);
        if (adit_view_has_prefix(origin, schemes[i]))
            return is_loopback_host(adit_view_mem(origin.ptr + len, origin.len - len));
    }
    return false;
}

bool session_access_is_local(const struct session_access_input *in)
{
    return is_loopback_address(in->peer) && is_loopback_host(in->host) && !in->forwarded.ptr &&
           (!in->origin.ptr || is_loopback_origin(in->origin));
}

static struct adit_view find_forwarded(const struct edge_api_request *r)
{
    static const char *const names[] = {"Forwarded", "X-Forwarded-For", "X-Real-IP", "Via"};
    struct adit_view found = {NULL, 0};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]) && !found.ptr; i++)
        found = edge_api_header(r, names[i]);
    return found;
}

bool session_access_is_open(const struct api_request *rq)
{
    struct session_access_input in = {
        .peer = adit_view_str(edge_api_peer(rq->edge)),
        .host = edge_api_header(rq->edge, "Host"),
        .origin = edge_api_header(rq->edge, "Origin"),
        .forwarded = find_forwarded(rq->edge),
    };
    return rq->broker->conf.session_open && session_access_is_local(&in);
}
