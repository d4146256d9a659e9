/* SPDX-License-Identifier: Apache-2.0 */
/* The llhttp that is linked was built with LLHTTP_STRICT_MODE: the default build takes these. */
#include "tests/unit/suite.h"
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

SUITE_MAIN("llhttp_strict", llhttp_refuses_bare_cr_as_end_of_a_field,
           llhttp_refuses_chunk_without_crlf, llhttp_takes_a_plain_request)
