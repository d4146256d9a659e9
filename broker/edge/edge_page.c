/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The data plane's own answers.
 *
 * Theory of operation
 *
 * One table row a page: status, message, and the heading of the HTML form. Clients compare messages
 * to the letter, so the texts are the contract's. All client text goes through an escaping append.
 */
#include "broker/edge/edge_page.h"

#include <strings.h>

static const struct {
    unsigned status;
    const char *message;
    const char *heading;
} pages[EDGE_PAGE_CNT] = {
    [EDGE_PAGE_NOT_FOUND] = {502, "The sandbox was not found", "Sandbox Not Found"},
    [EDGE_PAGE_PORT_CLOSED] = {502, "The sandbox is running but port is not open",
                               "Closed Port Error"},
    [EDGE_PAGE_BAD_REPLY] = {502, "The server in the sandbox sent a broken reply", "Broken Reply"},
    [EDGE_PAGE_TIMED_OUT] = {504, "The sandbox did not answer in time", "Sandbox Timed Out"},
    [EDGE_PAGE_TOO_MANY] = {429, "The sandbox has too many concurrent incoming connections",
                            "Too Many Connections"},
    [EDGE_PAGE_TOKEN_MISSING] = {403,
                                 "Sandbox is secured with traffic access token. Token header "
                                 "'e2b-traffic-access-token' is missing",
                                 "Missing Traffic Access Token"},
    [EDGE_PAGE_TOKEN_INVALID] = {403,
                                 "Sandbox is secured with traffic access token. Provided token in "
                                 "header 'e2b-traffic-access-token' is invalid",
                                 "Invalid Traffic Access Token"},
    [EDGE_PAGE_RESERVED_ROUTE] = {404,
                                  "This endpoint is reserved for the E2B control plane and is not "
                                  "reachable through the sandbox URL",
                                  "Reserved Endpoint"},
    [EDGE_PAGE_RESERVED_PORT] = {404, "This port is reserved and is not reachable",
                                 "Reserved Port"},
    [EDGE_PAGE_INTERNAL] = {500, "Internal error", "Internal Error"},
    [EDGE_PAGE_NOT_GRPC] = {501,
                            "gRPC is bridged to port 49983 alone; other ports are reached with "
                            "HTTP/1.1, as by gRPC-Web",
                            "Not Bridged"},
};

unsigned edge_page_status(enum edge_page page)
{
    return pages[page].status;
}

enum edge_grpc_code edge_page_grpc_code(enum edge_page page)
{
    switch (page) {
    case EDGE_PAGE_TOKEN_MISSING:
        return EDGE_GRPC_UNAUTHENTICATED;
    case EDGE_PAGE_TOKEN_INVALID:
        return EDGE_GRPC_DENIED;
    case EDGE_PAGE_RESERVED_ROUTE:
    case EDGE_PAGE_RESERVED_PORT:
        return EDGE_GRPC_NOT_FOUND;
    case EDGE_PAGE_TOO_MANY:
        return EDGE_GRPC_EXHAUSTED;
    case EDGE_PAGE_NOT_GRPC:
        return EDGE_GRPC_UNIMPLEMENTED;
    case EDGE_PAGE_INTERNAL:
        return EDGE_GRPC_INTERNAL;
    default:
        return EDGE_GRPC_UNAVAILABLE;
    }
}

const char *edge_page_content_type(enum edge_page_form form)
{
    static const char *const types[] = {
        [EDGE_PAGE_JSON] = "application/json; charset=utf-8",
        [EDGE_PAGE_HTML] = "text/html; charset=utf-8",
        [EDGE_PAGE_TEXT] = "text/plain; charset=utf-8",
        [EDGE_PAGE_GRPC] = "application/grpc",
    };
    return types[form];
}

static int append_html_text(struct adit_buf *out, struct adit_view v)
{
    int rc = 0;

    for (size_t i = 0; i < v.len && rc == 0; i++) {
        switch (v.ptr[i]) {
        case '<':
            rc = adit_buf_append_str(out, "&lt;");
            break;
        case '>':
            rc = adit_buf_append_str(out, "&gt;");
            break;
        case '&':
            rc = adit_buf_append_str(out, "&amp;");
            break;
        case '"':
            rc = adit_buf_append_str(out, "&quot;");
            break;
        default:
            rc = adit_buf_append_char(out, v.ptr[i]);
        }
    }
    return rc;
}

static int append_message(enum edge_page page, const struct edge_page_args *a, struct adit_buf *out)
{
    if (page == EDGE_PAGE_TOO_MANY)
        return adit_buf_appendf(out, "%s (limit: %zu)", pages[page].message, a->limit);
    return adit_buf_append_str(out, pages[page].message);
}

