/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rootfs-builder oci: options and order of work; oci_image.c does it.
 *
 * Theory of operation
 *
 * What:  which image a name means today is asked first, which costs one small document, so that
 *        nothing is fetched when the template is up to date.
 * Users: as the image says, else root. Its variables hold for everything that is started in a
 *        sandbox; entry point and command are kept for people, since sandboxes start with nothing.
 */
#include <stdlib.h>
#include <string.h>

#include "rootfs-builder/fingerprint.h"
#include "rootfs-builder/oci_image.h"
#include "rootfs-builder/template_build.h"

static const struct adit_conf_row rows[] = {
    {"alias", ADIT_CONF_STRING, BUILDER_ROW(alias), "", 0, 128, "name of the template"},
    {"user", ADIT_CONF_STRING, BUILDER_ROW(default_user), "", 0, 32,
     "who commands run as; empty: the image's user, or root"},
    {"workdir", ADIT_CONF_STRING, BUILDER_ROW(default_workdir), "", 0, 1023,
     "where commands start; empty: the image's directory, or the user's"},
    {"auth-file", ADIT_CONF_STRING, BUILDER_ROW(auth_file), "", 0, 4000,
     "credentials of registries, as skopeo login writes them"},
    {"max-size", ADIT_CONF_SIZE, BUILDER_ROW(size_max), "16GiB", 1024 * 1024, UINT64_C(1) << 50,
     "largest image, packed or unpacked"},
    {"max-entries", ADIT_CONF_UINT, BUILDER_ROW(entries_max), "1000000", 1, UINT64_C(1) << 32,
     "most files, directories and links of an image"},
    {"timeout", ADIT_CONF_DURATION, BUILDER_ROW(time_max_ms), "30m", 1000, 86400000,
     "longest time to fetch an image, and to unpack it"},
    BUILDER_TEMPLATE_ROWS,
    BUILDER_ROWS_END,
};

static int set_text(char **field, const char *text, struct adit_err *err)
{
    char *copy = strdup(text);
    if (!copy)
        return adit_err_set(err, ADIT_ERR_NO_MEMORY, "no memory");
    free(*field);
    *field = copy;
    return 0;
}

/* What template.json says beside what every template has. */
static int describe(struct builder_conf *conf, const struct oci_document_config *config,
                    struct adit_err *err)
{
    conf->more = json_pack("{s:O, s:O, s:O}", "env", config->env, "entrypoint", config->entrypoint,
                           "cmd", config->cmd);
    return conf->more ? 0 : adit_err_set(err, ADIT_ERR_NO_MEMORY, "no memory");
}

static int unpack(struct builder_conf *conf, const char *work_dir,
                  const struct oci_document_config *config, struct adit_err *err)
{
    char user[OCI_IMAGE_USER_CAP];
    const char *wanted = conf->default_user[0] ? conf->default_user : config->user;
    int rc = conf->default_workdir[0] ? 0 : set_text(&conf->default_workdir, config->dir, err);
    if (!rc)
        rc = oci_image_unpack(conf, work_dir, conf->default_workdir, wanted, user, err);
    if (!rc)
        rc = set_text(&conf->default_user, user, err);
    if (!rc)
        rc = describe(conf, config, err);
    return rc ? rc : oci_image_drop(work_dir, err);
}

static int fill(struct builder_conf *conf, const char *work_dir, void *source, struct adit_err *err)
{
    struct oci_document_config config;
    int rc = oci_image_copy(conf, source, work_dir, &config, err);
    if (rc)
        return rc;
    rc = unpack(conf, work_dir, &config, err);
    oci_document_config_fini(&config);
    return rc;
}

static int add_options(struct adit_buf *inputs, const struct builder_conf *conf, const char *name)
{
    const struct {
        const char *name, *value;
    } texts[] = {{"image", name},
                 {"alias", conf->alias},
                 {"user", conf->default_user},
                 {"dir", conf->default_workdir},
                 {"start", conf->start_cmd},
                 {"ready", conf->ready_cmd}};
    int rc =
        adit_buf_appendf(inputs, "format %d cpu %llu memory %llu disk %llu\n", BUILDER_FORMAT,
                         (unsigned long long)conf->cpu_count, (unsigned long long)conf->memory_mb,
                         (unsigned long long)conf->disk_mb);
    for (size_t i = 0; !rc && i < sizeof(texts) / sizeof(texts[0]); i++)
        rc = fingerprint_add(inputs, texts[i].name, adit_view_str(texts[i].value));
    return rc;
}

static int fingerprint(const struct builder_conf *conf, const struct oci_reference *ref,
                       const char *name, char out[FINGERPRINT_LEN + 1], struct adit_err *err)
{
    struct adit_buf inputs;
    adit_buf_init(&inputs, FINGERPRINT_INPUTS_CAP);
    int rc = add_options(&inputs, conf, name);
    if (rc)
        (void)adit_err_set(err, rc, "options do not fit");
    if (!rc)
        rc = oci_image_identify(conf, ref, &inputs, err);
    if (!rc)
        fingerprint_make(&inputs, out);
    adit_buf_fini(&inputs);
    return rc;
}

static int run(struct builder_conf *conf, char *const *words, struct adit_err *err)
{
    struct oci_reference ref;
    const struct template_source source = {fill, &ref, "from an image"};
    char digest[FINGERPRINT_LEN + 1];
    if (!words[0] || words[1])
        return adit_err_set(err, ADIT_ERR_BAD_INPUT, "one image is to be named");
    if (!conf->alias[0])
        return adit_err_set(err, ADIT_ERR_BAD_INPUT, "--alias is missing");
    int rc = oci_reference_parse(adit_view_str(words[0]), &ref, err);
    if (!rc)
        rc = fingerprint(conf, &ref, words[0], digest, err);
    if (!rc)
        rc = template_build(conf, digest, &source, err);
    json_decref(conf->more);
    return rc;
}

const struct builder_command oci_command = {
    .name = "oci",
    .usage =
        "rootfs-builder oci --alias NAME [OPTIONS] IMAGE   make a template from an OCI image\n",
    .rows = rows,
    .run = run,
};
