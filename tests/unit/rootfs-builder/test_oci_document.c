/* SPDX-License-Identifier: Apache-2.0 */
#include "rootfs-builder/oci_document.h"

#include <stdio.h>
#include <stdlib.h>

#include "rootfs-builder/oci_image.h"

#include "tests/unit/failing_malloc.h"
#include "tests/unit/suite.h"

#define HEX "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define BLOB "{\"digest\":\"sha256:" HEX "\",\"size\":7}"
#define MACHINE "\"architecture\":\"" OCI_DOCUMENT_ARCHITECTURE "\",\"os\":\"linux\""
#define ROOTFS "\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[\"sha256:" HEX "\"]}"

static int read_config(const char *text, size_t layer_cnt, struct oci_document_config *out)
{
    return oci_document_config(adit_view_str(text), layer_cnt, out, NULL);
}

static const char *text_of(const json_t *object, const char *name)
{
    return json_string_value(json_object_get(object, name));
}

START_TEST(oci_document_finds_the_manifest_of_an_index)
{
    struct oci_document_blob blob;
    ck_assert_int_eq(oci_document_index(adit_view_str("{\"manifests\":[" BLOB "]}"), &blob, NULL),
                     0);
    ck_assert_str_eq(blob.hex, HEX);
    ck_assert_uint_eq(blob.size, 7);
}
END_TEST

START_TEST(oci_document_refuses_indices)
{
    static const char *const bad[] = {
        "",
        "[]",
        "{}",
        "{\"manifests\":{}}",
        "{\"manifests\":[]}",
        "{\"manifests\":[" BLOB "," BLOB "]}",
        "{\"manifests\":[" BLOB "],\"manifests\":[" BLOB "]}",
        "{\"manifests\":[{\"digest\":\"sha256:" HEX "\"}]}",
        "{\"manifests\":[{\"digest\":\"sha256:" HEX "\",\"size\":-1}]}",
        "{\"manifests\":[{\"digest\":\"sha256:" HEX "0\",\"size\":1}]}",
        "{\"manifests\":[{\"digest\":\"sha512:" HEX "\",\"size\":1}]}",
        "{\"manifests\":[{\"digest\":\"sha256:../../../../etc/passwd\",\"size\":1}]}",
        "{\"manifests\":[{\"digest\":\"sha256:" HEX "\\u0000\",\"size\":1}]}",
        "{\"manifests\":[7]}",
    };
    struct oci_document_blob blob;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        ck_assert_msg(oci_document_index(adit_view_str(bad[i]), &blob, NULL) == ADIT_ERR_BAD_INPUT,
                      "%s", bad[i]);
}
END_TEST

START_TEST(oci_document_counts_the_layers_of_a_manifest)
{
    struct oci_document_manifest m;
    struct adit_buf text;
    adit_buf_init(&text, OCI_DOCUMENT_CAP);
    ck_assert_int_eq(
        oci_document_manifest(adit_view_str("{\"config\":" BLOB ",\"layers\":[" BLOB "," BLOB "]}"),
                              &m, NULL),
        0);
    ck_assert_uint_eq(m.layer_cnt, 2);
    ck_assert_int_eq(
        oci_document_manifest(adit_view_str("{\"config\":" BLOB ",\"layers\":[7]}"), &m, NULL),
        ADIT_ERR_BAD_INPUT);
    ck_assert_int_eq(oci_document_manifest(adit_view_str("{\"config\":" BLOB "}"), &m, NULL),
                     ADIT_ERR_BAD_INPUT);
    ck_assert_int_eq(oci_document_manifest(adit_view_str("{\"layers\":[]}"), &m, NULL),
                     ADIT_ERR_BAD_INPUT);
    ck_assert_int_eq(adit_buf_append_str(&text, "{\"config\":" BLOB ",\"layers\":[" BLOB), 0);
    for (size_t i = 0; i < OCI_DOCUMENT_LAYERS_MAX; i++)
        ck_assert_int_eq(adit_buf_append_str(&text, "," BLOB), 0);
    ck_assert_int_eq(adit_buf_append_str(&text, "]}"), 0);
    ck_assert_int_eq(oci_document_manifest(adit_buf_view(&text), &m, NULL), ADIT_ERR_BAD_INPUT);
    adit_buf_fini(&text);
}
END_TEST

