/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Getting an image.
 *
 * Theory of operation
 *
 *   reference ── skopeo, a cell ──> <work>/oci/layout ── umoci, another cell ──> <work>/root
 *
 * What:  skopeo reads every form of image, chooses the one for this machine where there are
 * several, and writes an OCI layout. Its documents are read here, outside the cell, as strangers'
 * files. Digests: skopeo checks what it fetches; manifest and configuration are checked here once
 * more, before they are read; umoci checks each layer as it lies there and as it is unpacked.
 * Network: skopeo has the host's for images in registries only.
 * Credentials: only the file that the operator names; the cell cannot read root's own.
 */
#include "rootfs-builder/oci_image.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "base/cleanup.h"
#include "base/encode.h"
#include "base/file.h"
#include "base/sha256.h"
#include "rootfs-builder/fingerprint.h"
#include "rootfs-builder/oci_cell.h"

#define AUTH_PLACE "/auth"
#define WORK_PLACE "/work"
#define ARGS_MAX 20
#define ENV_CAP 4096
#define READ_STEP 65536

/* A call of skopeo and the words that are put together for it. */
struct call {
    const char *argv[ARGS_MAX];
    size_t argc;
    const char *env[OCI_CELL_ENV_MAX];
    size_t env_cnt;
    char env_text[OCI_CELL_ENV_MAX][ENV_CAP];
    char source[OCI_REFERENCE_CAP + 32];
    struct oci_cell cell;
};

static void add_word(struct call *c, const char *word)
{
    c->argv[c->argc++] = word;
}

static void add_bind(struct call *c, const char *path, const char *at, bool is_writable)
{
    c->cell.binds[c->cell.bind_cnt++] = (struct oci_cell_bind){path, at, is_writable};
}

/* Where the host reaches registries through a proxy, so does the cell. */
static void add_proxies(struct call *c)
{
    static const char *const names[] = {"http_proxy", "https_proxy", "no_proxy",
                                        "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        const char *value = getenv(names[i]);
        int len = value ? snprintf(c->env_text[i], ENV_CAP, "%s=%s", names[i], value) : ENV_CAP;
        if (len < ENV_CAP)
            c->env[c->env_cnt++] = c->env_text[i];
    }
}

/* skopeo with its words up to the command's own. */
static void begin_call(struct call *c, const struct builder_conf *conf,
                       const struct oci_reference *ref, const char *command)
{
    memset(c, 0, sizeof(*c));
    oci_reference_source(ref, c->source);
    add_word(c, "skopeo");
    add_word(c, "--override-os=linux");
    add_word(c, "--override-arch=" OCI_DOCUMENT_ARCHITECTURE);
    add_word(c, command);
    if (oci_reference_is_local(ref))
        add_bind(c, ref->path, OCI_REFERENCE_PLACE, false);
    else
        add_proxies(c);
    c->cell.argv = c->argv;
    c->cell.env = c->env;
    c->cell.is_online = !oci_reference_is_local(ref);
    c->cell.bytes_max = conf->size_max;
    c->cell.entries_max = conf->entries_max;
    c->cell.time_max_ms = conf->time_max_ms;
}

/* ---- which image it is ---- */

static int digest_file(const char *path, struct adit_buf *inputs, struct adit_err *err)
{
    static char bytes[READ_STEP];
    uint8_t digest[ADIT_SHA256_LEN];
    struct adit_sha256 sum;
    struct stat st;
    ssize_t n = 1;
    ADIT_CLEANUP_CLOSE int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st))
        return adit_err_sys(err, errno, "open %s", path);
    if (!S_ISREG(st.st_mode))
        return adit_err_set(err, ADIT_ERR_BAD_INPUT, "%s is no file", path);
    adit_sha256_begin(&sum);
    while ((n = read(fd, bytes, sizeof(bytes))) > 0)
        adit_sha256_add(&sum, adit_view_mem(bytes, (size_t)n));
    if (n < 0)
        return adit_err_sys(err, errno, "read %s", path);
    adit_sha256_end(&sum, digest);
    return fingerprint_add(inputs, "archive", adit_view_mem(digest, sizeof(digest)));
}

static int fetch_manifest(const struct builder_conf *conf, const struct oci_reference *ref,
                          struct adit_buf *inputs, struct adit_err *err)
{
    static struct call c;
    struct adit_buf text;
    begin_call(&c, conf, ref, "inspect");
    add_word(&c, "--raw");
    if (conf->auth_file[0]) {
        add_bind(&c, conf->auth_file, AUTH_PLACE, false);
        add_word(&c, "--authfile=" AUTH_PLACE);
    }
    add_word(&c, c.source);
    adit_buf_init(&text, OCI_DOCUMENT_CAP);
    c.cell.output = &text;
    int rc = oci_cell_run(&c.cell, err);
    if (!rc)
        rc = fingerprint_add(inputs, "manifest", adit_buf_view(&text));
    adit_buf_fini(&text);
    return rc;
}

