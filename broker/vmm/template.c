/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading template.json.
 *
 * Theory of operation
 *
 * What:   a JSON object becomes a flat struct. Required: template_id, build_id, cpu_count,
 * memory_mb, disk_mb, created_at. Everything else has a default. Trust:  the file comes from a
 * builder, which an operator runs; it is checked all the same, because its texts are sent to
 * clients, run in guests and compared with what clients ask for. Limits: the file's size, the
 * number of aliases and the length of each text; see the header.
 */
#include "broker/vmm/template.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/json.h"
#include "broker/vmm/vmm_set.h"

static bool is_lower_or_digit(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

static bool is_template_id(struct adit_view v)
{
    for (size_t i = 0; i < v.len; i++)
        if (!is_lower_or_digit(v.ptr[i]))
            return false;
    return v.len == TEMPLATE_ID_LEN;
}

static bool is_uuid(struct adit_view v)
{
    if (v.len != TEMPLATE_BUILD_ID_LEN)
        return false;
    for (size_t i = 0; i < v.len; i++) {
        char c = v.ptr[i];
        bool is_dash = i == 8 || i == 13 || i == 18 || i == 23;
        if (is_dash ? c != '-' : !((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f')))
            return false;
    }
    return true;
}

/* One name, or namespace/name. */
static bool is_alias(struct adit_view v)
{
    size_t slashes = 0;
    for (size_t i = 0; i < v.len; i++) {
        if (v.ptr[i] == '/')
            slashes++;
        else if (!is_lower_or_digit(v.ptr[i]) && v.ptr[i] != '-' && v.ptr[i] != '_')
            return false;
    }
    return v.len && v.ptr[0] != '/' && v.ptr[v.len - 1] != '/' && slashes <= 1;
}

static bool is_user(struct adit_view v)
{
    for (size_t i = 0; i < v.len; i++) {
        char c = v.ptr[i];
        if (!is_lower_or_digit(c) && !(c >= 'A' && c <= 'Z') && !strchr("_-.", c))
            return false;
    }
    return v.len && v.ptr[0] != '-';
}

static bool is_workdir(struct adit_view v)
{
    return v.len && v.ptr[0] == '/';
}

static bool is_any(struct adit_view v)
{
    (void)v;
    return true;
}

/* @json NULL: absent. */
static int take_text(const json_t *json, const char *name, bool (*is_valid)(struct adit_view),
                     char *out, size_t cap, struct adit_err *err)
{
    struct adit_view v = {json_string_value(json), json_string_length(json)};
    if (!json)
        return 0;
    if (!v.ptr || v.len >= cap || memchr(v.ptr, '\0', v.len) || !is_valid(v))
        return adit_err_set(err, ADIT_ERR_BAD_INPUT, "%s: %s is malformed", TEMPLATE_FILE, name);
    memcpy(out, v.ptr, v.len);
    return 0;
}

static int take_number(const json_t *root, const char *name, json_int_t min, json_int_t max,
                       uint64_t *out, struct adit_err *err)
{
    const json_t *json = json_object_get(root, name);
    json_int_t n = json_integer_value(json);
    if (!json_is_integer(json) || n < min || n > max)
        return adit_err_set(err, ADIT_ERR_BAD_INPUT, "%s: %s is missing or out of range",
                            TEMPLATE_FILE, name);
    *out = (uint64_t)n;
    return 0;
}

static int take_aliases(const json_t *json, struct template_info *out, struct adit_err *err)
{
    if (json && (!json_is_array(json) || json_array_size(json) > TEMPLATE_ALIASES_MAX))
        return adit_err_set(err, ADIT_ERR_BAD_INPUT, "%s: aliases are no list, or more than %d",
                            TEMPLATE_FILE, TEMPLATE_ALIASES_MAX);
    for (size_t i = 0; i < json_array_size(json); i++) {
        const json_t *alias = json_array_get(json, i);
        int rc = take_text(alias, "alias", is_alias, out->aliases[i], TEMPLATE_ALIAS_CAP, err);
        if (rc)
            return rc;
        out->alias_cnt = i + 1;
    }
    return 0;
}

/* @len: of what is there already. */
static bool add_variable(const char *name, const json_t *value, char *out, size_t *len)
{
    size_t name_len = strlen(name), value_len = json_string_length(value);
    if (!json_is_string(value) || !name_len || strchr(name, '=') ||
        memchr(json_string_value(value), '\0', value_len) ||
        name_len + value_len + 3 > TEMPLATE_ENV_CAP - *len)
        return false;
    memcpy(out + *len, name, name_len);
    out[*len + name_len] = '=';
    memcpy(out + *len + name_len + 1, json_string_value(value), value_len);
    *len += name_len + value_len + 2;
    return true;
}

static int take_env(json_t *json, struct template_info *out, struct adit_err *err)
{
    const char *name;
    json_t *value;
    size_t len = 0;
    bool is_good = !json || (json_is_object(json) && json_object_size(json) <= TEMPLATE_ENV_MAX);
    json_object_foreach(json, name, value)
    {
        is_good = is_good && add_variable(name, value, out->env, &len);
    }
    if (!is_good)
        return adit_err_set(err, ADIT_ERR_BAD_INPUT, "%s: env is malformed, or too long",
                            TEMPLATE_FILE);
    return 0;
}

json_t *template_env(const struct template_info *info, json_t *asked)
{
    json_t *all = json_object();
    int failed = !all;
    for (const char *var = info->env; !failed && *var; var += strlen(var) + 1) {
        struct adit_view name, value;
        (void)adit_view_split(adit_view_str(var), '=', &name, &value); /* there is one */
        char *key = adit_view_dup(name);
        failed = !key || json_object_set_new(all, key, json_stringn(value.ptr, value.len));
        free(key);
    }
    if (!failed && asked)
        failed = json_object_update(all, asked);
    if (!failed)
        return all;
    json_decref(all);
    return NULL;
}

static int take_numbers(const json_t *root, struct template_info *out, struct adit_err *err)
{
    uint64_t cpu_count = 0;
    const json_t *created = json_object_get(root, "created_at");
    struct adit_view text = {json_string_value(created), json_string_length(created)};
    int rc = take_number(root, "cpu_count", 1, TEMPLATE_CPU_MAX, &cpu_count, err);
    if (!rc)
        rc = take_number(root, "memory_mb", TEMPLATE_MEMORY_MB_MIN, TEMPLATE_MEMORY_MB_MAX,
                         &out->memory_mb, err);
    if (!rc)
        rc = take_number(root, "disk_mb", 0, TEMPLATE_DISK_MB_MAX, &out->disk_mb, err);
    if (!rc && adit_clock_parse_rfc3339(text, &out->created_ns))
        rc = adit_err_set(err, ADIT_ERR_BAD_INPUT, "%s: created_at is missing or malformed",
                          TEMPLATE_FILE);
    out->cpu_count = (uint32_t)cpu_count;
    return rc;
}

static int take_texts(const json_t *root, struct template_info *out, struct adit_err *err)
{
    const struct {
        const char *name;
        bool (*is_valid)(struct adit_view);
        char *out;
        size_t cap;
    } texts[] = {
        {"template_id", is_template_id, out->template_id, sizeof(out->template_id)},
        {"build_id", is_uuid, out->build_id, sizeof(out->build_id)},
        {"default_user", is_user, out->default_user, sizeof(out->default_user)},
        {"default_workdir", is_workdir, out->default_workdir, sizeof(out->default_workdir)},
        {"start_cmd", is_any, out->start_cmd, sizeof(out->start_cmd)},
        {"ready_cmd", is_any, out->ready_cmd, sizeof(out->ready_cmd)},
        {"isolation", vmm_set_knows, out->isolation, sizeof(out->isolation)},
    };
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        int rc = take_text(json_object_get(root, texts[i].name), texts[i].name, texts[i].is_valid,
                           texts[i].out, texts[i].cap, err);
        if (rc)
            return rc;
    }
    if (!out->template_id[0] || !out->build_id[0])
        return adit_err_set(err, ADIT_ERR_BAD_INPUT, "%s: template_id or build_id is missing",
                            TEMPLATE_FILE);
    return take_aliases(json_object_get(root, "aliases"), out, err);
}

int template_parse(struct adit_view text, struct template_info *out, struct adit_err *err)
{
    json_error_t why;
    memset(out, 0, sizeof(*out));
    if (text.len > TEMPLATE_FILE_CAP)
        return adit_err_set(err, ADIT_ERR_BAD_INPUT, "%s is too large", TEMPLATE_FILE);
    json_t *root = adit_json_load(text, JSON_REJECT_DUPLICATES, &why);
    if (!root && json_error_code(&why) == json_error_out_of_memory)
        return adit_err_set(err, ADIT_ERR_NO_MEMORY, "no memory for %s", TEMPLATE_FILE);
    if (!json_is_object(root)) {
        json_decref(root);
        return adit_err_set(err, ADIT_ERR_BAD_INPUT, "%s is no JSON object", TEMPLATE_FILE);
    }
    int rc = take_texts(root, out, err);
    if (!rc)
        rc = take_numbers(root, out, err);
    if (!rc)
        rc = take_env(json_object_get(root, "env"), out, err);
    json_decref(root);
    return rc;
}

int template_read(const char *dir, struct template_info *out, struct adit_err *err)
{
    struct adit_buf text;
    struct stat st;
    ADIT_CLEANUP_CLOSE int dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (dir_fd < 0)
        return adit_err_sys(err, errno, "open %s", dir);
    adit_buf_init(&text, TEMPLATE_FILE_CAP);
    int rc = adit_file_read(dir_fd, TEMPLATE_FILE, &text, err);
    if (!rc)
        rc = template_parse(adit_buf_view(&text), out, err);
    if (!rc && (fstatat(dir_fd, "root", &st, AT_SYMLINK_NOFOLLOW) || !S_ISDIR(st.st_mode)))
        rc = adit_err_set(err, ADIT_ERR_BAD_INPUT, "%s/root is no directory", dir);
    adit_buf_fini(&text);
    return rc;
}