START_TEST(oci_document_reads_what_a_sandbox_needs)
{
    struct oci_document_config c;
    ck_assert_int_eq(read_config("{" MACHINE "," ROOTFS ",\"config\":{\"User\":\"app:staff\","
                                 "\"WorkingDir\":\"srv\",\"ExposedPorts\":{\"80/tcp\":{}},"
                                 "\"Env\":[\"A=1\",\"B=x=y\",\"A=2\",\"EMPTY=\",\"none\",\"=x\"],"
                                 "\"Entrypoint\":[\"/bin/a\",\"b c\"],\"Cmd\":null}}",
                                 1, &c),
                     0);
    ck_assert_str_eq(c.user, "app:staff");
    ck_assert_str_eq(c.dir, "/srv");
    ck_assert_uint_eq(json_object_size(c.env), 3);
    ck_assert_str_eq(text_of(c.env, "A"), "2");
    ck_assert_str_eq(text_of(c.env, "B"), "x=y");
    ck_assert_str_eq(text_of(c.env, "EMPTY"), "");
    ck_assert_uint_eq(json_array_size(c.entrypoint), 2);
    ck_assert_uint_eq(json_array_size(c.cmd), 0);
    oci_document_config_fini(&c);
    ck_assert_int_eq(read_config("{" MACHINE ",\"rootfs\":{\"type\":\"layers\","
                                 "\"diff_ids\":null},\"config\":null}",
                                 0, &c),
                     0);
    ck_assert_str_eq(c.user, "");
    ck_assert_str_eq(c.dir, "");
    oci_document_config_fini(&c);
}
END_TEST

START_TEST(oci_document_refuses_configurations)
{
    static const char *const bad[] = {
        "{}",
        "{" MACHINE "}",
        "{\"architecture\":\"s390x\",\"os\":\"linux\"," ROOTFS "}",
        "{\"architecture\":\"" OCI_DOCUMENT_ARCHITECTURE "\",\"os\":\"windows\"," ROOTFS "}",
        "{" MACHINE ",\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[]}}",
        "{" MACHINE ",\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[\"x\"]}}",
        "{" MACHINE ",\"rootfs\":{\"type\":\"tree\",\"diff_ids\":[\"sha256:" HEX "\"]}}",
        "{" MACHINE "," ROOTFS ",\"config\":[]}",
        "{" MACHINE "," ROOTFS ",\"config\":{\"User\":7}}",
        "{" MACHINE "," ROOTFS ",\"config\":{\"User\":\"" HEX "\"}}",
        "{" MACHINE "," ROOTFS ",\"config\":{\"WorkingDir\":[]}}",
        "{" MACHINE "," ROOTFS ",\"config\":{\"Env\":{}}}",
        "{" MACHINE "," ROOTFS ",\"config\":{\"Env\":[7]}}",
        "{" MACHINE "," ROOTFS ",\"config\":{\"Env\":[\"A=\\u0000\"]}}",
        "{" MACHINE "," ROOTFS ",\"config\":{\"Cmd\":\"sh\"}}",
    };
    struct oci_document_config c;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        ck_assert_msg(read_config(bad[i], 1, &c) == ADIT_ERR_BAD_INPUT, "%s", bad[i]);
}
END_TEST

