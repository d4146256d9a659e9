/* SPDX-License-Identifier: Apache-2.0 */
/* Targets, percent-coding, queries, path cleaning, Host values. */
#include "net/url.h"

#include "tests/unit/suite.h"
#include <stdio.h>

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static struct adit_buf out;

static void setup(void)
{
    adit_buf_init(&out, 1024);
}

static void teardown(void)
{
    adit_buf_fini(&out);
}

static struct adit_view str(const char *s)
{
    return adit_view_str(s);
}

/* The text of @out, which is emptied. */
static const char *taken(void)
{
    static char text[1025];
    snprintf(text, sizeof(text), "%.*s", ADIT_VIEW_ARG(adit_buf_view(&out)));
    adit_buf_clear(&out);
    return text;
}

START_TEST(url_splits_targets)
{
    static const struct {
        const char *target, *authority, *path, *query;
    } good[] = {
        {"/", "", "/", ""},
        {"/a/b?c=d?e", "", "/a/b", "c=d?e"},
        {"/a?", "", "/a", ""},
        {"//a", "", "//a", ""},
        {"*", "", "*", ""},
        {"http://h/p?q", "h", "/p", "q"},
        {"HTTPS://h:80", "h:80", "/", ""},
        {"http://h?q", "h", "/", "q"},
        {"http://u@h/", "u@h", "/", ""},
    };
    static const char *const bad[] = {"",         "a",       "?q",       "**",
                                      "*?q",      "http:/h", "http://",  "http:///p",
                                      "ftp://h/", "://h/",   "http://?q"};
    struct url_target t;
    for (size_t i = 0; i < COUNT(good); i++) {
        ck_assert_int_eq(url_split_target(str(good[i].target), &t, NULL), ADIT_OK);
        ck_assert_msg(adit_view_eq_str(t.authority, good[i].authority) &&
                          adit_view_eq_str(t.path, good[i].path) &&
                          adit_view_eq_str(t.query, good[i].query),
                      "%s", good[i].target);
    }
    for (size_t i = 0; i < COUNT(bad); i++)
        ck_assert_msg(url_split_target(str(bad[i]), &t, NULL) == ADIT_ERR_BAD_INPUT, "%s", bad[i]);
}
END_TEST

START_TEST(url_decodes)
{
    ck_assert_int_eq(url_decode(str("a%20b+c%2f%C3%a4"), false, &out), ADIT_OK);
    ck_assert_str_eq(taken(), "a b+c/\xc3\xa4");
    ck_assert_int_eq(url_decode(str("a+b%2B"), true, &out), ADIT_OK);
    ck_assert_str_eq(taken(), "a b+");
    ck_assert_int_eq(url_decode(str("%2541"), false, &out), ADIT_OK);
    ck_assert_str_eq(taken(), "%41"); /* once */
}
END_TEST

START_TEST(url_refuses_bad_escapes)
{
    static const char *const bad[] = {"%", "a%2", "%2x", "%x2", "%%20", "a%00b", "%-1"};
    static const struct adit_view nul = ADIT_VIEW("a\0b");
    for (size_t i = 0; i < COUNT(bad); i++)
        ck_assert_msg(url_decode(str(bad[i]), false, &out) == ADIT_ERR_BAD_INPUT, "%s", bad[i]);
    ck_assert_int_eq(url_decode(nul, false, &out), ADIT_ERR_BAD_INPUT);
    ck_assert_uint_eq(out.len, 0);
}
END_TEST

static void check_query(const char *query, const char *name, const char *value)
{
    bool found;
    ck_assert_int_eq(url_query_get(str(query), name, &out, &found), ADIT_OK);
    ck_assert_msg(found == (value != NULL), "%s in %s", name, query);
    ck_assert_str_eq(taken(), value ? value : "");
}

START_TEST(url_finds_query_parameters)
{
    check_query("", "a", NULL);
    check_query("a=1&b=2&a=3", "a", "1");
    check_query("a=1&b=2&a=3", "b", "2");
    check_query("&&a=1&", "a", "1");
    check_query("a", "a", "");
    check_query("a=", "a", "");
    check_query("a=b=c", "a", "b=c");
    check_query("ab=1&abc=2", "a", NULL);
    check_query("a=1", "ab", NULL);
    check_query("%61%62=x+y%26", "ab", "x y&");
    check_query("=1", "a", NULL);
    check_query("b=%zz&a=1", "a", "1"); /* a value nobody asks for may be what it likes */
}
END_TEST

