/* SPDX-License-Identifier: Apache-2.0 */
/* Bodies of create, connect, timeout and refresh: what passes, and each refusal with its words. */
#include "broker/api/create_request.h"

#include "tests/unit/suite.h"
#include <stdlib.h>

#include "rpc/status.h"

#define DAY_MS (UINT64_C(24) * 3600 * 1000)

static const struct {
    const char *body;
    unsigned status;
    const char *message; /* how it begins */
} refused[] = {
    {"", 400, "validation error: templateID is required"},
    {"nonsense", 400, "Error when parsing request: invalid JSON"},
    {"[]", 400, "Error when parsing request: the document is not an object"},
    {"{\"templateID\":\"base\"", 400, "Error when parsing request: invalid JSON"},
    {"{\"templateID\":\"base\",\"templateID\":\"x\"}", 400, "Error when parsing request"},
    {"{\"templateID\":7}", 400, "validation error: templateID must be a string"},
    {"{\"templateID\":\"\"}", 400, "validation error: templateID is required"},
    {"{\"templateID\":null}", 400, "validation error: templateID is required"},
    {"{\"templateID\":\"../etc\"}", 400, "Invalid template reference: "},
    {"{\"templateID\":\"a/b/c\"}", 400, "Invalid template reference: "},
    {"{\"templateID\":\"a:\"}", 400, "Invalid template reference: "},
    {"{\"templateID\":\"a b\"}", 400, "Invalid template reference: "},
    {"{\"templateID\":\"b\",\"timeout\":\"5\"}", 400,
     "validation error: timeout must be an integer"},
    {"{\"templateID\":\"b\",\"timeout\":5.5}", 400, "validation error: timeout must be an integer"},
    {"{\"templateID\":\"b\",\"timeout\":0}", 400, "Timeout must be greater than 0"},
    {"{\"templateID\":\"b\",\"timeout\":-1}", 400, "Timeout must be greater than 0"},
    {"{\"templateID\":\"b\",\"timeout\":86401}", 400, "Timeout cannot be greater than 24 hours"},
    {"{\"templateID\":\"b\",\"timeout\":2147483648}", 400,
     "validation error: timeout must be between"},
    {"{\"templateID\":\"b\",\"metadata\":[]}", 400, "validation error: metadata must be an object"},
    {"{\"templateID\":\"b\",\"metadata\":{\"a\":1}}", 400,
     "validation error: metadata must be an object of strings"},
    {"{\"templateID\":\"b\",\"envVars\":{\"a\":null}}", 400,
     "validation error: envVars must be an object of strings"},
    {"{\"templateID\":\"b\",\"envVars\":{\"\":\"x\"}}", 400,
     "validation error: envVars has a name"},
    {"{\"templateID\":\"b\",\"envVars\":{\"A=B\":\"x\"}}", 400,
     "validation error: envVars has a name"},
    {"{\"templateID\":\"b\",\"secure\":\"yes\"}", 400,
     "validation error: secure must be a boolean"},
    {"{\"templateID\":\"b\",\"allow_internet_access\":1}", 400,
     "validation error: allow_internet_access must be a boolean"},
    {"{\"templateID\":\"b\",\"network\":[]}", 400, "validation error: network must be an object"},
    {"{\"templateID\":\"b\",\"network\":{\"allowPublicTraffic\":false}}", 400,
     "You cannot create a sandbox without public access unless you enable secure envd access via "
     "'secure' flag."},
    {"{\"templateID\":\"b\",\"network\":{\"maskRequestHost\":\"a b\"}}", 400,
     "validation error: network.maskRequestHost is not a valid host"},
    {"{\"templateID\":\"b\",\"network\":{\"maskRequestHost\":\"user@host\"}}", 400,
     "validation error: network.maskRequestHost is not a valid host"},
    {"{\"templateID\":\"b\",\"network\":{\"maskRequestHost\":\"host:${PORT}${PORT}${PORT}${PORT}"
     "${PORT}${PORT}\"}}",
     400, "validation error: network.maskRequestHost is not a valid host"},
    {"{\"templateID\":\"b\",\"network\":{\"denyOut\":[\"example.com\"]}}", 400,
     "invalid denied CIDR example.com"},
    {"{\"templateID\":\"b\",\"autoPause\":true}", 501, "autoPause is not available yet"},
    {"{\"templateID\":\"b\",\"autoPauseMemory\":false}", 400,
     "autoPauseMemory=false only applies when autoPause is true."},
    {"{\"templateID\":\"b\",\"autoResume\":{\"enabled\":true}}", 501,
     "autoResume is not available yet"},
    {"{\"templateID\":\"b\",\"autoResume\":true}", 400, "validation error: autoResume must be an"},
    {"{\"templateID\":\"b\",\"isolation\":\"VM\"}", 400,
     "validation error: isolation is one of vm, container, gvisor"},
    {"{\"templateID\":\"b\",\"isolation\":1}", 400, "validation error: isolation must be a"},
    {"{\"templateID\":\"b\",\"mcp\":{}}", 501, "mcp is not available yet"},
    {"{\"templateID\":\"b\",\"iam\":{\"tokens\":{}}}", 501, "iam is not available yet"},
    {"{\"templateID\":\"b\",\"volumeMounts\":[{\"name\":\"v\",\"path\":\"/v\"}]}", 400,
     "Volume mounts are not enabled."},
};

