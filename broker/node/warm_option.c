/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The option --warm.
 *
 * Theory of operation
 *
 * What: rows of TEMPLATE=N, or TEMPLATE:ISOLATION=N where it is not the host's own. Aliases are
 * words with at most one slash, so the colon is free for that.
 * Limits: WARM_OPTION_ROWS_MAX rows, WARM_OPTION_COUNT_MAX sandboxes a row.
 */
#include "broker/node/warm_option.h"

#include <string.h>

static const char *const isolations[] = {"container", "gvisor", "vm"};

static int refuse(struct adit_view row, const char *why, struct adit_err *err)
{
    return adit_err_set(err, ADIT_ERR_BAD_INPUT, "warm: \"%.*s\": %s", ADIT_VIEW_ARG(row), why);
}

/* Return: false when it does not fit or is empty. */
static bool copy(char *out, size_t cap, struct adit_view text)
{
    if (text.len == 0 || text.len >= cap)
        return false;
    memcpy(out, text.ptr, text.len);
    out[text.len] = '\0';
    return true;
}

static bool is_isolation(struct adit_view word)
{
    for (size_t i = 0; i < sizeof(isolations) / sizeof(isolations[0]); i++)
        if (adit_view_eq_str(word, isolations[i]))
            return true;
    return false;
}

static bool is_named(const struct warm_option *o, const struct warm_option_row *row)
{
    for (size_t i = 0; i < o->cnt; i++)
        if (strcmp(o->rows[i].ref, row->ref) == 0 &&
            strcmp(o->rows[i].isolation, row->isolation) == 0)
            return true;
    return false;
}

static int take_name(struct adit_view name, struct adit_view row, struct warm_option_row *out,
                     struct adit_err *err)
{
    const char *colon = memchr(name.ptr, ':', name.len);
    struct adit_view ref = name, isolation = {NULL, 0};
    if (colon) {
        ref.len = (size_t)(colon - name.ptr);
        isolation = adit_view_mem(colon + 1, name.len - ref.len - 1);
        if (!is_isolation(isolation) || !copy(out->isolation, sizeof(out->isolation), isolation))
            return refuse(row, "the isolation is none of container, gvisor, vm", err);
    }
    return copy(out->ref, sizeof(out->ref), ref) ? 0 : refuse(row, "no template", err);
}

static int take_row(struct adit_view row, struct warm_option *o, struct adit_err *err)
{
    struct warm_option_row *out = &o->rows[o->cnt];
    const char *equals = row.len ? memchr(row.ptr, '=', row.len) : NULL;
    uint64_t count = 0;
    if (o->cnt == WARM_OPTION_ROWS_MAX)
        return refuse(row, "too many templates", err);
    if (!equals)
        return refuse(row, "TEMPLATE=N is expected", err);
    memset(out, 0, sizeof(*out));
    struct adit_view name = adit_view_mem(row.ptr, (size_t)(equals - row.ptr));
    struct adit_view number = adit_view_mem(equals + 1, row.len - name.len - 1);
    if (adit_view_u64(number, WARM_OPTION_COUNT_MAX, &count))
        return refuse(row, "the number is none from 0 to 256", err);
    int rc = take_name(name, row, out, err);
    if (rc == 0 && is_named(o, out))
        rc = refuse(row, "the template is there twice", err);
    out->count = (unsigned)count;
    o->cnt += rc == 0;
    return rc;
}

int warm_option_parse(const char *text, struct warm_option *out, struct adit_err *err)
{
    int rc = 0;
    out->cnt = 0;
    while (rc == 0 && text[0]) {
        size_t len = strcspn(text, ",");
        rc = take_row(adit_view_trim(adit_view_mem(text, len)), out, err);
        text += len + (text[len] == ',');
    }
    return rc;
}
