/* SPDX-License-Identifier: Apache-2.0 */
/* The data plane's own answers: the texts that clients compare, and no way to inject into them. */
#include "broker/edge/edge_page.h"

#include "tests/unit/suite.h"
#include <stdlib.h>

static char *page_text(enum edge_page page, enum edge_page_form form,
                       const struct edge_page_args *args)
{
    struct adit_buf b;

    adit_buf_init(&b, 1 << 20);
    ck_assert_int_eq(edge_page_body(page, form, args, &b), 0);
    char *text = adit_buf_steal_str(&b);
    ck_assert_ptr_nonnull(text);
    return text;
}

#define ARGS                                                                                       \
    {                                                                                              \
        .sandbox_id = ADIT_VIEW("iabc"), .path = ADIT_VIEW("/init"), .port = 8080, .limit = 1024   \
    }

START_TEST(edge_page_json_is_the_contracts)
{
    struct edge_page_args args = ARGS;
    static const struct {
        enum edge_page page;
        unsigned status;
        const char *body;
    } rows[] = {
        {EDGE_PAGE_NOT_FOUND, 502,
         "{\"sandboxId\":\"iabc\",\"message\":\"The sandbox was not found\",\"code\":502}"},
        {EDGE_PAGE_PORT_CLOSED, 502,
         "{\"sandboxId\":\"iabc\",\"message\":\"The sandbox is running but port is not open\","
         "\"port\":8080,\"code\":502}"},
        {EDGE_PAGE_TOO_MANY, 429,
         "{\"sandboxId\":\"iabc\",\"message\":\"The sandbox has too many concurrent incoming "
         "connections (limit: 1024)\",\"connectionLimit\":1024,\"code\":429}"},
        {EDGE_PAGE_TOKEN_MISSING, 403,
         "{\"sandboxId\":\"iabc\",\"message\":\"Sandbox is secured with traffic access token. "
         "Token "
         "header 'e2b-traffic-access-token' is missing\",\"code\":403}"},
        {EDGE_PAGE_TOKEN_INVALID, 403,
         "{\"sandboxId\":\"iabc\",\"message\":\"Sandbox is secured with traffic access token. "
         "Provided token in header 'e2b-traffic-access-token' is invalid\",\"code\":403}"},
        {EDGE_PAGE_RESERVED_ROUTE, 404,
         "{\"message\":\"This endpoint is reserved for the E2B control plane and is not reachable "
         "through the sandbox URL\",\"path\":\"/init\",\"code\":404}"},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char *text = page_text(rows[i].page, EDGE_PAGE_JSON, &args);

        ck_assert_str_eq(text, rows[i].body);
        ck_assert_uint_eq(edge_page_status(rows[i].page), rows[i].status);
        free(text);
    }
}
END_TEST

START_TEST(edge_page_html_has_what_people_and_tests_look_for)
{
    struct edge_page_args args = ARGS;
    static const struct {
        enum edge_page page;
        const char *needle;
    } rows[] = {
        {EDGE_PAGE_NOT_FOUND, "Sandbox Not Found"},
        {EDGE_PAGE_PORT_CLOSED, "no service running on port 8080"},
        {EDGE_PAGE_TOKEN_MISSING, "Missing Traffic Access Token"},
        {EDGE_PAGE_TOKEN_INVALID, "Invalid Traffic Access Token"},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char *text = page_text(rows[i].page, EDGE_PAGE_HTML, &args);
        size_t len = strlen(text);

        ck_assert_ptr_nonnull(strstr(text, rows[i].needle));
        ck_assert_ptr_nonnull(strstr(text, "iabc"));
        ck_assert_int_eq(strncmp(text, "<html", 5), 0);
        ck_assert_str_eq(text + len - 7, "</html>");
        free(text);
    }
}
END_TEST

START_TEST(edge_page_escapes_client_text)
{
    struct edge_page_args args = ARGS;
    char *text;

    args.path = (struct adit_view)ADIT_VIEW("/init\"\\\x01<script>");
    text = page_text(EDGE_PAGE_RESERVED_ROUTE, EDGE_PAGE_JSON, &args);
    ck_assert_ptr_nonnull(strstr(text, "/init\\\"\\\\\\u0001"));
    free(text);
    args.sandbox_id = (struct adit_view)ADIT_VIEW("<b>&\"");
    text = page_text(EDGE_PAGE_NOT_FOUND, EDGE_PAGE_HTML, &args);
    ck_assert_ptr_nonnull(strstr(text, "&lt;b&gt;&amp;&quot;"));
    free(text);
}
END_TEST

static void add(struct http_head *h, const char *name, const char *value)
{
    h->headers[h->header_cnt++] = (struct http_header){adit_view_str(name), adit_view_str(value)};
}

START_TEST(edge_page_form_is_what_the_client_reads)
{
    static const struct {
        const char *agent, *name, *value;
        enum edge_page_form form;
    } rows[] = {
        {"Mozilla/5.0 (X11) Firefox/128", "accept", "text/html,application/json", EDGE_PAGE_HTML},
        {"Mozilla/5.0 (X11) Firefox/128", "accept", "application/json", EDGE_PAGE_JSON},
        {"Mozilla/5.0 (X11) Firefox/128", "sec-fetch-mode", "cors", EDGE_PAGE_JSON},
        {"Mozilla/5.0 (X11) Firefox/128", "sec-fetch-mode", "websocket", EDGE_PAGE_JSON},
        {"Mozilla/5.0 (X11) Firefox/128", "sec-fetch-mode", "navigate", EDGE_PAGE_HTML},
        {"Mozilla/5.0 (X11) Firefox/128", "x-requested-with", "XMLHttpRequest", EDGE_PAGE_JSON},
        {"curl/8.0", "accept", "text/html", EDGE_PAGE_JSON},
        {"e2b-python-sdk/2.63.0", "accept", "*/*", EDGE_PAGE_JSON},
        {"connect-python", "accept", "*/*", EDGE_PAGE_TEXT},
        {"connect-python/2", "accept", "*/*", EDGE_PAGE_JSON},
        {"something OPERA something", "accept", "*/*", EDGE_PAGE_HTML},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        static struct http_head head;

        head.header_cnt = 0;
        add(&head, "User-Agent", rows[i].agent);
        add(&head, rows[i].name, rows[i].value);
        ck_assert_msg(edge_page_form(&head) == rows[i].form, "row %zu", i);
    }
}
END_TEST

START_TEST(edge_page_text_is_the_message_alone)
{
    struct edge_page_args args = ARGS;
    char *text = page_text(EDGE_PAGE_NOT_FOUND, EDGE_PAGE_TEXT, &args);
    ck_assert_str_eq(text, "The sandbox was not found");
    ck_assert_str_eq(edge_page_content_type(EDGE_PAGE_TEXT), "text/plain; charset=utf-8");
    free(text);
}
END_TEST

SUITE_MAIN("edge_page", edge_page_json_is_the_contracts,
           edge_page_html_has_what_people_and_tests_look_for, edge_page_escapes_client_text,
           edge_page_form_is_what_the_client_reads, edge_page_text_is_the_message_alone)