START_TEST(create_request_refuses)
{
    struct create_request r;
    struct adit_err err = ADIT_ERR_INIT;
    int rc = create_request_parse(adit_view_str(refused[_i].body), false, DAY_MS, &r, &err);
    ck_assert_msg(rc != 0, "%s", refused[_i].body);
    ck_assert_uint_eq(rpc_status_http(rc), refused[_i].status);
    ck_assert_msg(adit_view_has_prefix(adit_view_str(err.msg), refused[_i].message), "%s", err.msg);
    ck_assert_ptr_null(r.metadata);
    ck_assert_ptr_null(r.env_vars);
    ck_assert_ptr_null(r.network);
}
END_TEST

START_TEST(create_request_takes_what_the_clients_send)
{
    static const char body[] =
        "{\"templateID\":\" Base:Default "
        "\",\"timeout\":300,\"metadata\":{\"a\":\"b\"},\"envVars\":{"
        "\"K\":\"v\"},\"secure\":true,\"allow_internet_access\":false,\"autoPause\":false,"
        "\"autoResume\":{\"enabled\":false},\"network\":{\"allowPublicTraffic\":false,"
        "\"maskRequestHost\":\"custom-host.example.com:${PORT}\",\"allowOut\":[],\"denyOut\":null},"
        "\"isolation\":\"vm\",\"mcp\":null,\"volumeMounts\":[],\"somethingNewer\":{\"x\":[1]}}";
    struct create_request r;
    struct adit_err err = ADIT_ERR_INIT;
    int rc = create_request_parse(adit_view_str(body), false, DAY_MS, &r, &err);
    ck_assert_msg(rc == 0, "%s", err.msg);
    ck_assert_str_eq(r.template_ref, "base:default");
    ck_assert_str_eq(r.isolation, "vm");
    ck_assert_uint_eq(r.timeout_ms, 300000);
    ck_assert(r.secure && r.is_private);
    ck_assert_int_eq(r.internet, RECORD_INTERNET_DENIED);
    ck_assert_str_eq(r.mask_host, "custom-host.example.com:${PORT}");
    ck_assert_str_eq(json_string_value(json_object_get(r.env_vars, "K")), "v");
    ck_assert_str_eq(json_string_value(json_object_get(r.metadata, "a")), "b");
    ck_assert(json_is_false(json_object_get(r.network, "allowPublicTraffic")));
    create_request_fini(&r);
}
END_TEST

START_TEST(create_request_has_the_defaults_of_its_version)
{
    struct create_request r;
    struct adit_view body = ADIT_VIEW("{\"templateID\":\"base\"}");
    ck_assert_int_eq(create_request_parse(body, false, DAY_MS, &r, NULL), 0);
    ck_assert_uint_eq(r.timeout_ms, 15000);
    ck_assert(!r.secure && !r.is_private && r.internet == RECORD_INTERNET_UNSAID);
    ck_assert_str_eq(r.isolation, "");
    create_request_fini(&r);
    ck_assert_int_eq(create_request_parse(body, true, DAY_MS, &r, NULL), 0);
    ck_assert_uint_eq(r.timeout_ms, 300000);
    ck_assert(r.secure);
    create_request_fini(&r);
    ck_assert_int_eq(create_request_parse(body, true, 60000, &r, NULL), 0);
    ck_assert_uint_eq(r.timeout_ms, 60000);
    create_request_fini(&r);
}
END_TEST

START_TEST(create_request_v2_is_secure_whatever_is_said)
{
    struct create_request r;
    struct adit_view body = ADIT_VIEW("{\"templateID\":\"base\",\"secure\":false}");
    ck_assert_int_eq(create_request_parse(body, true, DAY_MS, &r, NULL), 0);
    ck_assert(r.secure);
    create_request_fini(&r);
}
END_TEST

