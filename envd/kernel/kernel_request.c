/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Request bodies.
 *
 * Theory of operation
 *
 * What:  members that clients know are looked at, others are passed over; null is as if missing.
 * Trust: the body is hostile; jansson bounds its depth, KERNEL_REQUEST_MAX its size. A NUL in a
 * text is refused by jansson. Names of variables cannot hold '=' (they would set another one).
 */
#include "envd/kernel/kernel_request.h"

static const char not_text[] = "Input should be a valid string";

static int fail(struct kernel_request_error *e, const char *member, const char *type,
                const char *message)
{
    *e = (struct kernel_request_error){member, type, message};
    return ADIT_ERR_BAD_INPUT;
}

static int read_text(const json_t *doc, const char *member, struct adit_view *out,
                     struct kernel_request_error *e)
{
    const json_t *value = json_object_get(doc, member);
    *out = adit_view_mem(NULL, 0);
    if (!value || json_is_null(value))
        return ADIT_OK;
    if (!json_is_string(value))
        return fail(e, member, "string_type", not_text);
    *out = adit_view_mem(json_string_value(value), json_string_length(value));
    return ADIT_OK;
}

static int read_variables(struct kernel_request *r, struct kernel_request_error *e)
{
    json_t *vars = json_object_get(r->doc, "env_vars"), *value;
    const char *name;
    if (!vars || json_is_null(vars))
        return ADIT_OK;
    if (!json_is_object(vars))
        return fail(e, "env_vars", "dict_type", "Input should be a valid dictionary");
    json_object_foreach(vars, name, value)
    {
        if (!json_is_string(value))
            return fail(e, "env_vars", "string_type", not_text);
        if (!*name || strchr(name, '='))
            return fail(e, "env_vars", "value_error", "a name is empty or has a '=' in it");
    }
    r->variables = vars;
    return ADIT_OK;
}

static int read_code(struct kernel_request *r, struct kernel_request_error *e)
{
    int code = read_text(r->doc, "code", &r->code, e);
    if (code != ADIT_OK)
        return code;
    const json_t *value = json_object_get(r->doc, "code");
    if (!value)
        return fail(e, "code", "missing", "Field required");
    return r->code.ptr ? ADIT_OK : fail(e, "code", "string_type", not_text);
}

int kernel_request_parse(struct adit_view body, bool with_code, struct kernel_request *out,
                         struct kernel_request_error *detail)
{
    memset(out, 0, sizeof *out);
    out->doc = body.len > 0 ? adit_json_load(body, 0, NULL) : NULL;
    if (!json_is_object(out->doc))
        return fail(detail, NULL, "json_invalid", "JSON decode error");
    int code = with_code ? read_code(out, detail) : ADIT_OK;
    if (code == ADIT_OK && with_code)
        code = read_text(out->doc, "context_id", &out->context_id, detail);
    if (code == ADIT_OK)
        code = read_text(out->doc, "language", &out->language, detail);
    if (code == ADIT_OK && with_code)
        return read_variables(out, detail);
    return code == ADIT_OK ? read_text(out->doc, "cwd", &out->cwd, detail) : code;
}

void kernel_request_fini(struct kernel_request *r)
{
    json_decref(r->doc);
    r->doc = NULL;
}
