/* SPDX-License-Identifier: Apache-2.0 */
/* The llhttp that is linked was built with LLHTTP_STRICT_MODE: the default build takes these. */
#include <check.h>
#include <llhttp.h>
#include <string.h>

static llhttp_errno_t parse(const char *text)
{
    llhttp_settings_t settings;
    llhttp_t parser;
    llhttp_settings_init(&settings);
    llhttp_init(&parser, HTTP_REQUEST, &settings);
    return llhttp_execute(&parser, text, strlen(text));
}

START_TEST(llhttp_refuses_bare_cr_as_end_of_a_field)
{
    ck_assert_int_eq(parse("GET / HTTP/1.1\r\nX: \ry\r\n\r\n"), HPE_STRICT);
}
END_TEST

START_TEST(llhttp_refuses_chunk_without_crlf)
{
    ck_assert_int_eq(
        parse("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nxyz0\r\n\r\n"),
        HPE_STRICT);
}
END_TEST

START_TEST(llhttp_takes_a_plain_request)
{
    ck_assert_int_eq(parse("GET / HTTP/1.1\r\nX: y\r\n\r\n"), HPE_OK);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("llhttp_strict");
    TCase *c = tcase_create("strict");
    tcase_add_test(c, llhttp_refuses_bare_cr_as_end_of_a_field);
    tcase_add_test(c, llhttp_refuses_chunk_without_crlf);
    tcase_add_test(c, llhttp_takes_a_plain_request);
    suite_add_tcase(s, c);
    SRunner *sr = srunner_create(s);
    srunner_run_all(sr, CK_NORMAL);
    int failed = srunner_ntests_failed(sr);
    srunner_free(sr);
    return failed == 0 ? 0 : 1;
}
