/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Making a template, whatever it is made from.
 *
 * Theory of operation
 *
 * What:    a template is built in a folder of its own and put in place when it is whole; if the
 * same inputs built the one that is there, nothing is done.
 * Failure: the folder is removed, and what was in place stays.
 */
#include "rootfs-builder/template_build.h"

#include <ftw.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "rootfs-builder/image.h"
#include "rootfs-builder/template_root.h"

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
    if (conf->default_workdir && conf->default_workdir[0] && conf->default_workdir[0] != '/')
        return adit_err_set(err, ADIT_ERR_BAD_INPUT, "workdir: not an absolute path");
    if (conf->isolation && conf->isolation[0] && strcmp(conf->isolation, "vm") != 0 &&
        strcmp(conf->isolation, "container") != 0 && strcmp(conf->isolation, "gvisor") != 0)
        return adit_err_set(err, ADIT_ERR_BAD_INPUT, "isolation: vm, container or gvisor");
    return 0;
}

static void report(const struct builder_conf *conf, const struct template_out *t,
                   const char *old_name, uint64_t start_ns)
{
    fprintf(stderr, "rootfs-builder: template %s (%s): %llu MiB in %llu s\n", conf->alias,
            t->template_id, (unsigned long long)tree_bytes >> 20,
            (unsigned long long)(adit_clock_mono_ns() - start_ns) / 1000000000);
    if (old_name[0])
        fprintf(stderr,
                "rootfs-builder: %s/%s is the former root; remove it when no sandbox of it runs\n",
                conf->out, old_name);
}

static int build(struct builder_conf *conf, const struct template_source *from,
                 struct template_out *t, struct adit_err *err)
{
    char work_dir[3100], old_name[64];
    uint64_t start_ns = adit_clock_mono_ns();
    int rc = template_out_begin(t, err);
    if (rc)
        return rc;
    (void)snprintf(work_dir, sizeof(work_dir), "%s/%s", conf->out, t->work);
    fprintf(stderr, "rootfs-builder: building template %s (%s), %s\n", conf->alias, t->template_id,
            from->note);
    rc = from->fill(conf, work_dir, from->source, err);
    if (!rc)
        rc = template_root_finish(t, work_dir, err);
    if (!rc)
        (void)nftw(work_dir, add_size, 32, FTW_PHYS | FTW_MOUNT); /* only a figure for people */
    if (!rc && conf->image)
        rc = image_make(work_dir, t->build_id, conf->disk_mb, err);
    if (!rc)
        rc = template_out_commit(t, conf, old_name, err);
    if (rc) {
        template_out_abandon(t);
        return rc;
    }
    report(conf, t, old_name, start_ns);
    return 0;
}

/* It may have been built by a version that made no disks, or without them. */
static int keep(const struct builder_conf *conf, const struct template_out *t, struct adit_err *err)
{
    char dir[3100];
    bool is_made = false;
    (void)snprintf(dir, sizeof(dir), "%s/%s", conf->out, t->template_id);
    int rc = conf->image ? image_complete(dir, &is_made, err) : 0;
    if (!rc)
        fprintf(stderr, "rootfs-builder: template %s (%s) is up to date%s\n", conf->alias,
                t->template_id, is_made ? ", and has images now" : "");
    return rc;
}

int template_build(struct builder_conf *conf,
                   const char fingerprint[TEMPLATE_OUT_FINGERPRINT_LEN + 1],
                   const struct template_source *from, struct adit_err *err)
{
    struct template_out t;
    int rc = check_conf(conf, err);
    if (!rc)
        rc = template_out_open(&t, conf, fingerprint, err);
    if (rc)
        return rc;
    rc = template_out_is_current(&t) ? keep(conf, &t, err) : build(conf, from, &t, err);
    template_out_close(&t);
    return rc;
}
