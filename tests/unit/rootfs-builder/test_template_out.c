/* SPDX-License-Identifier: Apache-2.0 */
#include "rootfs-builder/template_out.h"

#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "rootfs-builder/debian.h"

#include "tests/unit/suite.h"

static char dir[64], out_dir[96];
static char alias[] = "base", suite_name[] = "bookworm", none[] = "", user[] = "user",
            home[] = "/h", vm[] = "vm";

static struct builder_conf conf_of(void)
{
    return (struct builder_conf){.alias = alias,
                                 .out = out_dir,
                                 .suite = suite_name,
                                 .packages = none,
                                 .cpu_count = 2,
                                 .memory_mb = 512,
                                 .disk_mb = 1024,
                                 .default_user = user,
                                 .default_workdir = home,
                                 .start_cmd = none,
                                 .ready_cmd = none,
                                 .isolation = none};
}

static void make_dir(void)
{
    (void)snprintf(dir, sizeof(dir), "/tmp/adit-out-XXXXXX");
    ck_assert(mkdtemp(dir) != NULL);
    (void)snprintf(out_dir, sizeof(out_dir), "%s/a/templates", dir);
}

static void remove_dir(void)
{
    char command[96];
    (void)snprintf(command, sizeof(command), "rm -r %s", dir);
    ck_assert(system(command) == 0);
}

static void fingerprint_of(char c, char out[TEMPLATE_OUT_FINGERPRINT_LEN + 1])
{
    memset(out, c, TEMPLATE_OUT_FINGERPRINT_LEN);
    out[TEMPLATE_OUT_FINGERPRINT_LEN] = '\0';
}

static bool exists(const char *name)
{
    char path[256];
    (void)snprintf(path, sizeof(path), "%s/%s", out_dir, name);
    return access(path, F_OK) == 0;
}

START_TEST(template_out_gives_an_alias_one_id_for_ever)
{
    char first[TEMPLATE_OUT_ID_LEN + 1], again[TEMPLATE_OUT_ID_LEN + 1],
        other[TEMPLATE_OUT_ID_LEN + 1];
    template_out_id("base", first);
    template_out_id("base", again);
    template_out_id("base2", other);
    ck_assert_str_eq(first, "wo0xl6ihm9qx7hmflral");
    ck_assert_str_eq(first, again);
    ck_assert_str_ne(first, other);
}
END_TEST

