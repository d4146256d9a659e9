/* SPDX-License-Identifier: Apache-2.0 */
/*
 * References to images.
 *
 * Theory of operation
 *
 * What:  the forms that skopeo's users know, of those that can be read without a daemon. A colon
 *        ends a path, as it does for skopeo. A local path is kept apart from the rest, because the
 *        program that reads it sees it at another place.
 * Trust: an operator writes it, maybe from somebody's list: it becomes a word of a command, so it
 *        holds no control characters and begins like no option.
 */
#include "rootfs-builder/oci_reference.h"

#include <ctype.h>
#include <stdio.h>

static const char *const local_transports[] = {"oci", "oci-archive", "docker-archive"};

static int refuse(const char *why, struct adit_err *err)
{
    return adit_err_set(err, ADIT_ERR_BAD_INPUT, "image reference: %s", why);
}

static void copy(struct adit_view v, char *out)
{
    memcpy(out, v.ptr, v.len);
    out[v.len] = '\0';
}

static int take_local(const char *transport, struct adit_view rest, struct oci_reference *out,
                      struct adit_err *err)
{
    const char *colon = memchr(rest.ptr, ':', rest.len);
    size_t len = colon ? (size_t)(colon - rest.ptr) : rest.len;
    if (len == 0)
        return refuse("no file or directory is named", err);
    copy(adit_view_str(transport), out->transport);
    copy(adit_view_mem(rest.ptr, len), out->path);
    copy(adit_view_mem(rest.ptr + len, rest.len - len), out->name);
    return 0;
}

static int take_name(struct adit_view name, struct oci_reference *out, struct adit_err *err)
{
    for (size_t i = 0; i < name.len; i++)
        if (!isalnum((unsigned char)name.ptr[i]) && !strchr("._-/:@", name.ptr[i]))
            return refuse("a name in a registry is of letters, digits and ._-/:@", err);
    if (name.len == 0 || !isalnum((unsigned char)name.ptr[0]))
        return refuse("a name in a registry begins with a letter or digit", err);
    copy(adit_view_str("docker"), out->transport);
    copy(name, out->name);
    return 0;
}

static int take_transport(struct adit_view text, struct oci_reference *out, struct adit_err *err)
{
    struct adit_view transport, rest;
    if (!adit_view_split(text, ':', &transport, &rest))
        return take_name(text, out, err);
    for (size_t i = 0; i < sizeof(local_transports) / sizeof(local_transports[0]); i++)
        if (adit_view_eq_str(transport, local_transports[i]))
            return take_local(local_transports[i], rest, out, err);
    if (!adit_view_has_prefix(rest, "//"))
        return take_name(text, out, err);
    if (!adit_view_eq_str(transport, "docker"))
        return refuse("only docker://, oci:, oci-archive: and docker-archive: can be read", err);
    return take_name(adit_view_mem(rest.ptr + 2, rest.len - 2), out, err);
}

int oci_reference_parse(struct adit_view text, struct oci_reference *out, struct adit_err *err)
{
    memset(out, 0, sizeof(*out));
    if (text.len == 0 || text.len >= OCI_REFERENCE_CAP)
        return refuse("empty, or too long", err);
    for (size_t i = 0; i < text.len; i++)
        if (iscntrl((unsigned char)text.ptr[i]))
            return refuse("control characters", err);
    if (text.ptr[0] == '/' || text.ptr[0] == '.')
        return take_local("oci", text, out, err);
    return take_transport(text, out, err);
}

void oci_reference_source(const struct oci_reference *r, char out[OCI_REFERENCE_CAP + 32])
{
    bool is_local = oci_reference_is_local(r);
    (void)snprintf(out, OCI_REFERENCE_CAP + 32, "%s:%s%s", r->transport,
                   is_local ? OCI_REFERENCE_PLACE : "//", r->name); /* a reference fits */
}
