/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Template references.
 *
 * Theory of operation
 *
 * What: [namespace "/"] name [":" tag], with spaces and tabs around it cut and ASCII letters
 * lower-cased. Names and namespaces are [a-z0-9-_], tags [a-z0-9-_.] but no UUID (that would name a
 * build). Whether the name is an id or an alias is seen when it is looked up.
 * Trust: text from clients; nothing of it is repeated in errors.
 */
#include "scheduler/template_ref.h"

static int refuse(struct adit_err *err, const char *why)
{
    return adit_err_set(err, ADIT_ERR_BAD_INPUT, "Invalid template reference: %s", why);
}

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

static bool is_name_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
}

/* Lower-cased copy of 1 to TEMPLATE_REF_PART_MAX name characters, or @extra ('\0': none). */
static bool copy_part(struct adit_view part, char extra, char *out)
{
    if (part.len == 0 || part.len > TEMPLATE_REF_PART_MAX)
        return false;
    for (size_t i = 0; i < part.len; i++) {
        out[i] = lower(part.ptr[i]);
        if (!is_name_char(out[i]) && (extra == '\0' || out[i] != extra))
            return false;
    }
    out[part.len] = '\0';
    return true;
}

static bool is_uuid(const char *text)
{
    static const char form[] = "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx";
    if (strlen(text) != sizeof(form) - 1)
        return false;
    for (size_t i = 0; form[i]; i++) {
        bool is_hex = (text[i] >= '0' && text[i] <= '9') || (text[i] >= 'a' && text[i] <= 'f');
        if (form[i] == 'x' ? !is_hex : text[i] != '-')
            return false;
    }
    return true;
}

int template_ref_parse(struct adit_view text, struct template_ref *out, struct adit_err *err)
{
    struct adit_view name, tag, space, alias;
    bool has_tag = adit_view_split(adit_view_trim(text), ':', &name, &tag);
    bool has_space = adit_view_split(name, '/', &space, &alias);
    char *at = out->name;

    if (name.len == 0)
        return refuse(err, "it is empty");
    if (!copy_part(space, '\0', at))
        return refuse(err, "a name is 1 to 128 letters, digits, '-' and '_'");
    if (has_space) {
        at += space.len;
        *at++ = '/';
        if (!copy_part(alias, '\0', at))
            return refuse(err, "a name is 1 to 128 letters, digits, '-' and '_'");
    }
    if (!has_tag)
        tag = adit_view_str(TEMPLATE_REF_DEFAULT_TAG);
    if (!copy_part(tag, '.', out->tag))
        return refuse(err, "a tag is 1 to 128 letters, digits, '-', '_' and '.'");
    if (is_uuid(out->tag))
        return refuse(err, "a tag is no UUID");
    return 0;
}