START_TEST(template_out_knows_aliases)
{
    ck_assert(template_out_is_alias(adit_view_str("base")));
    ck_assert(template_out_is_alias(adit_view_str("team/my_base-2")));
    static const char *const bad[] = {"", "Base", "a b", "a/b/c", "/a", "a/", "../x", "a:b"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        ck_assert_msg(!template_out_is_alias(adit_view_str(bad[i])), "%s", bad[i]);
}
END_TEST

START_TEST(template_out_replaces_whole_templates_and_keeps_the_old_one)
{
    struct builder_conf conf = conf_of();
    struct template_out t;
    char fingerprint[TEMPLATE_OUT_FINGERPRINT_LEN + 1], old_name[64];
    make_dir();
    fingerprint_of('a', fingerprint);
    ck_assert_int_eq(template_out_open(&t, &conf, fingerprint, NULL), 0);
    ck_assert(!template_out_is_current(&t));
    ck_assert_int_eq(template_out_begin(&t, NULL), 0);
    ck_assert(exists(t.work));
    ck_assert_int_eq(template_out_commit(&t, &conf, old_name, NULL), 0);
    ck_assert_str_eq(old_name, "");
    ck_assert(!exists(t.work) && exists(t.template_id));
    ck_assert(template_out_is_current(&t));
    template_out_close(&t);

    fingerprint_of('b', fingerprint);
    ck_assert_int_eq(template_out_open(&t, &conf, fingerprint, NULL), 0);
    ck_assert(!template_out_is_current(&t));
    ck_assert_int_eq(template_out_begin(&t, NULL), 0);
    ck_assert_int_eq(template_out_commit(&t, &conf, old_name, NULL), 0);
    ck_assert(exists(old_name) && exists(t.template_id) && !exists(t.work));
    ck_assert(template_out_is_current(&t));
    template_out_close(&t);
    remove_dir();
}
END_TEST

START_TEST(template_out_removes_what_a_killed_builder_left)
{
    struct builder_conf conf = conf_of();
    struct template_out t;
    char fingerprint[TEMPLATE_OUT_FINGERPRINT_LEN + 1], left[64];
    make_dir();
    fingerprint_of('a', fingerprint);
    ck_assert_int_eq(template_out_open(&t, &conf, fingerprint, NULL), 0);
    ck_assert_int_eq(template_out_begin(&t, NULL), 0);
    memcpy(left, t.work, sizeof(left));
    template_out_close(&t);
    ck_assert(exists(left));
    ck_assert_int_eq(template_out_open(&t, &conf, fingerprint, NULL), 0);
    ck_assert(!exists(left));
    template_out_close(&t);
    remove_dir();
}
END_TEST

START_TEST(template_out_describes_the_template)
{
    struct builder_conf conf = conf_of();
    struct template_out t = {.template_id = "wo0xl6ihm9qx7hmflral",
                             .build_id = "8f14e45f-ceea-467f-ab2b-0123456789ab",
                             .fingerprint = "f"};
    struct adit_buf text;
    adit_buf_init(&text, TEMPLATE_OUT_JSON_CAP);
    ck_assert_int_eq(template_out_write_json(&t, &conf, 0, &text, NULL), 0);
    json_t *root = json_loadb(adit_buf_view(&text).ptr, text.len, JSON_REJECT_DUPLICATES, NULL);
    ck_assert_ptr_nonnull(root);
    ck_assert_str_eq(json_string_value(json_object_get(root, "template_id")), t.template_id);
    ck_assert_str_eq(json_string_value(json_array_get(json_object_get(root, "aliases"), 0)), alias);
    ck_assert_int_eq(json_integer_value(json_object_get(root, "memory_mb")), 512);
    ck_assert_str_eq(json_string_value(json_object_get(root, "created_at")),
                     "1970-01-01T00:00:00.000Z");
    ck_assert_ptr_null(json_object_get(root, "isolation"));
    json_decref(root);
    adit_buf_clear(&text);
    conf.isolation = vm;
    ck_assert_int_eq(template_out_write_json(&t, &conf, 0, &text, NULL), 0);
    root = json_loadb(adit_buf_view(&text).ptr, text.len, JSON_REJECT_DUPLICATES, NULL);
    ck_assert_str_eq(json_string_value(json_object_get(root, "isolation")), "vm");
    json_decref(root);
    adit_buf_fini(&text);
}
END_TEST

START_TEST(debian_fingerprint_follows_every_input)
{
    struct builder_conf conf = conf_of();
    struct apt_host apt = {.source_cnt = 0};
    char first[TEMPLATE_OUT_FINGERPRINT_LEN + 1], second[TEMPLATE_OUT_FINGERPRINT_LEN + 1];
    char git[] = "git";
    adit_buf_init(&apt.settings, 4096);
    ck_assert_int_eq(debian_fingerprint(&conf, &apt, first, NULL), 0);
    ck_assert_int_eq(debian_fingerprint(&conf, &apt, second, NULL), 0);
    ck_assert_str_eq(first, second);
    conf.packages = git;
    ck_assert_int_eq(debian_fingerprint(&conf, &apt, second, NULL), 0);
    ck_assert_str_ne(first, second);
    conf = conf_of();
    conf.isolation = vm;
    ck_assert_int_eq(debian_fingerprint(&conf, &apt, second, NULL), 0);
    ck_assert_str_ne(first, second);
    conf = conf_of();
    conf.memory_mb = 1024;
    ck_assert_int_eq(debian_fingerprint(&conf, &apt, second, NULL), 0);
    ck_assert_str_ne(first, second);
    conf = conf_of();
    ck_assert_int_eq(adit_buf_append_str(&apt.settings, "x"), 0);
    ck_assert_int_eq(debian_fingerprint(&conf, &apt, second, NULL), 0);
    ck_assert_str_ne(first, second);
    apt_host_free(&apt);
}
END_TEST

START_TEST(debian_refuses_package_names_that_are_options)
{
    ck_assert(debian_is_package_list(adit_view_str("")));
    ck_assert(debian_is_package_list(adit_view_str("g++,libc6-dev,python3.11")));
    static const char *const bad[] = {"-x", "a,-x", "a,,b", "a,", "A", "a b", "a;b", "a/b", ",a"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        ck_assert_msg(!debian_is_package_list(adit_view_str(bad[i])), "%s", bad[i]);
}
END_TEST

SUITE_MAIN("template_out", template_out_gives_an_alias_one_id_for_ever, template_out_knows_aliases,
           template_out_replaces_whole_templates_and_keeps_the_old_one,
           template_out_removes_what_a_killed_builder_left, template_out_describes_the_template,
           debian_fingerprint_follows_every_input, debian_refuses_package_names_that_are_options)