/* The members that only some pages have. */
static int append_json_extras(enum edge_page page, const struct edge_page_args *a,
                              struct adit_buf *out)
{
    switch (page) {
    case EDGE_PAGE_PORT_CLOSED:
    case EDGE_PAGE_RESERVED_PORT:
        return adit_buf_appendf(out, "\"port\":%u,", a->port);
    case EDGE_PAGE_TOO_MANY:
        return adit_buf_appendf(out, "\"connectionLimit\":%zu,", a->limit);
    case EDGE_PAGE_RESERVED_ROUTE:
        if (adit_buf_append_str(out, "\"path\":\"") != 0 ||
            adit_buf_append_json_text(out, a->path) != 0)
            return ADIT_ERR_LIMIT;
        return adit_buf_append_str(out, "\",");
    default:
        return 0;
    }
}

static int append_json(enum edge_page page, const struct edge_page_args *a, struct adit_buf *out)
{
    int rc = adit_buf_append_char(out, '{');

    if (rc == 0 && page != EDGE_PAGE_RESERVED_ROUTE)
        rc = adit_buf_appendf(out, "\"sandboxId\":\"%.*s\",", ADIT_VIEW_ARG(a->sandbox_id));
    if (rc == 0)
        rc = adit_buf_append_str(out, "\"message\":\"");
    if (rc == 0)
        rc = append_message(page, a, out);
    if (rc == 0)
        rc = adit_buf_append_str(out, "\",");
    if (rc == 0)
        rc = append_json_extras(page, a, out);
    if (rc == 0)
        rc = adit_buf_appendf(out, "\"code\":%u}", pages[page].status);
    return rc;
}

static int append_html(enum edge_page page, const struct edge_page_args *a, struct adit_buf *out)
{
    int rc = adit_buf_appendf(out,
                              "<html>\n<head><meta charset=\"utf-8\"><title>%s</title></head>\n"
                              "<body>\n<h1>%s</h1>\n<p>Sandbox <code>",
                              pages[page].heading, pages[page].heading);
    if (rc == 0)
        rc = append_html_text(out, a->sandbox_id);
    if (rc == 0)
        rc = adit_buf_append_str(out, "</code>: ");
    if (rc == 0 && page == EDGE_PAGE_PORT_CLOSED)
        rc = adit_buf_appendf(out, "there is no service running on port %u. ", a->port);
    if (rc == 0)
        rc = append_message(page, a, out);
    if (rc == 0)
        rc = adit_buf_append_str(out, ".</p>\n</body>\n</html>");
    return rc;
}

int edge_page_body(enum edge_page page, enum edge_page_form form, const struct edge_page_args *args,
                   struct adit_buf *out)
{
    switch (form) {
    case EDGE_PAGE_HTML:
        return append_html(page, args, out);
    case EDGE_PAGE_TEXT:
    case EDGE_PAGE_GRPC:
        return append_message(page, args, out);
    case EDGE_PAGE_JSON:
    default:
        return append_json(page, args, out);
    }
}

static bool contains_word(struct adit_view text, const char *word)
{
    size_t len = strlen(word);

    for (size_t i = 0; i + len <= text.len; i++)
        if (strncasecmp(text.ptr + i, word, len) == 0)
            return true;
    return false;
}

/* A script in a page: fetch, XMLHttpRequest, WebSocket; it wants JSON even though a browser sends
 * it. */
static bool looks_scripted(const struct http_head *head)
{
    static const char *const modes[] = {"cors", "no-cors", "same-origin", "websocket"};
    struct adit_view accept = http_head_get(head, "accept");
    struct adit_view mode = http_head_get(head, "sec-fetch-mode");

    if (contains_word(accept, "json") && !contains_word(accept, "html"))
        return true;
    for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++)
        if (adit_view_ieq_str(mode, modes[i]))
            return true;
    return http_head_get(head, "x-requested-with").ptr != NULL;
}

/* The words that browsers name themselves by. Every one begins with one of "mcsfeo", which saves
 * the comparisons at most places: this runs for every request. */
static bool names_a_browser(struct adit_view agent)
{
    static const char *const words[] = {"mozilla", "chrome", "safari", "firefox",
                                        "edge",    "opera",  "msie"};

    for (size_t i = 0; i < agent.len; i++) {
        if (strchr("mcsfeo", agent.ptr[i] | 0x20) == NULL)
            continue;
        for (size_t w = 0; w < sizeof(words) / sizeof(words[0]); w++) {
            size_t len = strlen(words[w]);
            if (len <= agent.len - i && strncasecmp(agent.ptr + i, words[w], len) == 0)
                return true;
        }
    }
    return false;
}

enum edge_page_form edge_page_form(const struct http_head *head)
{
    struct adit_view agent = http_head_get(head, "user-agent");

    if (edge_grpc_is(http_head_get(head, "content-type")))
        return EDGE_PAGE_GRPC;
    if (adit_view_eq_str(agent, "connect-python"))
        return EDGE_PAGE_TEXT;
    return names_a_browser(agent) && !looks_scripted(head) ? EDGE_PAGE_HTML : EDGE_PAGE_JSON;
}
