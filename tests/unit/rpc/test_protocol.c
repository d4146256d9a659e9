/* SPDX-License-Identifier: Apache-2.0 */
/* Which protocol a request speaks. */
#include "tests/unit/suite.h"

#include "request_fixture.h"

#include "rpc/connect.h"
#include "rpc/grpc_web.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

START_TEST(protocol_takes_content_types_in_their_spellings)
{
    static const struct {
        enum rpc_kind kind;
        const char *type;
        unsigned status;
        enum rpc_codec codec;
        const char *answer;
    } rows[] = {
        {RPC_UNARY, "application/json", 0, RPC_JSON, "application/json"},
        {RPC_UNARY, "application/json; charset=utf-8", 0, RPC_JSON, "application/json"},
        {RPC_UNARY, "application/json;charset=UTF-8", 0, RPC_JSON, "application/json"},
        {RPC_UNARY, "Application/JSON ; Charset=\"utf-8\"", 0, RPC_JSON, "application/json"},
        {RPC_UNARY, "application/proto", 0, RPC_PROTO, "application/proto"},
        {RPC_SERVER_STREAM, "application/connect+json", 0, RPC_JSON, "application/connect+json"},
        {RPC_SERVER_STREAM, "application/connect+json; charset=utf-8", 0, RPC_JSON,
         "application/connect+json"},
        {RPC_CLIENT_STREAM, "application/connect+proto", 0, RPC_PROTO, "application/connect+proto"},
        {RPC_UNARY, "application/grpc-web", 0, RPC_PROTO, "application/grpc-web"},
        {RPC_SERVER_STREAM, "application/grpc-web+proto", 0, RPC_PROTO,
         "application/grpc-web+proto"},
        {RPC_CLIENT_STREAM, "application/grpc-web+json", 0, RPC_JSON, "application/grpc-web+json"},
        {RPC_UNARY, "Application/GRPC-Web+Proto", 0, RPC_PROTO, "application/grpc-web+proto"},
        {RPC_UNARY, NULL, 415, 0, NULL},
        {RPC_UNARY, "", 415, 0, NULL},
        {RPC_UNARY, "text/plain", 415, 0, NULL},
        {RPC_UNARY, "application/jsonx", 415, 0, NULL},
        {RPC_UNARY, "application/json; charset=latin1", 415, 0, NULL},
        {RPC_UNARY, "application/json; a=b", 415, 0, NULL},
        {RPC_UNARY, "application/json;", 415, 0, NULL},
        {RPC_UNARY, "application/connect+json", 415, 0, NULL},
        {RPC_UNARY, "application/grpc", 415, 0, NULL},
        {RPC_SERVER_STREAM, "application/grpc+proto", 415, 0, NULL},
        {RPC_UNARY, "application/grpc-web-text", 415, 0, NULL},
        {RPC_UNARY, "application/grpc-web+thrift", 415, 0, NULL},
        {RPC_SERVER_STREAM, "application/json", 415, 0, NULL},
        {RPC_CLIENT_STREAM, "application/proto", 415, 0, NULL},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        ck_assert_msg(negotiate(rows[i].kind, rows[i].type) == rows[i].status, "row %zu", i);
        if (rows[i].status)
            continue;
        ck_assert_int_eq(req.codec, rows[i].codec);
        ck_assert_str_eq(req.type, rows[i].answer);
        ck_assert_ptr_eq(req.protocol, strstr(req.type, "grpc-web")   ? &grpc_web
                                       : strstr(req.type, "connect+") ? &connect_stream
                                                                      : &connect_unary);
    }
}
END_TEST

START_TEST(protocol_takes_only_post)
{
    for (enum http_method m = HTTP_GET; m <= HTTP_OTHER; m++) {
        begin_head(m);
        add("Content-Type", "application/json");
        ck_assert_uint_eq(protocol_negotiate(&head, RPC_UNARY, &req), m == HTTP_POST ? 0 : 405);
    }
}
END_TEST

START_TEST(protocol_names_every_type_that_a_kind_of_method_takes)
{
    for (enum rpc_kind kind = RPC_UNARY; kind <= RPC_CLIENT_STREAM; kind++) {
        struct adit_view rest = adit_view_str(protocol_accept_post(kind)), type;
        size_t cnt = 0;
        while (rest.len) {
            char text[64];
            (void)adit_view_split(rest, ',', &type, &rest); /* the last one has no comma */
            type = adit_view_trim(type);
            (void)snprintf(text, sizeof text, "%.*s", ADIT_VIEW_ARG(type)); /* fits */
            ck_assert_msg(negotiate(kind, text) == 0, "%s", text);
            cnt++;
        }
        ck_assert_uint_eq(cnt, 5);
    }
}
END_TEST

SUITE_MAIN("protocol", protocol_takes_content_types_in_their_spellings, protocol_takes_only_post,
           protocol_names_every_type_that_a_kind_of_method_takes)
