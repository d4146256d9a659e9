/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What clients of the session API send, checked.
 *
 * Theory of operation
 *
 * What: ids, bodies and paths of requests, each turned into what the rest works with. An install is
 * a cell like any other: pip run by the interpreter that the kernel runs in, so that what it
 * installs is what the next cell imports; names of packages cannot be options or leave their
 * quotes. Paths are the sandbox's own, all of which belongs to the caller; they are checked so that
 * a path means one thing, and what is shown of it is text.
 * Trust: everything here is a client's.
 */
#include "broker/session/session_request.h"

#include <ctype.h>
#include <stdio.h>

#include "base/utf8.h"
#include "broker/jtext.h"
#include "net/url.h"

#define SEGMENT_CAP 1024

/* ---- ids ---- */

static bool is_id(struct adit_view id)
{
    if (!id.ptr || id.len == 0 || id.len >= RECORD_SESSION_CAP || strchr(".:@-", id.ptr[0]))
        return false;
    for (size_t i = 0; i < id.len; i++)
        if (!isalnum((unsigned char)id.ptr[i]) && !memchr("._:@-", id.ptr[i], 5))
            return false;
    return true;
}

int session_request_id(struct adit_view segment, char out[RECORD_SESSION_CAP], struct adit_err *err)
{
    struct adit_buf text;
    adit_buf_init(&text, SEGMENT_CAP);
    int rc = url_decode(segment, false, &text);
    struct adit_view id = adit_buf_view(&text);
    if (rc == 0 && is_id(id)) {
        memcpy(out, id.ptr, id.len);
        out[id.len] = '\0';
    } else {
        rc = adit_err_set(err, ADIT_ERR_BAD_INPUT,
                          "a session id is 1 to %d letters, digits and . _ : @ -, and begins with "
                          "a letter, a digit or _",
                          RECORD_SESSION_CAP - 1);
    }
    adit_buf_fini(&text);
    return rc;
}

/* ---- bodies ---- */

static int check_type(const json_t *doc, const char *custom, bool *is_custom, struct adit_err *err)
{
    const char *type = SESSION_REQUEST_TYPE, *template_id = custom;
    int rc;
    if ((rc = jtext_string(doc, "sandbox_type", &type, err)) ||
        (rc = jtext_string(doc, "template_id", &template_id, err)))
        return rc;
    *is_custom = strcmp(type, SESSION_REQUEST_CUSTOM) == 0;
    if (!*is_custom && strcmp(type, SESSION_REQUEST_TYPE) != 0)
        return adit_err_set(err, ADIT_ERR_BAD_INPUT, "sandbox_type must be \"%s\" or \"%s\"",
                            SESSION_REQUEST_TYPE, SESSION_REQUEST_CUSTOM);
    if (*is_custom && !custom[0])
        return adit_err_set(err, ADIT_ERR_BAD_INPUT,
                            "no template for custom sandboxes is configured");
    if (*is_custom && strcmp(template_id, custom) != 0)
        return adit_err_set(err, ADIT_ERR_BAD_INPUT, "template_id is not the configured one");
    return 0;
}

int session_request_start(struct adit_view body, const char *custom, bool *is_custom,
                          struct adit_err *err)
{
    json_t *doc = NULL;
    int rc = jtext_parse(body, &doc, err);
    if (rc)
        return rc;
    rc = check_type(doc, custom, is_custom, err);
    json_decref(doc);
    return rc;
}

static int append_cell(struct adit_buf *cell, struct adit_view code, struct adit_err *err)
{
    int rc = adit_buf_append_str(cell, "{\"code\":\"");
    if (rc == 0)
        rc = adit_buf_append_json_text(cell, code);
    if (rc == 0)
        rc = adit_buf_append_str(cell, "\"}");
    return rc ? adit_err_set(err, rc, "the code is too long") : 0;
}

int session_request_execute(struct adit_view body, struct adit_buf *cell, struct adit_err *err)
{
    const char *code = NULL;
    json_t *doc = NULL;
    int rc = jtext_parse(body, &doc, err);
    if (rc)
        return rc;
    rc = jtext_string(doc, "code", &code, err);
    if (rc == 0 && !code)
        rc = adit_err_set(err, ADIT_ERR_BAD_INPUT, "code is missing");
    if (rc == 0)
        rc = append_cell(cell, adit_view_str(code), err);
    json_decref(doc);
    return rc;
}

/* A requirement of pip: name, extras, versions. What begins with a letter or digit is no option,
 * and nothing of this set ends a quoted string. */
static bool is_package(struct adit_view v)
{
    if (v.len == 0 || v.len > SESSION_REQUEST_PACKAGE_LEN_MAX || !isalnum((unsigned char)v.ptr[0]))
        return false;
    for (size_t i = 0; i < v.len; i++)
        if (!isalnum((unsigned char)v.ptr[i]) && !strchr("._-[],=<>!~*+ ", v.ptr[i]))
            return false;
    return true;
}

static int append_packages(struct adit_buf *code, const json_t *packages, struct adit_err *err)
{
    size_t cnt = json_array_size(packages);
    int rc = 0;
    if (cnt == 0 || cnt > SESSION_REQUEST_PACKAGES_MAX)
        return adit_err_set(err, ADIT_ERR_BAD_INPUT, "packages: 1 to %d names",
                            SESSION_REQUEST_PACKAGES_MAX);
    for (size_t i = 0; i < cnt && rc == 0; i++) {
        const char *name = json_string_value(json_array_get(packages, i));
        if (!name || !is_package(adit_view_str(name)))
            return adit_err_set(err, ADIT_ERR_BAD_INPUT,
                                "packages: number %zu is no package's name", i + 1);
        rc = adit_buf_appendf(code, ",'%s'", name);
    }
    return rc ? adit_err_set(err, rc, "packages") : 0;
}