START_TEST(create_request_bounds_metadata_and_environment)
{
    struct create_request r;
    struct adit_buf body;
    adit_buf_init(&body, JTEXT_CAP);
    ck_assert_int_eq(adit_buf_append_str(&body, "{\"templateID\":\"b\",\"metadata\":{"), 0);
    for (int i = 0; i <= RECORD_METADATA_MAX; i++)
        ck_assert_int_eq(adit_buf_appendf(&body, "%s\"k%d\":\"v\"", i ? "," : "", i), 0);
    ck_assert_int_eq(adit_buf_append_str(&body, "}}"), 0);
    ck_assert_int_eq(create_request_parse(adit_buf_view(&body), false, DAY_MS, &r, NULL),
                     ADIT_ERR_BAD_INPUT);
    adit_buf_clear(&body);
    ck_assert_int_eq(adit_buf_append_str(&body, "{\"templateID\":\"b\",\"envVars\":{\"A\":\""), 0);
    for (size_t i = 0; i <= CREATE_REQUEST_ENV_CAP; i++)
        ck_assert_int_eq(adit_buf_append_char(&body, 'x'), 0);
    ck_assert_int_eq(adit_buf_append_str(&body, "\"}}"), 0);
    ck_assert_int_eq(create_request_parse(adit_buf_view(&body), false, DAY_MS, &r, NULL),
                     ADIT_ERR_BAD_INPUT);
    adit_buf_fini(&body);
}
END_TEST

static int connect_ms(const char *body, uint64_t default_s, uint64_t *ms, struct adit_err *err)
{
    return create_request_parse_connect(adit_view_str(body), default_s, DAY_MS, ms, err);
}

START_TEST(connect_requires_a_timeout_in_v1_only)
{
    uint64_t ms = 0;
    struct adit_err err = ADIT_ERR_INIT;
    ck_assert_int_eq(connect_ms("{}", 0, &ms, &err), ADIT_ERR_BAD_INPUT);
    ck_assert_str_eq(err.msg, "validation error: timeout is required");
    ck_assert_int_eq(connect_ms("", 300, &ms, NULL), 0);
    ck_assert_uint_eq(ms, 300000);
    ck_assert_int_eq(connect_ms("{\"timeout\":7,\"memory\":true}", 0, &ms, NULL), 0);
    ck_assert_uint_eq(ms, 7000);
    ck_assert_int_eq(connect_ms("{\"timeout\":90000}", 0, &ms, &err), ADIT_ERR_BAD_INPUT);
    ck_assert_int_eq(connect_ms("{\"timeout\":7,\"memory\":1}", 0, &ms, NULL), ADIT_ERR_BAD_INPUT);
}
END_TEST

START_TEST(timeout_takes_zero_and_caps_at_the_maximum)
{
    uint64_t ms = 1;
    ck_assert_int_eq(
        create_request_parse_timeout(adit_view_str("{\"timeout\":0}"), DAY_MS, &ms, NULL), 0);
    ck_assert_uint_eq(ms, 0);
    ck_assert_int_eq(
        create_request_parse_timeout(adit_view_str("{\"timeout\":-5}"), DAY_MS, &ms, NULL), 0);
    ck_assert_uint_eq(ms, 0);
    ck_assert_int_eq(
        create_request_parse_timeout(adit_view_str("{\"timeout\":999999}"), DAY_MS, &ms, NULL), 0);
    ck_assert_uint_eq(ms, DAY_MS);
    ck_assert_int_eq(create_request_parse_timeout(adit_view_str("{}"), DAY_MS, &ms, NULL),
                     ADIT_ERR_BAD_INPUT);
}
END_TEST

START_TEST(refresh_has_a_floor_and_a_ceiling)
{
    uint64_t ms = 0;
    ck_assert_int_eq(create_request_parse_refresh(adit_view_str(""), &ms, NULL), 0);
    ck_assert_uint_eq(ms, 15000);
    ck_assert_int_eq(create_request_parse_refresh(adit_view_str("{\"duration\":1}"), &ms, NULL), 0);
    ck_assert_uint_eq(ms, 15000);
    ck_assert_int_eq(create_request_parse_refresh(adit_view_str("{\"duration\":60}"), &ms, NULL),
                     0);
    ck_assert_uint_eq(ms, 60000);
    ck_assert_int_eq(create_request_parse_refresh(adit_view_str("{\"duration\":3601}"), &ms, NULL),
                     ADIT_ERR_BAD_INPUT);
}
END_TEST

SUITE_MAIN_WITH("create_request",
                TESTS(create_request_takes_what_the_clients_send,
                      create_request_has_the_defaults_of_its_version,
                      create_request_v2_is_secure_whatever_is_said,
                      create_request_bounds_metadata_and_environment,
                      connect_requires_a_timeout_in_v1_only,
                      timeout_takes_zero_and_caps_at_the_maximum,
                      refresh_has_a_floor_and_a_ceiling),
                LOOPS({create_request_refuses, sizeof(refused) / sizeof(refused[0])}))
