/* SPDX-License-Identifier: Apache-2.0 */
/* Bodies of the code-interpreter API. */
#include "../suite.h"
#include "envd/kernel/kernel_request.h"

static struct kernel_request r;
static struct kernel_request_error e;

static int parse(const char *body, bool with_code)
{
    return kernel_request_parse(adit_view_str(body), with_code, &r, &e);
}

START_TEST(request_has_what_was_given)
{
    ck_assert_int_eq(
        parse("{\"code\":\"1\\n\",\"context_id\":\"c\",\"language\":\"js\",\"more\":[],"
              "\"env_vars\":{\"A\":\"b\"}}",
              true),
        ADIT_OK);
    ck_assert(adit_view_eq_str(r.code, "1\n"));
    ck_assert(adit_view_eq_str(r.context_id, "c"));
    ck_assert(adit_view_eq_str(r.language, "js"));
    ck_assert_str_eq(json_string_value(json_object_get(r.variables, "A")), "b");
    kernel_request_fini(&r);
    ck_assert_int_eq(parse("{\"cwd\":\"/tmp\"}", false), ADIT_OK);
    ck_assert(adit_view_eq_str(r.cwd, "/tmp"));
    kernel_request_fini(&r);
}
END_TEST

START_TEST(request_takes_null_for_missing)
{
    ck_assert_int_eq(
        parse("{\"code\":\"\",\"context_id\":null,\"language\":null,\"env_vars\":null}", true),
        ADIT_OK);
    ck_assert(r.code.ptr && r.code.len == 0);
    ck_assert(!r.context_id.ptr && !r.language.ptr && !r.variables);
    kernel_request_fini(&r);
}
END_TEST

START_TEST(request_says_which_member_is_wrong)
{
    static const struct {
        const char *body, *member, *type;
    } bad[] = {
        {"", NULL, "json_invalid"},
        {"[]", NULL, "json_invalid"},
        {"{\"code\":\"1\"", NULL, "json_invalid"},
        {"{\"code\":\"a\\u0000b\"}", NULL, "json_invalid"},
        {"{}", "code", "missing"},
        {"{\"code\":null}", "code", "string_type"},
        {"{\"code\":1}", "code", "string_type"},
        {"{\"code\":\"\",\"context_id\":1}", "context_id", "string_type"},
        {"{\"code\":\"\",\"language\":{}}", "language", "string_type"},
        {"{\"code\":\"\",\"env_vars\":[]}", "env_vars", "dict_type"},
        {"{\"code\":\"\",\"env_vars\":{\"A\":1}}", "env_vars", "string_type"},
        {"{\"code\":\"\",\"env_vars\":{\"A=B\":\"\"}}", "env_vars", "value_error"},
        {"{\"code\":\"\",\"env_vars\":{\"\":\"\"}}", "env_vars", "value_error"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        ck_assert_msg(parse(bad[i].body, true) == ADIT_ERR_BAD_INPUT, "%s", bad[i].body);
        ck_assert_str_eq(e.type, bad[i].type);
        ck_assert_pstr_eq(e.member, bad[i].member);
        kernel_request_fini(&r);
    }
}
END_TEST

SUITE_MAIN("kernel_request", request_has_what_was_given, request_takes_null_for_missing,
           request_says_which_member_is_wrong)
