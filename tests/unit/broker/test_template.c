/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/vmm/template.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"

#include "tests/unit/suite.h"

#define ID "\"template_id\":\"abcdefghij0123456789\""
#define BUILD "\"build_id\":\"8f14e45f-ceea-467f-ab2b-0123456789ab\""
#define SIZES "\"cpu_count\":2,\"memory_mb\":512,\"disk_mb\":1024"
#define CREATED "\"created_at\":\"2026-11-21T07:00:00.000Z\""
#define REST BUILD "," SIZES "," CREATED

static struct template_info info;
static struct adit_err error;

static int parse(const char *text)
{
    return template_parse(adit_view_str(text), &info, &error);
}

START_TEST(template_takes_a_whole_one)
{
    ck_assert_int_eq(parse("{" ID "," REST ",\"aliases\":[\"base\",\"team/x_1\"],"
                           "\"default_user\":\"user\",\"default_workdir\":\"/home/user\","
                           "\"start_cmd\":\"a\",\"ready_cmd\":\"b\",\"root\":\"root\",\"new\":{},"
                           "\"isolation\":\"vm\"}"),
                     0);
    ck_assert_str_eq(info.template_id, "abcdefghij0123456789");
    ck_assert_uint_eq(info.alias_cnt, 2);
    ck_assert_str_eq(info.aliases[1], "team/x_1");
    ck_assert_uint_eq(info.cpu_count, 2);
    ck_assert_uint_eq(info.memory_mb, 512);
    ck_assert_uint_eq(info.disk_mb, 1024);
    ck_assert_int_eq(info.created_ns, INT64_C(1795244400) * 1000000000);
    ck_assert_str_eq(info.default_user, "user");
    ck_assert_str_eq(info.default_workdir, "/home/user");
    ck_assert_str_eq(info.start_cmd, "a");
    ck_assert_str_eq(info.ready_cmd, "b");
    ck_assert_str_eq(info.isolation, "vm");
}
END_TEST

START_TEST(template_has_defaults_for_what_is_optional)
{
    ck_assert_int_eq(parse("{" ID "," REST "}"), 0);
    ck_assert_uint_eq(info.alias_cnt, 0);
    ck_assert_str_eq(info.default_user, "");
    ck_assert_str_eq(info.start_cmd, "");
    ck_assert_str_eq(info.isolation, "");
}
END_TEST

