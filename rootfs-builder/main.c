/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rootfs-builder: makes templates for sandboxes.
 *
 * Theory of operation
 *
 * What:    one source so far: `rootfs-builder debian`. A template is built in a folder of its own
 * and put in place when it is whole; if the same inputs built the one that is there, nothing is
 * done. Failure: the folder is removed, the message says what failed, exit status 1; 2 for wrong
 * usage.
 */
#include <errno.h>
#include <ftw.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/conf.h"
#include "rootfs-builder/debian.h"

#define ROW(field) offsetof(struct builder_conf, field)

static const struct adit_conf_row rows[] = {
    {"alias", ADIT_CONF_STRING, ROW(alias), "base", 1, 128, "name of the template"},
    {"out", ADIT_CONF_STRING, ROW(out), "/var/lib/adit/templates", 1, 3000,
     "templates directory; the template is <out>/<template id>"},
    {"suite", ADIT_CONF_STRING, ROW(suite), "bookworm", 1, 64, "Debian release"},
    {"packages", ADIT_CONF_STRING, ROW(packages), "", 0, 3000,
     "more packages, separated by commas"},
    {"cpu", ADIT_CONF_UINT, ROW(cpu_count), "2", 1, 1024, "CPUs of a sandbox"},
    {"memory", ADIT_CONF_UINT, ROW(memory_mb), "512", 128, 16777216, "memory of a sandbox in MiB"},
    {"disk", ADIT_CONF_UINT, ROW(disk_mb), "2048", 0, 1073741824, "disk of a sandbox in MiB"},
    {"user", ADIT_CONF_STRING, ROW(default_user), "user", 1, 32, "who commands run as"},
    {"workdir", ADIT_CONF_STRING, ROW(default_workdir), "/home/user", 1, 1023,
     "where commands start"},
    {"start-cmd", ADIT_CONF_STRING, ROW(start_cmd), "", 0, 4095, "command started in each sandbox"},
    {"ready-cmd", ADIT_CONF_STRING, ROW(ready_cmd), "", 0, 4095,
     "command whose success says that the sandbox is ready"},
    {NULL, ADIT_CONF_STRING, 0, NULL, 0, 0, NULL},
};

static const struct adit_conf_spec spec = {
    .program = "rootfs-builder",
    .usage = "rootfs-builder debian [OPTIONS]   make a template from Debian packages\n",
    .env_prefix = "ADIT_BUILDER",
    .file = NULL,
    .rows = rows,
};

static uint64_t tree_bytes;

static int add_size(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)path;
    (void)type;
    (void)ftw;
    tree_bytes += (uint64_t)st->st_blocks * 512;
    return 0;
}

static int check_conf(const struct builder_conf *conf, struct adit_err *err)
{
    if (!template_out_is_alias(adit_view_str(conf->alias)))
        return adit_err_set(err, ADIT_ERR_BAD_INPUT, "alias: only a-z, 0-9, _ and - are allowed");
    if (!debian_is_package_list(adit_view_str(conf->packages)) ||
        !debian_is_package_list(adit_view_str(conf->suite)) || strchr(conf->suite, ','))
        return adit_err_set(err, ADIT_ERR_BAD_INPUT, "packages or suite: not a list of names");
    if (conf->default_workdir[0] != '/')
        return adit_err_set(err, ADIT_ERR_BAD_INPUT, "workdir: not an absolute path");
    return 0;
}

static int build(const struct builder_conf *conf, const struct apt_host *apt,
                 struct template_out *t, struct adit_err *err)
{
    char work_dir[3100], old_name[64];
    uint64_t start_ns = adit_clock_mono_ns();
    int rc = template_out_begin(t, err);
    if (rc)
        return rc;
    (void)snprintf(work_dir, sizeof(work_dir), "%s/%s", conf->out, t->work);
    fprintf(stderr, "rootfs-builder: building template %s (%s), about a minute\n", conf->alias,
            t->template_id);
    rc = debian_build(conf, apt, t, work_dir, err);
    if (!rc)
        (void)nftw(work_dir, add_size, 32, FTW_PHYS | FTW_MOUNT); /* only a figure for people */
    if (!rc)
        rc = template_out_commit(t, conf, old_name, err);
    if (rc) {
        template_out_abandon(t);
        return rc;
    }
    fprintf(stderr, "rootfs-builder: template %s (%s): %llu MiB in %llu s\n", conf->alias,
            t->template_id, (unsigned long long)tree_bytes >> 20,
            (unsigned long long)(adit_clock_mono_ns() - start_ns) / 1000000000);
    if (old_name[0])
        fprintf(stderr,
                "rootfs-builder: %s/%s is the former root; remove it when no sandbox of it runs\n",
                conf->out, old_name);
    return 0;
}

static int make_template(const struct builder_conf *conf, struct adit_err *err)
{
    struct apt_host apt;
    struct template_out t;
    char fingerprint[TEMPLATE_OUT_FINGERPRINT_LEN + 1];
    int rc = check_conf(conf, err);
    if (!rc)
        rc = apt_host_read(&apt, "/etc/apt", conf->suite, err);
    if (rc)
        return rc;
    rc = debian_fingerprint(conf, &apt, fingerprint, err);
    if (!rc)
        rc = template_out_open(&t, conf, fingerprint, err);
    if (!rc) {
        if (template_out_is_current(&t))
            fprintf(stderr, "rootfs-builder: template %s (%s) is up to date\n", conf->alias,
                    t.template_id);
        else
            rc = build(conf, &apt, &t, err);
        template_out_close(&t);
    }
    apt_host_free(&apt);
    return rc;
}

int main(int argc, char **argv)
{
    struct builder_conf conf;
    struct adit_err err = ADIT_ERR_INIT;
    int rest = 0, info = 0;
    bool is_debian = argc > 1 && strcmp(argv[1], "debian") == 0;
    int skip = is_debian ? 1 : 0;

    (void)signal(SIGPIPE, SIG_IGN); /* always valid */
    int rc = adit_conf_load(&spec, argc - skip, argv + skip, &conf, &rest, &info, &err);
    if (rc) {
        fprintf(stderr, "rootfs-builder: %s\n", err.msg);
        return 2;
    }
    if (info) {
        adit_conf_inform(&spec, info, ADIT_VERSION);
    } else if (!is_debian || rest < argc - skip) {
        fprintf(stderr, "%s", spec.usage);
        rc = 2;
    } else if (make_template(&conf, &err)) {
        fprintf(stderr, "rootfs-builder: %s\n", err.msg);
        rc = 1;
    }
    adit_conf_fini(&spec, &conf);
    return rc;
}