/* @cnt variables of @len bytes each. */
static int read_env(size_t cnt, size_t len)
{
    struct oci_document_config c;
    struct adit_buf text;
    adit_buf_init(&text, OCI_DOCUMENT_CAP);
    ck_assert_int_eq(adit_buf_append_str(&text, "{" MACHINE "," ROOTFS ",\"config\":{\"Env\":["),
                     0);
    for (size_t i = 0; i < cnt; i++)
        ck_assert_int_eq(
            adit_buf_appendf(&text, "%s\"A%05zu=%0*d\"", i ? "," : "", i, (int)len - 7, 0), 0);
    ck_assert_int_eq(adit_buf_append_str(&text, "]}}"), 0);
    int rc = oci_document_config(adit_buf_view(&text), 1, &c, NULL);
    if (!rc)
        oci_document_config_fini(&c);
    adit_buf_fini(&text);
    return rc;
}

START_TEST(oci_document_bounds_the_variables)
{
    ck_assert_int_eq(read_env(OCI_DOCUMENT_ENV_MAX, 8), 0);
    ck_assert_int_eq(read_env(OCI_DOCUMENT_ENV_MAX + 1, 8), ADIT_ERR_BAD_INPUT);
    ck_assert_int_eq(read_env(1, OCI_DOCUMENT_TEXTS_CAP), 0);
    ck_assert_int_eq(read_env(1, OCI_DOCUMENT_TEXTS_CAP + 1), ADIT_ERR_BAD_INPUT);
}
END_TEST

START_TEST(oci_document_bears_that_there_is_no_memory)
{
    static const char text[] = "{" MACHINE "," ROOTFS ",\"config\":{\"User\":\"app\","
                               "\"Env\":[\"A=1\",\"B=2\"],\"Entrypoint\":[\"a\"]}}";
    struct oci_document_config c;
    int rc = ADIT_ERR_NO_MEMORY;
    if (!FAILING_MALLOC) {
        suite_skip("oci_document_bears_that_there_is_no_memory", FAILING_MALLOC_NEEDS);
        return;
    }
    for (long n = 1; rc; n++) {
        failing_malloc.countdown = n;
        rc = read_config(text, 1, &c);
        failing_malloc.countdown = 0;
        ck_assert(rc == 0 || rc == ADIT_ERR_NO_MEMORY);
        ck_assert_int_lt(n, 500);
    }
    oci_document_config_fini(&c);
}
END_TEST

static int user_of(const char *wanted, char user[OCI_IMAGE_USER_CAP])
{
    static const char passwd[] = "root:x:0:0::/root:/bin/sh\n"
                                 "app:x:7000:7000::/home/app:/bin/sh\n"
                                 "odd name:x:7001:7001::/:/bin/sh\n";
    return oci_image_user(adit_view_str(passwd), adit_view_str(wanted), user, NULL);
}

START_TEST(oci_image_names_the_user)
{
    static const struct {
        const char *wanted, *user;
    } good[] = {{"", "root"},       {"root", "root"}, {"0", "root"},     {"0:0", "root"},
                {"app", "app"},     {"7000", "app"},  {"7000:7", "app"}, {"app:x", "app"},
                {"65532", "65532"}, {"7001", "7001"}, {":5", "root"}};
    static const char *const bad[] = {"nobody", "APP", "0x0", "4294967295", "65536",
                                      " root",  "-1",  "00",  "odd name"};
    char user[OCI_IMAGE_USER_CAP];
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        ck_assert_int_eq(user_of(good[i].wanted, user), 0);
        ck_assert_str_eq(user, good[i].user);
    }
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        ck_assert_msg(user_of(bad[i], user) == ADIT_ERR_BAD_INPUT, "%s", bad[i]);
}
END_TEST

SUITE_MAIN("oci_document", oci_document_finds_the_manifest_of_an_index,
           oci_document_refuses_indices, oci_document_counts_the_layers_of_a_manifest,
           oci_document_reads_what_a_sandbox_needs, oci_document_refuses_configurations,
           oci_document_bounds_the_variables, oci_document_bears_that_there_is_no_memory,
           oci_image_names_the_user)
