/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a request is for.
 *
 * Theory of operation
 *
 * Host names under our domain are read strictly: a label with a dash is a sandbox address, and one
 * that does not parse is refused rather than handed to the control API, so no odd spelling of a
 * port or an id can slip past the rules that apply to the proper one. Names outside the domain
 * (localhost, addresses, a load balancer's name) never address a sandbox by themselves; there only
 * the headers do.
 *
 * Python clients from 2.7 to 2.33 send the headers with one call of the control API too (connect:
 * POST /sandboxes/<id>/connect). On its own host name that is no question; on a host that serves
 * everything, headers for envd's port do not take a path of the control API that envd has none of.
 *
 * Trust: all inputs come from the client. The id is checked here, once; everything behind uses the
 * checked view and the number.
 */
#include "broker/edge/edge_target.h"

#include <ctype.h>
#include <strings.h>

#include "net/channel.h"
#include "net/url.h"

static const char *const envd_control_paths[] = {
    "/init", "/freeze", "/unfreeze", "/collapse", "/fsfreeze", "/fsthaw", "/upgrade",
};

static void refuse(struct edge_target *out, const char *why)
{
    out->kind = EDGE_TARGET_REFUSED;
    out->refusal = why;
}

static bool is_sandbox_id(struct adit_view v)
{
    if (v.len == 0 || v.len >= EDGE_ID_CAP)
        return false;
    for (size_t i = 0; i < v.len; i++)
        if (!(v.ptr[i] >= 'a' && v.ptr[i] <= 'z') && !(v.ptr[i] >= '0' && v.ptr[i] <= '9'))
            return false;
    return true;
}

static bool parse_port(struct adit_view v, uint16_t *port)
{
    uint64_t n;

    if (adit_view_u64(v, UINT16_MAX, &n) != 0 || n == 0)
        return false;
    *port = (uint16_t)n;
    return true;
}

/* Cut @suffix with a dot before it off the end of @name, ignoring case. */
static bool cut_domain(struct adit_view *name, struct adit_view suffix)
{
    if (suffix.len == 0 || name->len < suffix.len + 2)
        return false;
    size_t at = name->len - suffix.len;
    if (name->ptr[at - 1] != '.')
        return false;
    for (size_t i = 0; i < suffix.len; i++)
        if (tolower((unsigned char)name->ptr[at + i]) != tolower((unsigned char)suffix.ptr[i]))
            return false;
    name->len = at - 1;
    return true;
}

/* The control API's own label under our domain. */
static bool is_api_label(struct adit_view label)
{
    return label.len == 3 && strncasecmp(label.ptr, "api", 3) == 0;
}

/* "<port>-<id>[-<anything>]", the left-most label of a host under our domain. */
static void parse_label(struct adit_view label, struct edge_target *out)
{
    struct adit_view port, rest, id, ignored;

    if (!adit_view_split(label, '-', &port, &rest)) {
        out->kind = EDGE_TARGET_API;
        return;
    }
    adit_view_split(rest, '-', &id, &ignored);
    if (!parse_port(port, &out->port))
        refuse(out, "Invalid sandbox port");
    else if (!is_sandbox_id(id))
        refuse(out, "Invalid sandbox ID");
    else {
        out->kind = EDGE_TARGET_SANDBOX;
        out->sandbox_id = id;
    }
}

static bool is_control_path(struct adit_view path)
{
    static const struct adit_view prefix = ADIT_VIEW("/sandboxes/");

    return path.len > prefix.len && memcmp(path.ptr, prefix.ptr, prefix.len) == 0;
}

static void parse_headers(struct adit_view id, struct adit_view port, struct edge_target *out)
{
    if (id.ptr == NULL && port.ptr == NULL)
        out->kind = EDGE_TARGET_API;
    else if (id.ptr == NULL || port.ptr == NULL)
        refuse(out, "missing header");
    else if (!is_sandbox_id(id))
        refuse(out, "Invalid sandbox ID");
    else if (!parse_port(port, &out->port))
        refuse(out, "Invalid sandbox port");
    else {
        out->kind = EDGE_TARGET_SANDBOX;
        out->sandbox_id = id;
    }
}

/* In absolute form the target names a host too: RFC 9112 lets it win over Host, others read Host.
 */
static bool has_two_hosts(const struct edge_target_input *in)
{
    struct url_target t;

    return url_split_target(in->path, &t, NULL) == 0 && t.authority.len > 0 &&
           !adit_view_eq(t.authority, in->host);
}

void edge_target_parse(const struct edge_target_input *in, struct adit_view domain,
                       struct edge_target *out)
{
    struct edge_target by_header = {0};
    struct adit_view name = ADIT_VIEW("");
    uint16_t listener_port;

    memset(out, 0, sizeof(*out));
    if (has_two_hosts(in)) {
        refuse(out, "Host and the request target name different hosts");
        return;
    }
    if (in->host.len > 0 && url_split_host(in->host, &name, &listener_port) != 0) {
        refuse(out, "Invalid host");
        return;
    }
    if (cut_domain(&name, domain)) {
        if (is_api_label(name))
            return;
        parse_label(name, out);
    }
    if (out->kind == EDGE_TARGET_REFUSED)
        return;
    parse_headers(in->id, in->port, &by_header);
    if (out->kind == EDGE_TARGET_API) {
        *out = by_header;
        if (out->kind == EDGE_TARGET_SANDBOX && out->port == CHANNEL_PORT_ENVD &&
            is_control_path(in->path))
            out->kind = EDGE_TARGET_API;
        return;
    }
    /* A sandbox host: headers may repeat what it says, nothing else. */
    if (in->id.ptr != NULL && !adit_view_eq(by_header.sandbox_id, out->sandbox_id))
        refuse(out, "Host and E2b-Sandbox-Id name different sandboxes");
    else if (in->port.ptr != NULL && by_header.port != out->port)
        refuse(out, "Host and E2b-Sandbox-Port name different ports");
}

bool edge_target_is_reserved(uint16_t port)
{
    return port == CHANNEL_PORT_TUNNEL || port == CHANNEL_PORT_CONTROL ||
           port == CHANNEL_PORT_ACCEPT;
}

bool edge_target_is_envd_control(struct adit_view clean_path)
{
    for (size_t i = 0; i < sizeof(envd_control_paths) / sizeof(envd_control_paths[0]); i++)
        if (adit_view_eq_str(clean_path, envd_control_paths[i]))
            return true;
    return false;
}
