/* SPDX-License-Identifier: Apache-2.0 */
#include "envd/auth.h"

#include "tests/unit/suite.h"

#define TOKEN "secret-token"

static struct envd envd;

/* @tokens: values of the header, ended by NULL. */
static bool allows(const char *set, enum auth_class class, const char *const *tokens)
{
    static struct http_head head;
    memset(&head, 0, sizeof head);
    for (; *tokens; tokens++) {
        head.headers[head.header_cnt].name = adit_view_str("x-access-token");
        head.headers[head.header_cnt++].value = adit_view_str(*tokens);
    }
    (void)snprintf(envd.access_token, sizeof envd.access_token, "%s", set);
    return auth_allows(&envd, class, &head);
}

START_TEST(auth_lets_everybody_in_without_a_token_set)
{
    const char *const none[] = {NULL}, *const some[] = {"anything", NULL};
    for (int class = AUTH_TOKEN; class <= AUTH_OPEN; class ++) {
        ck_assert(allows("", (enum auth_class) class, none));
        ck_assert(allows("", (enum auth_class) class, some));
    }
}
END_TEST

START_TEST(auth_takes_the_exact_token_only)
{
    static const char *const wrong[] = {"",  "secret-toke",  "secret-token ",      "secret-tokenx",
                                        "x", "SECRET-TOKEN", "Bearer secret-token"};
    const char *const none[] = {NULL}, *const right[] = {TOKEN, NULL};
    ck_assert(allows(TOKEN, AUTH_TOKEN, right));
    ck_assert(!allows(TOKEN, AUTH_TOKEN, none));
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        const char *const one[] = {wrong[i], NULL};
        ck_assert_msg(!allows(TOKEN, AUTH_TOKEN, one), "\"%s\" got in", wrong[i]);
    }
}
END_TEST

START_TEST(auth_refuses_two_tokens)
{
    const char *const same[] = {TOKEN, TOKEN, NULL}, *const both[] = {TOKEN, "x", NULL};
    ck_assert(!allows(TOKEN, AUTH_TOKEN, same));
    ck_assert(!allows(TOKEN, AUTH_TOKEN, both));
}
END_TEST

START_TEST(auth_leaves_open_and_own_classes_to_their_handlers)
{
    const char *const none[] = {NULL}, *const wrong[] = {"x", NULL};
    ck_assert(allows(TOKEN, AUTH_OPEN, none));
    ck_assert(allows(TOKEN, AUTH_OPEN, wrong));
    ck_assert(allows(TOKEN, AUTH_OWN, none));
    ck_assert(allows(TOKEN, AUTH_OWN, wrong));
}
END_TEST

SUITE_MAIN("auth", auth_lets_everybody_in_without_a_token_set, auth_takes_the_exact_token_only,
           auth_refuses_two_tokens, auth_leaves_open_and_own_classes_to_their_handlers)
