/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/launcher/oci_config.h"

#include <jansson.h>

#include "tests/unit/suite.h"

static json_t *config(void)
{
    struct oci_config c = {.envd_source = "/tmp/envd",
                           .id_base = 0x70010000u,
                           .id_cnt = 65536,
                           .shm_bytes = 1048576,
                           .nofile = 1024};
    struct adit_buf text;
    adit_buf_init(&text, OCI_CONFIG_CAP);
    ck_assert_int_eq(oci_config_write(&c, &text, NULL), 0);
    json_t *root = json_loadb(adit_buf_view(&text).ptr, text.len, JSON_REJECT_DUPLICATES, NULL);
    ck_assert_ptr_nonnull(root);
    adit_buf_fini(&text);
    return root;
}

/* Follow object members and array indices. */
static const json_t *at(const json_t *json, const char *path)
{
    struct adit_view part, rest = adit_view_str(path);
    for (bool more = true; more;) {
        char name[64];
        more = adit_view_split(rest, '.', &part, &rest);
        memcpy(name, part.ptr, part.len);
        name[part.len] = '\0';
        json = json_is_array(json) ? json_array_get(json, (size_t)atoi(name))
                                   : json_object_get(json, name);
    }
    ck_assert_msg(json != NULL, "%s", path);
    return json;
}

static bool lists(const json_t *array, const char *word)
{
    for (size_t i = 0; i < json_array_size(array); i++)
        if (strcmp(json_string_value(json_array_get(array, i)), word) == 0)
            return true;
    return false;
}

START_TEST(oci_config_maps_root_to_the_sandbox_range)
{
    json_t *root = config();
    static const char *const maps[] = {"linux.uidMappings.0", "linux.gidMappings.0"};
    for (size_t i = 0; i < 2; i++) {
        const json_t *map = at(root, maps[i]);
        ck_assert_int_eq(json_integer_value(at(map, "containerID")), 0);
        ck_assert_int_eq(json_integer_value(at(map, "hostID")), 0x70010000);
        ck_assert_int_eq(json_integer_value(at(map, "size")), 65536);
    }
    json_decref(root);
}
END_TEST

START_TEST(oci_config_has_every_namespace)
{
    static const char *const names[] = {"user", "pid", "mount", "network", "ipc", "uts", "cgroup"};
    json_t *root = config();
    const json_t *list = at(root, "linux.namespaces");
    ck_assert_uint_eq(json_array_size(list), sizeof(names) / sizeof(names[0]));
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *one = json_array_get(list, i);
        ck_assert_str_eq(json_string_value(at(one, "type")), names[i]);
        ck_assert_ptr_null(json_object_get(one, "path"));
    }
    json_decref(root);
}
END_TEST

START_TEST(oci_config_grants_the_usual_capabilities_and_the_network_only)
{
    static const char *const sets[] = {"bounding", "effective", "permitted"};
    json_t *root = config();
    const json_t *caps = at(root, "process.capabilities");
    ck_assert_uint_eq(json_object_size(caps), 3);
    for (size_t i = 0; i < 3; i++) {
        ck_assert_uint_eq(json_array_size(at(caps, sets[i])), 15);
        ck_assert(!lists(at(caps, sets[i]), "CAP_SYS_ADMIN"));
        ck_assert(lists(at(caps, sets[i]), "CAP_NET_ADMIN"));
        ck_assert(!lists(at(caps, sets[i]), "CAP_SYS_PTRACE"));
    }
    json_decref(root);
}
END_TEST

START_TEST(oci_config_starts_the_agent_on_its_descriptor)
{
    json_t *root = config();
    ck_assert_str_eq(json_string_value(at(root, "process.args.0")), OCI_CONFIG_ENVD);
    ck_assert_str_eq(json_string_value(at(root, "process.args.1")), "--channel-fd");
    ck_assert_str_eq(json_string_value(at(root, "process.args.2")), "3");
    ck_assert_int_eq(json_integer_value(at(root, "process.rlimits.0.hard")), 1024);
    ck_assert_str_eq(json_string_value(at(root, "mounts.6.source")), "/tmp/envd");
    ck_assert(lists(at(root, "mounts.6.options"), "ro"));
    ck_assert(lists(at(root, "mounts.3.options"), "size=1048576"));
    json_decref(root);
}
END_TEST

/* Each call is in one list, and what opens doors is in none that allows. */
START_TEST(oci_config_denies_system_calls_by_default)
{
    static const char *const dangerous[] = {
        "mount",       "unshare",        "setns",           "pivot_root",  "bpf",
        "init_module", "kexec_load",     "reboot",          "swapon",      "open_by_handle_at",
        "keyctl",      "io_uring_setup", "perf_event_open", "userfaultfd", "clone3",
        "socket",      "clone",          "personality"};
    json_t *root = config();
    const json_t *seccomp = at(root, "linux.seccomp");
    const json_t *allowed = at(seccomp, "syscalls.0.names");
    const json_t *refused = at(seccomp, "syscalls.1.names");
    ck_assert_str_eq(json_string_value(at(seccomp, "defaultAction")), "SCMP_ACT_ERRNO");
    ck_assert_str_eq(json_string_value(at(seccomp, "syscalls.1.action")), "SCMP_ACT_ERRNO");
    for (size_t i = 0; i < sizeof(dangerous) / sizeof(dangerous[0]); i++)
        ck_assert_msg(!lists(allowed, dangerous[i]), "%s", dangerous[i]);
    for (size_t i = 0; i < json_array_size(refused); i++)
        ck_assert(!lists(allowed, json_string_value(json_array_get(refused, i))));
    for (size_t i = 2; i < json_array_size(at(seccomp, "syscalls")); i++)
        ck_assert_uint_eq(json_array_size(at(json_array_get(at(seccomp, "syscalls"), i), "args")),
                          1);
    json_decref(root);
}
END_TEST

START_TEST(oci_config_fails_when_it_does_not_fit)
{
    struct oci_config c = {.envd_source = "/tmp/envd", .id_base = 1, .id_cnt = 1};
    struct adit_buf text;
    adit_buf_init(&text, 1024);
    ck_assert_int_eq(oci_config_write(&c, &text, NULL), ADIT_ERR_LIMIT);
    adit_buf_fini(&text);
}
END_TEST

SUITE_MAIN("oci_config", oci_config_maps_root_to_the_sandbox_range, oci_config_has_every_namespace,
           oci_config_grants_the_usual_capabilities_and_the_network_only,
           oci_config_starts_the_agent_on_its_descriptor, oci_config_denies_system_calls_by_default,
           oci_config_fails_when_it_does_not_fit)
