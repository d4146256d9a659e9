/* SPDX-License-Identifier: Apache-2.0 */
/* A request that names no sandbox is led by its access token, on envd's paths alone. */
#include "broker/edge/edge_token.h"

#include "broker/edge/edge_int.h"
#include "tests/unit/suite.h"

static struct adit_view view(const char *s)
{
    return adit_view_str(s);
}

START_TEST(edge_token_takes_envds_paths_alone)
{
    static const char *const yes[] = {
        "/process.Process/Start",
        "/filesystem.Filesystem/Stat",
        "/files",
        "/files?path=x",
        "/health",
    };
    static const char *const no[] = {
        "/",
        "/sandboxes",
        "/v2/sandboxes",
        "/process.Process/",
        "/filesx",
        "/files/compose",
        "/healthy",
        "/init",
        "//files",
        "process.Process/Start",
        "",
    };

    for (size_t i = 0; i < sizeof(yes) / sizeof(yes[0]); i++)
        ck_assert_msg(edge_token_is_one(view("t"), view(yes[i])), "%s", yes[i]);
    for (size_t i = 0; i < sizeof(no) / sizeof(no[0]); i++)
        ck_assert_msg(!edge_token_is_one(view("t"), view(no[i])), "%s", no[i]);
    ck_assert(!edge_token_is_one(view(""), view("/files")));
    ck_assert(!edge_token_is_one(view(NULL), view("/files")));
}
END_TEST

START_TEST(edge_token_finds_its_sandbox_and_no_other)
{
    struct edge_entry a = {.route = {.sandbox_id = "ia", .envd_token = "token-a"}};
    struct edge_entry b = {.route = {.sandbox_id = "ib", .envd_token = "token-b"}};
    struct edge_entry open = {.route = {.sandbox_id = "iopen"}};
    struct adit_map table;

    adit_map_init(&table);
    ck_assert_int_eq(adit_map_put(&table, view("ia"), &a), 0);
    ck_assert_int_eq(adit_map_put(&table, view("ib"), &b), 0);
    ck_assert_int_eq(adit_map_put(&table, view("iopen"), &open), 0);
    ck_assert(adit_view_eq_str(edge_token_find(&table, view("token-a")), "ia"));
    ck_assert(adit_view_eq_str(edge_token_find(&table, view("token-b")), "ib"));
    ck_assert_uint_eq(edge_token_find(&table, view("token-")).len, 0);
    ck_assert_uint_eq(edge_token_find(&table, view("token-aa")).len, 0);
    ck_assert_uint_eq(edge_token_find(&table, view("")).len, 0);
    adit_map_fini(&table);
}
END_TEST

SUITE_MAIN("edge_token", edge_token_takes_envds_paths_alone,
           edge_token_finds_its_sandbox_and_no_other)