/*
 * The cell leaves no name behind in the user's own: a function that is called and forgotten.
 * Finders are told that directories have changed, so that the next cell imports what has come.
 */
#define INSTALL_BEGIN                                                                              \
    "(lambda run, sys, os, importlib: (lambda done: (sys.stdout.write(done.stdout), "              \
    "sys.stderr.write(done.stderr), importlib.invalidate_caches(), done.check_returncode(), "      \
    "None)[-1])(run([sys.executable, '-m', 'pip', 'install', '--no-input', "                       \
    "'--disable-pip-version-check'"
#define INSTALL_END                                                                                \
    "], capture_output=True, text=True, stdin=-3, "                                                \
    "env={**os.environ, 'PIP_BREAK_SYSTEM_PACKAGES': '1', 'PIP_ROOT_USER_ACTION': 'ignore'})))"    \
    "(__import__('subprocess').run, __import__('sys'), __import__('os'), __import__('importlib'))"

static int append_install(struct adit_buf *cell, const json_t *packages, struct adit_err *err)
{
    struct adit_buf code;
    adit_buf_init(&code, SESSION_REQUEST_CELL_MAX);
    int rc = adit_buf_append_str(&code, INSTALL_BEGIN);
    if (rc == 0)
        rc = append_packages(&code, packages, err);
    if (rc == 0)
        rc = adit_buf_append_str(&code, INSTALL_END);
    if (rc == 0)
        rc = append_cell(cell, adit_buf_view(&code), err);
    adit_buf_fini(&code);
    return rc;
}

int session_request_install(struct adit_view body, struct adit_buf *cell, struct adit_err *err)
{
    json_t *doc = NULL, *packages = NULL;
    int rc = jtext_parse(body, &doc, err);
    if (rc)
        return rc;
    rc = jtext_child(doc, "packages", JSON_ARRAY, &packages, err);
    if (rc == 0)
        rc = append_install(cell, packages, err);
    json_decref(doc);
    return rc;
}

/* ---- paths ---- */

static bool is_shown(struct adit_view text)
{
    for (size_t i = 0; i < text.len; i++)
        if ((unsigned char)text.ptr[i] < ' ' || text.ptr[i] == 0x7f)
            return false;
    return adit_utf8_valid(text);
}

static bool is_dots(struct adit_view part)
{
    return adit_view_eq_str(part, ".") || adit_view_eq_str(part, "..");
}

static bool has_dots(struct adit_view path)
{
    struct adit_view part;
    bool more = true;
    while (more) {
        more = adit_view_split(path, '/', &part, &path);
        if (is_dots(part))
            return true;
    }
    return false;
}

static int check_path(struct adit_view path, struct adit_err *err)
{
    if (path.len > SESSION_REQUEST_PATH_MAX)
        return adit_err_set(err, ADIT_ERR_BAD_INPUT, "path is longer than %d bytes",
                            SESSION_REQUEST_PATH_MAX);
    if (!adit_view_has_prefix(path, "/") || has_dots(path))
        return adit_err_set(err, ADIT_ERR_BAD_INPUT,
                            "path must be absolute, and without \".\" and \"..\"");
    if (!is_shown(path))
        return adit_err_set(err, ADIT_ERR_BAD_INPUT,
                            "path must be UTF-8 without control characters");
    return 0;
}

static int take_path(struct adit_view path, const char *fallback, char *out, struct adit_err *err)
{
    if (path.len == 0 && !fallback)
        return adit_err_set(err, ADIT_ERR_BAD_INPUT, "path is missing");
    if (path.len == 0)
        path = adit_view_str(fallback);
    int rc = check_path(path, err);
    if (rc)
        return rc;
    (void)snprintf(out, SESSION_REQUEST_PATH_MAX + 1, "%.*s", ADIT_VIEW_ARG(path)); /* fits */
    return 0;
}

int session_request_path(struct adit_view query, const char *fallback,
                         char out[SESSION_REQUEST_PATH_MAX + 1], struct adit_err *err)
{
    struct adit_buf text;
    bool found = false;
    adit_buf_init(&text, query.len + 1);
    int rc = url_query_get(query, "path", &text, &found);
    if (rc)
        rc = adit_err_set(err, rc, "path is not a parameter of a query");
    else
        rc = take_path(adit_buf_view(&text), fallback, out, err);
    adit_buf_fini(&text);
    return rc;
}

int session_request_file_name(struct adit_view filename, struct adit_view *name,
                              struct adit_err *err)
{
    size_t at = filename.len;
    while (at > 0 && filename.ptr[at - 1] != '/' && filename.ptr[at - 1] != '\\')
        at--;
    *name = adit_view_mem(filename.ptr + at, filename.len - at);
    if (name->len == 0 || name->len > 255 || is_dots(*name) || !is_shown(*name))
        return adit_err_set(err, ADIT_ERR_BAD_INPUT, "the file has no name that could be used");
    return 0;
}

int session_request_append_escaped(struct adit_buf *b, struct adit_view path)
{
    int rc = 0;
    for (size_t i = 0; i < path.len && rc == 0; i++) {
        unsigned char c = (unsigned char)path.ptr[i];
        rc = isalnum(c) || strchr("._~/-", c) ? adit_buf_append_char(b, (char)c)
                                              : adit_buf_appendf(b, "%%%02X", c);
    }
    return rc;
}
