/* SPDX-License-Identifier: Apache-2.0 */
/* What the rooms of rootfs-builder share: its commands and their options. */
#ifndef ROOTFS_BUILDER_BUILDER_H
#define ROOTFS_BUILDER_BUILDER_H

#include <stddef.h>
#include <stdint.h>

#include "base/conf.h"
#include "base/json.h"

/* Counts up when a template that is built from the same options comes out differently. */
#define BUILDER_FORMAT 2

/* Default of --out for templates, and the largest disk in MiB. */
#define BUILDER_TEMPLATES_DIR "/var/lib/adit/templates"
#define BUILDER_DISK_MB_MAX 1073741824

/* Filled from the options' table of the command; strings are owned by it. What a command has no
 * option for is zero. @more: further members of template.json, the command's; or NULL */
struct builder_conf {
    char *alias, *out, *suite, *packages;
    uint64_t cpu_count, memory_mb, disk_mb;
    char *default_user, *default_workdir, *start_cmd, *ready_cmd, *isolation;
    bool image;
    char *kernel, *kernel_package, *modules, *load, *envd;
    char *auth_file;
    uint64_t size_max, entries_max, time_max_ms;
    json_t *more;
};

#define BUILDER_ROW(field) offsetof(struct builder_conf, field)
#define BUILDER_ROWS_END                                                                           \
    {                                                                                              \
        NULL, ADIT_CONF_STRING, 0, NULL, 0, 0, NULL                                                \
    }

/* Options of every command that makes a template. */
#define BUILDER_TEMPLATE_ROWS                                                                      \
    {"out",                                                                                        \
     ADIT_CONF_STRING,                                                                             \
     BUILDER_ROW(out),                                                                             \
     BUILDER_TEMPLATES_DIR,                                                                        \
     1,                                                                                            \
     3000,                                                                                         \
     "templates directory; the template is <out>/<template id>"},                                  \
        {"cpu", ADIT_CONF_UINT, BUILDER_ROW(cpu_count), "2", 1, 1024, "CPUs of a sandbox"},        \
        {"memory", ADIT_CONF_UINT, BUILDER_ROW(memory_mb),      "512",                             \
         128,      16777216,       "memory of a sandbox in MiB"},                                  \
        {"disk", ADIT_CONF_UINT,      BUILDER_ROW(disk_mb),      "2048",                           \
         0,      BUILDER_DISK_MB_MAX, "disk of a sandbox in MiB"},                                 \
        {"image",                                                                                  \
         ADIT_CONF_BOOL,                                                                           \
         BUILDER_ROW(image),                                                                       \
         "true",                                                                                   \
         0,                                                                                        \
         0,                                                                                        \
         "make the disks of virtual machines too"},                                                \
        {"isolation",                                                                              \
         ADIT_CONF_STRING,                                                                         \
         BUILDER_ROW(isolation),                                                                   \
         "",                                                                                       \
         0,                                                                                        \
         15,                                                                                       \
         "what its sandboxes run in unless a create says it: vm, container, gvisor (default: "     \
         "what the host takes)"},                                                                  \
        {"start-cmd",                                                                              \
         ADIT_CONF_STRING,                                                                         \
         BUILDER_ROW(start_cmd),                                                                   \
         "",                                                                                       \
         0,                                                                                        \
         4095,                                                                                     \
         "command started in each sandbox"},                                                       \
    {                                                                                              \
        "ready-cmd", ADIT_CONF_STRING, BUILDER_ROW(ready_cmd), "", 0, 4095,                        \
            "command whose success says that the sandbox is ready"                                 \
    }

/*
 * What rootfs-builder can be told to do; one `const struct builder_command <name>_command` a file,
 * listed in main.c.
 * @usage: of --help, one line a form, each with its end of line
 * @rows:  the command's options
 * @run:   @words are the arguments after the options, ending with NULL. Errors are said by main.
 */
struct builder_command {
    const char *name, *usage;
    const struct adit_conf_row *rows;
    int (*run)(struct builder_conf *conf, char *const *words, struct adit_err *err);
};

#endif