START_TEST(template_refuses_malformed_ones)
{
    static const char *const bad[] = {
        "",
        "[]",
        "{}",
        "{" ID "," REST "} x",
        "{" REST "}",
        "{" ID "," SIZES "," CREATED "}",
        "{" ID "," ID "," REST "}",
        "{\"template_id\":\"short\"," REST "}",
        "{\"template_id\":\"ABCDEFGHIJ0123456789\"," REST "}",
        "{\"template_id\":\"../../../../etc/pass\"," REST "}",
        "{\"template_id\":1," REST "}",
        "{" ID ",\"build_id\":\"8f14e45f-ceea-467f-ab2b-0123456789ag\"," SIZES "," CREATED "}",
        "{" ID "," BUILD "," SIZES "}",
        "{" ID "," BUILD "," SIZES ",\"created_at\":\"yesterday\"}",
        "{" ID "," BUILD "," CREATED ",\"cpu_count\":0,\"memory_mb\":512,\"disk_mb\":1}",
        "{" ID "," BUILD "," CREATED ",\"cpu_count\":1,\"memory_mb\":64,\"disk_mb\":1}",
        "{" ID "," BUILD "," CREATED ",\"cpu_count\":1,\"memory_mb\":512,\"disk_mb\":-1}",
        "{" ID "," BUILD "," CREATED ",\"cpu_count\":1.5,\"memory_mb\":512,\"disk_mb\":1}",
        "{" ID "," BUILD "," CREATED
        ",\"cpu_count\":1,\"memory_mb\":99999999999999999999,\"disk_mb\":1}",
        "{" ID "," REST ",\"aliases\":\"base\"}",
        "{" ID "," REST ",\"aliases\":[\"Base\"]}",
        "{" ID "," REST ",\"aliases\":[\"\"]}",
        "{" ID "," REST ",\"aliases\":[\"a/b/c\"]}",
        "{" ID "," REST ",\"aliases\":[\"/a\"]}",
        "{" ID "," REST ",\"aliases\":[\"a/\"]}",
        "{" ID "," REST ",\"aliases\":[\"a:b\"]}",
        "{" ID "," REST ",\"aliases\":[null]}",
        "{" ID "," REST ",\"default_user\":\"\"}",
        "{" ID "," REST ",\"default_user\":\"a b\"}",
        "{" ID "," REST ",\"default_user\":\"-a\"}",
        "{" ID "," REST ",\"isolation\":\"\"}",
        "{" ID "," REST ",\"isolation\":\"jail\"}",
        "{" ID "," REST ",\"isolation\":1}",
        "{" ID "," REST ",\"default_workdir\":\"home\"}",
        "{" ID "," REST ",\"start_cmd\":\"a\\u0000b\"}",
        "{" ID "," REST ",\"start_cmd\":7}",
        "{" ID "," REST ",\"env\":[]}",
        "{" ID "," REST ",\"env\":{\"A\":1}}",
        "{" ID "," REST ",\"env\":{\"\":\"x\"}}",
        "{" ID "," REST ",\"env\":{\"A=B\":\"x\"}}",
        "{" ID "," REST ",\"env\":{\"A\":\"x\\u0000y\"}}",
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        ck_assert_msg(parse(bad[i]) == ADIT_ERR_BAD_INPUT, "%s", bad[i]);
}
END_TEST

static const char *variable(const json_t *env, const char *name)
{
    return json_string_value(json_object_get(env, name));
}

START_TEST(template_has_variables_that_a_create_overrides)
{
    ck_assert_int_eq(
        parse("{" ID "," REST ",\"env\":{\"PATH\":\"/bin\",\"EMPTY\":\"\",\"EQ\":\"a=b\"}}"), 0);
    json_t *env = template_env(&info, NULL);
    ck_assert_uint_eq(json_object_size(env), 3);
    ck_assert_str_eq(variable(env, "PATH"), "/bin");
    ck_assert_str_eq(variable(env, "EMPTY"), "");
    ck_assert_str_eq(variable(env, "EQ"), "a=b");
    json_decref(env);

    json_t *asked = json_pack("{s:s, s:s}", "PATH", "/opt", "NEW", "1");
    env = template_env(&info, asked);
    ck_assert_uint_eq(json_object_size(env), 4);
    ck_assert_str_eq(variable(env, "PATH"), "/opt");
    ck_assert_str_eq(variable(env, "NEW"), "1");
    json_decref(env);
    json_decref(asked);

    ck_assert_int_eq(parse("{" ID "," REST "}"), 0);
    env = template_env(&info, NULL);
    ck_assert_uint_eq(json_object_size(env), 0);
    json_decref(env);
}
END_TEST

/* One variable whose name and value are of @len bytes together. */
static int parse_variable(size_t len)
{
    static char text[2 * TEMPLATE_ENV_CAP];
    (void)snprintf(text, sizeof(text), "{" ID "," REST ",\"env\":{\"A\":\"%0*d\"}}", (int)len - 1,
                   0);
    return parse(text);
}

START_TEST(template_bounds_its_variables)
{
    ck_assert_int_eq(parse_variable(TEMPLATE_ENV_CAP - 3), 0);
    ck_assert_int_eq(parse_variable(TEMPLATE_ENV_CAP - 2), ADIT_ERR_BAD_INPUT);
}
END_TEST

START_TEST(template_bounds_lists_and_texts)
{
    char text[16 * 1024];
    size_t len = (size_t)snprintf(text, sizeof(text), "{" ID "," REST ",\"aliases\":[\"a0\"");
    for (int i = 1; i <= TEMPLATE_ALIASES_MAX; i++)
        len += (size_t)snprintf(text + len, sizeof(text) - len, ",\"a%d\"", i);
    (void)snprintf(text + len, sizeof(text) - len, "]}");
    ck_assert_int_eq(parse(text), ADIT_ERR_BAD_INPUT);

    (void)snprintf(text, sizeof(text), "{" ID "," REST ",\"start_cmd\":\"%0*d\"}",
                   TEMPLATE_CMD_CAP - 1, 0);
    ck_assert_int_eq(parse(text), 0);
    (void)snprintf(text, sizeof(text), "{" ID "," REST ",\"start_cmd\":\"%0*d\"}", TEMPLATE_CMD_CAP,
                   0);
    ck_assert_int_eq(parse(text), ADIT_ERR_BAD_INPUT);
}
END_TEST

START_TEST(template_read_wants_a_root_directory)
{
    char dir[] = "/tmp/adit-template-XXXXXX", path[64], root[64];
    ck_assert(mkdtemp(dir) != NULL);
    (void)snprintf(path, sizeof(path), "%s/template.json", dir);
    (void)snprintf(root, sizeof(root), "%s/root", dir);
    ck_assert_int_eq(template_read(dir, &info, NULL), ADIT_ERR_NOT_FOUND);
    ck_assert_int_eq(adit_file_replace(-100, path, adit_view_str("{" ID "," REST "}"), 0600, NULL),
                     0);
    ck_assert_int_eq(template_read(dir, &info, NULL), ADIT_ERR_BAD_INPUT);
    ck_assert(symlink("/", root) == 0);
    ck_assert_int_eq(template_read(dir, &info, NULL), ADIT_ERR_BAD_INPUT);
    ck_assert(unlink(root) == 0 && mkdir(root, 0700) == 0);
    ck_assert_int_eq(template_read(dir, &info, NULL), 0);
    ck_assert(rmdir(root) == 0 && unlink(path) == 0 && rmdir(dir) == 0);
    ck_assert_int_eq(template_read(dir, &info, NULL), ADIT_ERR_NOT_FOUND);
}
END_TEST

SUITE_MAIN("template", template_takes_a_whole_one, template_has_defaults_for_what_is_optional,
           template_refuses_malformed_ones, template_has_variables_that_a_create_overrides,
           template_bounds_its_variables, template_bounds_lists_and_texts,
           template_read_wants_a_root_directory)
