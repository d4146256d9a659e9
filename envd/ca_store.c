/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Certificate authorities of a sandbox.
 *
 * Theory of operation
 *
 * What: distributions keep all authorities in one file, which most programs read; each has its own
 * place, so the certificate is appended to every one that there is. Programs with a clean
 * environment that use OpenSSL's directory find it by its hash. It is also put where
 * update-ca-certificates and update-ca-trust pick it up when they write their files anew. Programs
 * that bring authorities of their own are told by variables (state.c).
 * Trust: the certificate is the host's. Files are the sandbox's: what is no regular file is left
 * alone, a link is followed as its programs would.
 * Failure: a store that cannot be changed is logged, and the others serve.
 */
#include "envd/ca_store.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <sys/stat.h>

#include "base/file.h"
#include "base/log.h"

#define PEM_BEGIN "-----BEGIN CERTIFICATE-----"
#define PEM_END "-----END CERTIFICATE-----"

static const char *const bundles[] = {
    "/etc/ssl/certs/ca-certificates.crt",                /* Debian, Alpine, Arch */
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem", /* Fedora and its kin */
    "/etc/ssl/ca-bundle.pem",                            /* SUSE */
};

static void tell(const char *path, const struct adit_err *err)
{
    adit_log(ADIT_LOG_WARN, "authority_not_added", LOG_S("path", path), LOG_ERR(err));
}

static bool find(const char *root, const char *path, mode_t kind, char out[PATH_MAX])
{
    char full[PATH_MAX];
    struct stat st;
    int len = snprintf(full, sizeof full, "%s%s", root, path);
    return len > 0 && (size_t)len < sizeof full && realpath(full, out) && stat(out, &st) == 0 &&
           (st.st_mode & S_IFMT) == kind;
}

/* ---- one file of all ---- */

static int append(struct adit_buf *all, struct adit_view pem)
{
    struct adit_view old = adit_buf_view(all);
    bool ends_line = old.len == 0 || old.ptr[old.len - 1] == '\n';
    int rc = ends_line ? 0 : adit_buf_append_str(all, "\n");
    return rc ? rc : adit_buf_append_view(all, pem);
}

static int add_to_bundle(const char *path, struct adit_view pem, struct adit_err *err)
{
    struct adit_buf all;
    adit_buf_init(&all, CA_STORE_BUNDLE_MAX);
    int rc = adit_file_read(AT_FDCWD, path, &all, err);
    struct adit_view old = adit_buf_view(&all);
    bool is_there = rc == 0 && old.len > 0 && memmem(old.ptr, old.len, pem.ptr, pem.len);
    if (rc == 0 && !is_there && (rc = append(&all, pem)))
        (void)adit_err_set(err, rc, "no room for another authority");
    if (rc == 0 && !is_there)
        rc = adit_file_replace_lazy(AT_FDCWD, path, adit_buf_view(&all), 0644, err);
    adit_buf_fini(&all);
    return rc;
}

/* Return: the first that has it now, or "". */
static const char *add_to_bundles(const char *root, struct adit_view pem)
{
    char path[PATH_MAX];
    const char *first = "";
    for (size_t i = 0; i < sizeof bundles / sizeof bundles[0]; i++) {
        struct adit_err err = ADIT_ERR_INIT;
        if (!find(root, bundles[i], S_IFREG, path))
            continue;
        if (add_to_bundle(path, pem, &err))
            tell(path, &err);
        else if (!first[0])
            first = bundles[i];
    }
    return first;
}

/* ---- a file of its own ---- */

static int write_file(const char *root, const char *path, struct adit_view pem,
                      struct adit_err *err)
{
    char full[PATH_MAX];
    int len = snprintf(full, sizeof full, "%s%s", root, path);
    if (len < 0 || (size_t)len >= sizeof full)
        return adit_err_set(err, ADIT_ERR_BAD_INPUT, "the path of the root is too long");
    char *slash = strrchr(full, '/');
    *slash = '\0';
    int rc = adit_file_mkdirs(full, 0755, err);
    *slash = '/';
    return rc ? rc : adit_file_replace_lazy(AT_FDCWD, full, pem, 0644, err);
}

/* OpenSSL's directory, and where update-ca-trust looks. */
static void add_to_directories(const char *root, struct adit_view pem)
{
    static const char anchors[] = "/etc/pki/ca-trust/source/anchors";
    char dir[PATH_MAX], link[PATH_MAX + sizeof CA_STORE_HASH + 3];
    struct adit_err err = ADIT_ERR_INIT;
    if (find(root, anchors, S_IFDIR, dir) &&
        write_file(root, "/etc/pki/ca-trust/source/anchors/adit-sandbox.crt", pem, &err))
        tell(anchors, &err);
    if (!find(root, "/etc/ssl/certs", S_IFDIR, dir))
        return;
    (void)snprintf(link, sizeof link, "%s/" CA_STORE_HASH ".0", dir);
    (void)unlink(link); /* mostly it is not there */
    if (symlink(CA_STORE_FILE, link) == 0)
        return;
    err = (struct adit_err)ADIT_ERR_INIT;
    (void)adit_err_sys(&err, errno, "link"); /* only told */
    tell(link, &err);
}

static bool is_certificate(struct adit_view pem)
{
    return pem.len <= CA_STORE_PEM_MAX &&
           memmem(pem.ptr, pem.len, PEM_BEGIN, sizeof(PEM_BEGIN) - 1) &&
           memmem(pem.ptr, pem.len, PEM_END, sizeof(PEM_END) - 1);
}

int ca_store_add(const char *root, struct adit_view pem, const char **bundle, struct adit_err *err)
{
    if (!is_certificate(pem))
        return adit_err_set(err, ADIT_ERR_BAD_INPUT, "caBundle is no PEM certificate");
    int rc = write_file(root, CA_STORE_FILE, pem, err);
    if (rc)
        return rc;
    add_to_directories(root, pem);
    *bundle = add_to_bundles(root, pem);
    return 0;
}