START_TEST(url_refuses_hostile_queries)
{
    char query[2 * URL_QUERY_PARAMS_MAX + 4];
    bool found;
    ck_assert_int_eq(url_query_get(str("a=%zz"), "a", &out, &found), ADIT_ERR_BAD_INPUT);
    ck_assert_int_eq(url_query_get(str("%zz=1&a=2"), "a", &out, &found), ADIT_ERR_BAD_INPUT);
    ck_assert_int_eq(url_query_get(str("a=%00"), "a", &out, &found), ADIT_ERR_BAD_INPUT);
    for (size_t i = 0; i <= URL_QUERY_PARAMS_MAX; i++)
        memcpy(query + 2 * i, "b&", 2);
    ck_assert_int_eq(
        url_query_get(adit_view_mem(query, 2 * URL_QUERY_PARAMS_MAX), "a", &out, &found), ADIT_OK);
    ck_assert_int_eq(
        url_query_get(adit_view_mem(query, 2 * URL_QUERY_PARAMS_MAX + 2), "a", &out, &found),
        ADIT_ERR_BAD_INPUT);
}
END_TEST

START_TEST(url_cleans_paths_to_one_spelling)
{
    static const struct {
        const char *path, *clean;
    } good[] = {
        {"/", "/"},
        {"//", "/"},
        {"/init", "/init"},
        {"//init", "/init"},
        {"/init/", "/init"},
        {"/./init", "/init"},
        {"/x/../init", "/init"},
        {"/%69nit", "/init"},
        {"/x/%2e%2e/init", "/init"},
        {"/x%2f..%2finit", "/init"},
        {"/../../a", "/a"},
        {"/a/..", "/"},
        {"/a/.", "/a"},
        {"/a/b/c/../../d//e/.", "/a/d/e"},
        {"/...", "/..."},
        {"/..a/.b", "/..a/.b"},
        {"/INIT", "/INIT"},
        {"/init;a", "/init;a"},
        {"%2finit", "/init"},
        {"/a/b/../../..", "/"},
    };
    static const char *const bad[] = {"", "init", "/init%00", "/%", "*", "./a"};
    for (size_t i = 0; i < COUNT(good); i++) {
        ck_assert_int_eq(url_clean_path(str(good[i].path), &out), ADIT_OK);
        ck_assert_str_eq(taken(), good[i].clean);
    }
    for (size_t i = 0; i < COUNT(bad); i++)
        ck_assert_msg(url_clean_path(str(bad[i]), &out) == ADIT_ERR_BAD_INPUT, "%s", bad[i]);
    ck_assert_uint_eq(out.len, 0);
}
END_TEST

START_TEST(url_clean_path_appends)
{
    ck_assert_int_eq(adit_buf_append_str(&out, "x/y"), ADIT_OK);
    ck_assert_int_eq(url_clean_path(str("/../a"), &out), ADIT_OK);
    ck_assert_str_eq(taken(), "x/y/a");
}
END_TEST

START_TEST(url_splits_hosts)
{
    static const struct {
        const char *host, *name;
        uint16_t port;
    } good[] = {
        {"a", "a", 0},           {"a.b:80", "a.b", 80},       {"49983-x.e.app", "49983-x.e.app", 0},
        {"a.b.", "a.b", 0},      {"a.:65535", "a", 65535},    {"127.0.0.1:3000", "127.0.0.1", 3000},
        {"[::1]:80", "::1", 80}, {"[fe80::1]", "fe80::1", 0}, {"A_b", "A_b", 0},
    };
    static const char *const bad[] = {
        "",    ".",       "a..b",     ".a",    "a..",        "a b",    " a",      "a ",
        "u@a", "a:",      "a:0",      "a:080", "a:+80",      "a:80 ",  "a:65536", "a:b",
        ":80", "a:80:80", "[::1",     "[]",    "[::1]80",    "[::1]:", "[g::1]",  "::1",
        "a,b", "a%2e",    "\xc3\xa4", "a/b",   "[::1%eth0]", "a\tb",   "[x]",     "[[::1]]",
    };
    struct adit_view name;
    uint16_t port;
    for (size_t i = 0; i < COUNT(good); i++) {
        ck_assert_msg(url_split_host(str(good[i].host), &name, &port) == ADIT_OK, "%s",
                      good[i].host);
        ck_assert(adit_view_eq_str(name, good[i].name));
        ck_assert_uint_eq(port, good[i].port);
    }
    for (size_t i = 0; i < COUNT(bad); i++)
        ck_assert_msg(url_split_host(str(bad[i]), &name, &port) == ADIT_ERR_BAD_INPUT, "%s",
                      bad[i]);
}
END_TEST

START_TEST(url_bounds_host_names)
{
    char host[257];
    struct adit_view name;
    uint16_t port;
    memset(host, 'a', sizeof(host));
    ck_assert_int_eq(url_split_host(adit_view_mem(host, 255), &name, &port), ADIT_OK);
    ck_assert_int_eq(url_split_host(adit_view_mem(host, 256), &name, &port), ADIT_ERR_BAD_INPUT);
}
END_TEST

SUITE_MAIN_WITH("url", .fixtures = {{setup, teardown}},
                TESTS(url_splits_targets, url_decodes, url_refuses_bad_escapes,
                      url_finds_query_parameters, url_refuses_hostile_queries,
                      url_cleans_paths_to_one_spelling, url_clean_path_appends, url_splits_hosts,
                      url_bounds_host_names))
