/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rootfs-builder image: disks for templates that have none.
 *
 * Theory of operation
 *
 * What:    goes through the templates directory, or through the templates that are named, by id or
 * alias of any spelling that is a folder's name there. Every build ends with its images; this is
 * for trees that were put there by hand or by an earlier version.
 * Locking: that of the templates directory, so that no template is replaced meanwhile.
 */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/conf.h"
#include "rootfs-builder/image.h"
#include "rootfs-builder/template_out.h"

static const struct adit_conf_row rows[] = {
    {"out", ADIT_CONF_STRING, BUILDER_ROW(out), BUILDER_TEMPLATES_DIR, 1, 3000,
     "templates directory"},
    BUILDER_ROWS_END,
};

/* @name: of a folder, or an alias. */
static int complete(const struct builder_conf *conf, const char *name, struct adit_err *err)
{
    char dir[3400], id[TEMPLATE_OUT_ID_LEN + 1];
    bool is_made;
    (void)snprintf(dir, sizeof(dir), "%s/%s/template.json", conf->out, name);
    if (strchr(name, '/') || access(dir, F_OK) != 0)
        template_out_id(name, id);
    else
        (void)snprintf(id, sizeof(id), "%s", name);
    (void)snprintf(dir, sizeof(dir), "%s/%s", conf->out, id);
    int rc = image_complete(dir, &is_made, err);
    if (!rc)
        fprintf(stderr, "rootfs-builder: template %s %s its images\n", name,
                is_made ? "has now" : "has");
    return rc ? adit_err_wrap(err, "template %s", name) : 0;
}

static int is_template(const struct dirent *entry)
{
    return entry->d_name[0] != '.' && entry->d_type == DT_DIR;
}

static int complete_all(const struct builder_conf *conf, struct adit_err *err)
{
    struct dirent **names;
    int rc = 0, cnt = scandir(conf->out, &names, is_template, alphasort);
    if (cnt < 0)
        return adit_err_sys(err, errno, "read %s", conf->out);
    for (int i = 0; i < cnt; i++) {
        if (!rc)
            rc = complete(conf, names[i]->d_name, err);
        free(names[i]);
    }
    free(names);
    return rc;
}

static int run(struct builder_conf *conf, char *const *words, struct adit_err *err)
{
    struct template_out t;
    int rc = template_out_lock(&t, conf->out, err);
    if (rc)
        return rc;
    if (!words[0])
        rc = complete_all(conf, err);
    for (; words[0] && !rc; words++)
        rc = complete(conf, words[0], err);
    template_out_close(&t);
    return rc;
}

const struct builder_command image_command = {
    .name = "image",
    .usage =
        "rootfs-builder image [OPTIONS] [TEMPLATE…]   make disks for templates that have none\n",
    .rows = rows,
    .run = run,
};
