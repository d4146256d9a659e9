/* SPDX-License-Identifier: Apache-2.0 */
#include "rootfs-builder/oci_reference.h"

#include "tests/unit/suite.h"

static void check(const char *text, const char *transport, const char *path, const char *source)
{
    struct oci_reference r;
    char got[OCI_REFERENCE_CAP + 32];
    ck_assert_int_eq(oci_reference_parse(adit_view_str(text), &r, NULL), 0);
    oci_reference_source(&r, got);
    ck_assert_str_eq(r.transport, transport);
    ck_assert_str_eq(r.path, path);
    ck_assert_str_eq(got, source);
    ck_assert(oci_reference_is_local(&r) == (path[0] != '\0'));
}

START_TEST(oci_reference_knows_what_users_of_skopeo_write)
{
    check("docker://quay.io/a/b:1.2", "docker", "", "docker://quay.io/a/b:1.2");
    check("oci:/images/a", "oci", "/images/a", "oci:/source");
    check("oci:images/a:v1", "oci", "images/a", "oci:/source:v1");
    check("oci-archive:a.tar:v1", "oci-archive", "a.tar", "oci-archive:/source:v1");
    check("docker-archive:/a.tar", "docker-archive", "/a.tar", "docker-archive:/source");
    check("docker-archive:/a.tar:x/y:z", "docker-archive", "/a.tar",
          "docker-archive:/source:x/y:z");
}
END_TEST

START_TEST(oci_reference_takes_a_plain_name_as_docker_does)
{
    check("alpine", "docker", "", "docker://alpine");
    check("alpine:3.19", "docker", "", "docker://alpine:3.19");
    check("localhost:5000/a/b:1", "docker", "", "docker://localhost:5000/a/b:1");
    check("a/b@sha256:00ff", "docker", "", "docker://a/b@sha256:00ff");
}
END_TEST

START_TEST(oci_reference_takes_a_path_as_a_layout)
{
    check("/images/a", "oci", "/images/a", "oci:/source");
    check("./a:tag", "oci", "./a", "oci:/source:tag");
    check("../a", "oci", "../a", "oci:/source");
}
END_TEST

START_TEST(oci_reference_refuses_everything_else)
{
    static const char *const bad[] = {
        "",           "oci:",         "oci::tag",      "docker://",     "docker://-x",
        "-x",         "a b",          "a\nb",          "docker://a\"b", "containers-storage:a b",
        "ftp://a",    "http://a/b:1", "docker://a b",  "oci-archive:",  "docker-archive::x",
        "alpine\x7f", "a;b",          "docker://a$(b)"};
    struct oci_reference r;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        ck_assert_msg(oci_reference_parse(adit_view_str(bad[i]), &r, NULL) == ADIT_ERR_BAD_INPUT,
                      "%s", bad[i]);
    char text[OCI_REFERENCE_CAP + 1];
    memset(text, 'a', sizeof(text));
    ck_assert_int_eq(oci_reference_parse(adit_view_mem(text, OCI_REFERENCE_CAP), &r, NULL),
                     ADIT_ERR_BAD_INPUT);
    ck_assert_int_eq(oci_reference_parse(adit_view_mem(text, OCI_REFERENCE_CAP - 1), &r, NULL), 0);
}
END_TEST

SUITE_MAIN("oci_reference", oci_reference_knows_what_users_of_skopeo_write,
           oci_reference_takes_a_plain_name_as_docker_does, oci_reference_takes_a_path_as_a_layout,
           oci_reference_refuses_everything_else)
