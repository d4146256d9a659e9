/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Domains as rules have them.
 *
 * Theory of operation
 *
 * What: compares the end of a name; a star stands for one label or more, never for none, and never
 * for a part of a label.
 */
#include "broker/egress/egress_domain.h"

static struct adit_view without_dot(struct adit_view v)
{
    if (v.len > 0 && v.ptr[v.len - 1] == '.')
        v.len--;
    return v;
}

bool egress_domain_parse(struct adit_view text, struct egress_domain *out)
{
    text = without_dot(text);
    out->is_wild = text.len > 0 && text.ptr[0] == '*';
    if (out->is_wild && text.len > 1 && text.ptr[1] != '.')
        return false;
    size_t skip = out->is_wild ? (text.len > 1 ? 2 : 1) : 0;
    out->len = text.len - skip;
    if (out->len > EGRESS_DOMAIN_MAX || (out->len == 0 && text.len != 1))
        return false;
    adit_view_lower(adit_view_mem(text.ptr + skip, out->len), out->suffix);
    out->suffix[out->len] = '\0';
    return true;
}

static bool ends_with(struct adit_view name, const struct egress_domain *d)
{
    return adit_view_ieq_str(adit_view_mem(name.ptr + name.len - d->len, d->len), d->suffix);
}

bool egress_domain_has(const struct egress_domain *d, struct adit_view name)
{
    name = without_dot(name);
    if (!d->is_wild)
        return name.len == d->len && ends_with(name, d);
    if (d->len == 0)
        return name.len > 0;
    return name.len > d->len + 1 && name.ptr[name.len - d->len - 1] == '.' && ends_with(name, d);
}
