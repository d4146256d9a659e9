/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading what an image says of itself.
 *
 * Theory of operation
 *
 * What:   index.json names a manifest, that a configuration and layers, the configuration users,
 *         variables and commands. An index of indices does not occur: skopeo has chosen the image
 *         for this machine when the layout was made, so there is no graph to walk and no loop.
 * Trust:  hostile throughout. Digests have one spelling, since they become names of files; texts
 *         are bounded; what is not what the specification says is refused, members that it does not
 *         know are ignored, and null is as if it were not there, as Go writes it.
 * Limits: size of a document, layers, variables, words; see the header. jansson bounds nesting.
 * Not:    ExposedPorts, Volumes, Healthcheck and the like: every port of a sandbox can be reached.
 */
#include "rootfs-builder/oci_document.h"

#include <string.h>

static int refuse(const char *why, struct adit_err *err)
{
    return adit_err_set(err, ADIT_ERR_BAD_INPUT, "image: %s", why);
}

static int no_memory(struct adit_err *err)
{
    return adit_err_set(err, ADIT_ERR_NO_MEMORY, "no memory for an image's description");
}

static int load(struct adit_view text, json_t **out, struct adit_err *err)
{
    json_error_t why;
    if (text.len > OCI_DOCUMENT_CAP)
        return refuse("a description is too large", err);
    json_t *root = adit_json_load(text, JSON_REJECT_DUPLICATES, &why);
    if (!root && json_error_code(&why) == json_error_out_of_memory)
        return no_memory(err);
    if (!json_is_object(root)) {
        json_decref(root);
        return refuse("a description is no JSON object", err);
    }
    *out = root;
    return 0;
}

/* A member, or NULL where it is null. */
static const json_t *member(const json_t *object, const char *name)
{
    const json_t *value = json_object_get(object, name);
    return json_is_null(value) ? NULL : value;
}

static bool is_hex(const char *text)
{
    return strspn(text, "0123456789abcdef") == OCI_DOCUMENT_HEX_LEN &&
           text[OCI_DOCUMENT_HEX_LEN] == '\0';
}

/* "sha256:" and 64 digits. */
static const char *hex_of(const json_t *digest)
{
    const char *text = json_string_value(digest);
    if (!text || strncmp(text, "sha256:", 7) != 0 || !is_hex(text + 7))
        return NULL;
    return text + 7;
}

static int take_blob(const json_t *descriptor, struct oci_document_blob *out, struct adit_err *err)
{
    const char *hex = hex_of(json_object_get(descriptor, "digest"));
    const json_t *size = json_object_get(descriptor, "size");
    if (!hex || !json_is_integer(size) || json_integer_value(size) < 0)
        return refuse("a part has no SHA-256 digest or no size", err);
    memcpy(out->hex, hex, OCI_DOCUMENT_HEX_LEN + 1);
    out->size = (uint64_t)json_integer_value(size);
    return 0;
}

int oci_document_index(struct adit_view text, struct oci_document_blob *manifest,
                       struct adit_err *err)
{
    json_t *root = NULL;
    int rc = load(text, &root, err);
    if (rc)
        return rc;
    const json_t *manifests = json_object_get(root, "manifests");
    if (json_array_size(manifests) != 1)
        rc = refuse("the index does not name one manifest", err);
    else
        rc = take_blob(json_array_get(manifests, 0), manifest, err);
    json_decref(root);
    return rc;
}

int oci_document_manifest(struct adit_view text, struct oci_document_manifest *out,
                          struct adit_err *err)
{
    json_t *root = NULL;
    struct oci_document_blob layer;
    memset(out, 0, sizeof(*out));
    int rc = load(text, &root, err);
    if (rc)
        return rc;
    const json_t *layers = json_object_get(root, "layers");
    rc = take_blob(json_object_get(root, "config"), &out->config, err);
    if (!rc && (!json_is_array(layers) || json_array_size(layers) > OCI_DOCUMENT_LAYERS_MAX))
        rc = refuse("the manifest has no layers, or too many", err);
    for (; !rc && out->layer_cnt < json_array_size(layers); out->layer_cnt++)
        rc = take_blob(json_array_get(layers, out->layer_cnt), &layer, err);
    json_decref(root);
    return rc;
}

/* ---- the configuration ---- */

