/* SPDX-License-Identifier: Apache-2.0 */
#include "rootfs-builder/image.h"

#include <string.h>

#include "rootfs-builder/template_out.h"
#include "tests/unit/envd/scratch.h"
#include "tests/unit/suite.h"

#define UUID "8f14e45f-ceea-467f-ab2b-0123456789ab"

static struct adit_err err;

static bool has_tools(void)
{
    static const char look[] = "PATH=/usr/sbin:/sbin:$PATH; command -v mkfs.erofs >/dev/null && "
                               "command -v mkfs.ext4 >/dev/null";
    bool is_there = system(look) == 0; /* NOLINT: a fixed command */
    if (!is_there)
        printf("# erofs-utils or e2fsprogs is not installed: no images\n");
    return is_there;
}

static void write_tree(void)
{
    static const char json[] = "{\"build_id\":\"" UUID "\",\"disk_mb\":64}";
    ck_assert_int_eq(mkdir(scratch("root"), 0755), 0);
    ck_assert_int_eq(mkdir(scratch("root/etc"), 0700), 0);
    scratch_write("root/etc/file", "content", 7);
    ck_assert_int_eq(symlink("etc/file", scratch("root/link")), 0);
    scratch_write("template.json", json, strlen(json));
}

START_TEST(image_of_the_same_tree_is_the_same_root)
{
    char command[512];
    if (!has_tools())
        return;
    write_tree();
    ck_assert_int_eq(image_make(scratch_dir, UUID, 0, &err), 0);
    ck_assert_int_eq(rename(scratch(IMAGE_ROOT), scratch("first")), 0);
    ck_assert_int_eq(image_make(scratch_dir, UUID, 0, &err), 0);
    (void)snprintf(command, sizeof command, "cmp %s/first %s/" IMAGE_ROOT, scratch_dir,
                   scratch_dir);
    ck_assert_int_eq(system(command), 0); /* NOLINT: a fixed command */
    ck_assert(!scratch_exists(IMAGE_OVERLAY));
}
END_TEST

START_TEST(image_overlay_is_sparse_and_of_the_size_asked_for)
{
    struct stat st;
    if (!has_tools())
        return;
    write_tree();
    ck_assert_int_eq(image_make(scratch_dir, UUID, 1024, &err), 0);
    ck_assert_int_eq(stat(scratch(IMAGE_OVERLAY), &st), 0);
    ck_assert_int_eq(st.st_size, (off_t)1024 << 20);
    ck_assert_int_lt(st.st_blocks * 512, 4 << 20);
    ck_assert_int_eq(scratch_count(scratch_dir), 4);
}
END_TEST

START_TEST(image_is_made_where_it_is_missing)
{
    bool is_made;
    if (!has_tools())
        return;
    write_tree();
    ck_assert_int_eq(image_complete(scratch_dir, &is_made, &err), 0);
    ck_assert(is_made && scratch_exists(IMAGE_ROOT) && scratch_exists(IMAGE_OVERLAY));
    ck_assert_int_eq(image_complete(scratch_dir, &is_made, &err), 0);
    ck_assert(!is_made);
    ck_assert_int_eq(unlink(scratch(IMAGE_OVERLAY)), 0);
    ck_assert_int_eq(image_complete(scratch_dir, &is_made, &err), 0);
    ck_assert(is_made && scratch_exists(IMAGE_OVERLAY));
}
END_TEST

START_TEST(image_needs_a_template)
{
    bool is_made;
    ck_assert_int_eq(image_complete(scratch_dir, &is_made, &err), ADIT_ERR_NOT_FOUND);
    static const char *const bad[] = {"",
                                      "[]",
                                      "{}",
                                      "{\"build_id\":\"short\",\"disk_mb\":1}",
                                      "{\"build_id\":\"" UUID "\",\"disk_mb\":-1}",
                                      "{\"build_id\":\"" UUID "\",\"disk_mb\":1073741825}"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        scratch_write("template.json", bad[i], strlen(bad[i]));
        ck_assert_msg(image_complete(scratch_dir, &is_made, &err) == ADIT_ERR_BAD_INPUT, "%s",
                      bad[i]);
    }
    ck_assert_int_eq(image_complete(scratch("none"), &is_made, &err), ADIT_ERR_NOT_FOUND);
}
END_TEST

START_TEST(image_command_finds_templates_by_id_and_alias)
{
    char out[128], id[TEMPLATE_OUT_ID_LEN + 1], name[64], by_alias[] = "base", other[] = "other";
    char *const words[] = {by_alias, NULL}, *const missing[] = {other, NULL};
    struct builder_conf conf = {.out = out};
    if (!has_tools())
        return;
    (void)snprintf(out, sizeof out, "%s", scratch("templates"));
    template_out_id("base", id);
    ck_assert_int_eq(mkdir(out, 0755), 0);
    write_tree();
    (void)snprintf(name, sizeof name, "templates/%s", id);
    ck_assert_int_eq(mkdir(scratch(name), 0755), 0);
    (void)snprintf(name, sizeof name, "templates/%s/root", id);
    ck_assert_int_eq(rename(scratch("root"), scratch(name)), 0);
    (void)snprintf(name, sizeof name, "templates/%s/template.json", id);
    ck_assert_int_eq(rename(scratch("template.json"), scratch(name)), 0);
    (void)snprintf(name, sizeof name, "templates/%s/" IMAGE_ROOT, id);
    ck_assert_int_eq(image_command.run(&conf, missing, &err), ADIT_ERR_NOT_FOUND);
    ck_assert_int_eq(image_command.run(&conf, words, &err), 0);
    ck_assert(scratch_exists(name));
    ck_assert_int_eq(unlink(scratch(name)), 0);
    ck_assert_int_eq(image_command.run(&conf, (char *const[]){NULL}, &err), 0);
    ck_assert(scratch_exists(name));
}
END_TEST

SUITE_MAIN_WITH("image", .fixtures = {{scratch_setup, scratch_teardown}},
                TESTS(image_of_the_same_tree_is_the_same_root,
                      image_overlay_is_sparse_and_of_the_size_asked_for,
                      image_is_made_where_it_is_missing, image_needs_a_template,
                      image_command_finds_templates_by_id_and_alias))