int oci_image_identify(const struct builder_conf *conf, const struct oci_reference *ref,
                       struct adit_buf *inputs, struct adit_err *err)
{
    bool is_archive = strstr(ref->transport, "archive") != NULL;
    if (is_archive)
        return digest_file(ref->path, inputs, err);
    return fetch_manifest(conf, ref, inputs, err);
}

/* ---- its documents ---- */

/* Read a file of the layout, which a program of the cell has made. */
static int read_document(int layout_fd, const char *path, struct adit_buf *out,
                         struct adit_err *err)
{
    char name[32];
    struct stat st;
    struct open_how how = {.flags = O_PATH | O_CLOEXEC,
                           .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS};
    ADIT_CLEANUP_CLOSE int fd = (int)syscall(SYS_openat2, layout_fd, path, &how, sizeof(how));
    if (fd < 0 || fstat(fd, &st))
        return adit_err_sys(err, errno, "image: open %s", path);
    if (!S_ISREG(st.st_mode))
        return adit_err_set(err, ADIT_ERR_BAD_INPUT, "image: %s is no file", path);
    (void)snprintf(name, sizeof(name), "/proc/self/fd/%d", fd);
    adit_buf_clear(out);
    return adit_file_read(AT_FDCWD, name, out, err);
}

static int read_blob(int layout_fd, const struct oci_document_blob *blob, struct adit_buf *out,
                     struct adit_err *err)
{
    char path[OCI_DOCUMENT_HEX_LEN + 32], hex[2 * ADIT_SHA256_LEN + 1];
    uint8_t digest[ADIT_SHA256_LEN];
    (void)snprintf(path, sizeof(path), "blobs/sha256/%s", blob->hex);
    int rc = read_document(layout_fd, path, out, err);
    if (rc)
        return rc;
    adit_sha256(adit_buf_view(out), digest);
    adit_hex_encode(digest, sizeof(digest), hex);
    if (strcmp(hex, blob->hex) != 0)
        return adit_err_set(err, ADIT_ERR_BAD_INPUT, "image: sha256:%s is not what it contains",
                            blob->hex);
    return 0;
}

static int read_config(const char *layout, struct oci_document_config *out, struct adit_err *err)
{
    struct oci_document_blob blob;
    struct oci_document_manifest manifest;
    struct adit_buf text;
    ADIT_CLEANUP_CLOSE int fd = open(layout, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return adit_err_sys(err, errno, "open %s", layout);
    adit_buf_init(&text, OCI_DOCUMENT_CAP);
    int rc = read_document(fd, "index.json", &text, err);
    if (!rc)
        rc = oci_document_index(adit_buf_view(&text), &blob, err);
    if (!rc)
        rc = read_blob(fd, &blob, &text, err);
    if (!rc)
        rc = oci_document_manifest(adit_buf_view(&text), &manifest, err);
    if (!rc)
        rc = read_blob(fd, &manifest.config, &text, err);
    if (!rc)
        rc = oci_document_config(adit_buf_view(&text), manifest.layer_cnt, out, err);
    adit_buf_fini(&text);
    return rc;
}

int oci_image_copy(const struct builder_conf *conf, const struct oci_reference *ref,
                   const char *work_dir, struct oci_document_config *out, struct adit_err *err)
{
    static struct call c;
    char work[4096], path[4096 + 16];
    (void)snprintf(work, sizeof(work), "%s/oci", work_dir);
    (void)snprintf(path, sizeof(path), "%s/tmp", work);
    if (mkdir(work, 0700) || mkdir(path, 0700))
        return adit_err_sys(err, errno, "make %s", path);
    begin_call(&c, conf, ref, "copy");
    add_word(&c, "--quiet");
    add_word(&c, "--dest-compress-format=gzip"); /* umoci reads no other; plain layers stay */
    if (conf->auth_file[0]) {
        add_bind(&c, conf->auth_file, AUTH_PLACE, false);
        add_word(&c, "--src-authfile=" AUTH_PLACE);
    }
    add_word(&c, c.source);
    add_word(&c, "oci:" WORK_PLACE "/layout:image");
    add_bind(&c, work, WORK_PLACE, true);
    c.env[c.env_cnt++] = "TMPDIR=" WORK_PLACE "/tmp";
    c.cell.watched = WORK_PLACE;
    int rc = oci_cell_run(&c.cell, err);
    if (rc)
        return rc;
    (void)snprintf(path, sizeof(path), "%s/layout", work);
    return read_config(path, out, err);
}

int oci_image_drop(const char *work_dir, struct adit_err *err)
{
    ADIT_CLEANUP_CLOSE int fd = open(work_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return adit_err_sys(err, errno, "open %s", work_dir);
    return adit_file_remove_tree(fd, "oci", err);
}