static int check_machine(const json_t *root, size_t layer_cnt, struct adit_err *err)
{
    const char *architecture = json_string_value(json_object_get(root, "architecture"));
    const char *os = json_string_value(json_object_get(root, "os"));
    const json_t *rootfs = json_object_get(root, "rootfs");
    const char *type = json_string_value(json_object_get(rootfs, "type"));
    const json_t *layers = member(rootfs, "diff_ids");
    if (!os || strcmp(os, "linux") != 0 || !architecture ||
        strcmp(architecture, OCI_DOCUMENT_ARCHITECTURE) != 0)
        return refuse("it is not for linux on " OCI_DOCUMENT_ARCHITECTURE, err);
    if (!type || strcmp(type, "layers") != 0 || (layers && !json_is_array(layers)) ||
        json_array_size(layers) != layer_cnt)
        return refuse("its configuration does not belong to its layers", err);
    for (size_t i = 0; i < layer_cnt; i++)
        if (!hex_of(json_array_get(layers, i)))
            return refuse("a layer has no SHA-256 digest", err);
    return 0;
}

static int take_text(const json_t *value, char *out, size_t cap, const char *why,
                     struct adit_err *err)
{
    if (!value)
        return 0;
    const char *text = json_string_value(value);
    if (!text || json_string_length(value) >= cap)
        return refuse(why, err);
    memcpy(out, text, json_string_length(value) + 1);
    return 0;
}

/* A working directory is taken from the root where it is relative. */
static int take_dir(const json_t *value, struct oci_document_config *out, struct adit_err *err)
{
    static const char why[] = "its working directory is no path, or too long";
    int rc = take_text(value, out->dir, sizeof(out->dir), why, err);
    size_t len = strlen(out->dir);
    if (rc || len == 0 || out->dir[0] == '/')
        return rc;
    if (len + 1 >= sizeof(out->dir))
        return refuse(why, err);
    memmove(out->dir + 1, out->dir, len + 1);
    out->dir[0] = '/';
    return 0;
}

/* Whether @list is a list of strings within bounds. Absent is one. */
static bool is_list(const json_t *list, size_t max)
{
    size_t i, bytes = 0;
    const json_t *text;
    if (!list)
        return true;
    json_array_foreach(list, i, text)
    {
        if (!json_is_string(text))
            return false;
        bytes += json_string_length(text);
    }
    return json_is_array(list) && json_array_size(list) <= max && bytes <= OCI_DOCUMENT_TEXTS_CAP;
}

/* What has no name or no value says nothing; of two with one name, the later one holds. */
static int take_env(const json_t *list, json_t *env, struct adit_err *err)
{
    size_t i;
    const json_t *text;
    if (!is_list(list, OCI_DOCUMENT_ENV_MAX))
        return refuse("its variables are no list of texts, or too many", err);
    json_array_foreach(list, i, text)
    {
        struct adit_view name, value, both = {json_string_value(text), json_string_length(text)};
        if (!adit_view_split(both, '=', &name, &value) || name.len == 0)
            continue;
        char *key = adit_view_dup(name);
        int failed = !key || json_object_set_new(env, key, json_stringn(value.ptr, value.len));
        free(key);
        if (failed)
            return no_memory(err);
    }
    return 0;
}

static int take_words(const json_t *list, json_t *out, struct adit_err *err)
{
    size_t i;
    json_t *text;
    if (!is_list(list, OCI_DOCUMENT_WORDS_MAX))
        return refuse("its command is no list of words, or too long", err);
    if (!list)
        return 0;
    json_array_foreach(list, i, text)
    {
        if (json_array_append(out, text))
            return no_memory(err);
    }
    return 0;
}

static int take_config(const json_t *config, struct oci_document_config *out, struct adit_err *err)
{
    if (config && !json_is_object(config))
        return refuse("its configuration is malformed", err);
    int rc = take_text(member(config, "User"), out->user, sizeof(out->user),
                       "its user is no text, or too long", err);
    if (!rc)
        rc = take_dir(member(config, "WorkingDir"), out, err);
    if (!rc)
        rc = take_env(member(config, "Env"), out->env, err);
    if (!rc)
        rc = take_words(member(config, "Entrypoint"), out->entrypoint, err);
    if (!rc)
        rc = take_words(member(config, "Cmd"), out->cmd, err);
    return rc;
}

int oci_document_config(struct adit_view text, size_t layer_cnt, struct oci_document_config *out,
                        struct adit_err *err)
{
    json_t *root = NULL;
    memset(out, 0, sizeof(*out));
    int rc = load(text, &root, err);
    if (rc)
        return rc;
    out->env = json_object();
    out->entrypoint = json_array();
    out->cmd = json_array();
    if (!out->env || !out->entrypoint || !out->cmd)
        rc = no_memory(err);
    if (!rc)
        rc = check_machine(root, layer_cnt, err);
    if (!rc)
        rc = take_config(member(root, "config"), out, err);
    json_decref(root);
    if (rc)
        oci_document_config_fini(out);
    return rc;
}

void oci_document_config_fini(struct oci_document_config *c)
{
    json_decref(c->env);
    json_decref(c->entrypoint);
    json_decref(c->cmd);
    c->env = c->entrypoint = c->cmd = NULL;
}
