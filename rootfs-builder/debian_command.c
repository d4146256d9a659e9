/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rootfs-builder debian: options and order of work; debian.c does it.
 *
 * Theory of operation
 *
 * What:    the fingerprint is of the options and of the host's package sources, so nothing is
 * fetched to see that a template is up to date.
 */
#include "rootfs-builder/debian.h"

#include "rootfs-builder/template_build.h"

static const struct adit_conf_row rows[] = {
    {"alias", ADIT_CONF_STRING, BUILDER_ROW(alias), "base", 1, 128, "name of the template"},
    {"suite", ADIT_CONF_STRING, BUILDER_ROW(suite), "bookworm", 1, 64, "Debian release"},
    {"packages", ADIT_CONF_STRING, BUILDER_ROW(packages), "", 0, 3000,
     "more packages, separated by commas"},
    {"user", ADIT_CONF_STRING, BUILDER_ROW(default_user), "user", 1, 32, "who commands run as"},
    {"workdir", ADIT_CONF_STRING, BUILDER_ROW(default_workdir), "/home/user", 1, 1023,
     "where commands start"},
    BUILDER_TEMPLATE_ROWS,
    BUILDER_ROWS_END,
};

static int fill(struct builder_conf *conf, const char *work_dir, void *source, struct adit_err *err)
{
    return debian_build(conf, source, work_dir, err);
}

static int run(struct builder_conf *conf, char *const *words, struct adit_err *err)
{
    struct apt_host apt;
    const struct template_source source = {fill, &apt, "about a minute"};
    char fingerprint[TEMPLATE_OUT_FINGERPRINT_LEN + 1];
    if (words[0])
        return adit_err_set(err, ADIT_ERR_BAD_INPUT, "unexpected argument '%s'", words[0]);
    if (!debian_is_package_list(adit_view_str(conf->packages)) ||
        !debian_is_package_list(adit_view_str(conf->suite)) || strchr(conf->suite, ','))
        return adit_err_set(err, ADIT_ERR_BAD_INPUT, "packages or suite: not a list of names");
    int rc = apt_host_read(&apt, "/etc/apt", conf->suite, err);
    if (rc)
        return rc;
    rc = debian_fingerprint(conf, &apt, fingerprint, err);
    if (!rc)
        rc = template_build(conf, fingerprint, &source, err);
    apt_host_free(&apt);
    return rc;
}

const struct builder_command debian_command = {
    .name = "debian",
    .usage = "rootfs-builder debian [OPTIONS]   make a template from Debian packages\n",
    .rows = rows,
    .run = run,
};
