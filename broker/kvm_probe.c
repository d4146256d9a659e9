/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Probing KVM.
 *
 * Theory of operation
 *
 * What:    the launcher boots the guest's images with KVM and a deadline (LAUNCH_PROBE); envd
 * leaves at once. What comes of it is kept with a digest of everything that it depends on, so that
 * a start of the broker costs nothing until one of them changes.
 * Trust:   the file is the broker's own. Who can write it can have sandboxes emulated instead of
 * accelerated, nothing else.
 * Failure: without an answer KVM counts as not working, and the next start asks again.
 */
#include "broker/kvm_probe.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "base/encode.h"
#include "base/file.h"
#include "base/sha256.h"
#include "broker/jtext.h"

#define FILE_CAP 4096
/* A name that no sandbox has. */
#define PROBE_ID "kvmprobe"

static void add_file(struct adit_sha256 *digest, const char *path)
{
    struct stat st;
    char text[PATH_MAX + 128];
    memset(&st, 0, sizeof(st));
    (void)stat(path, &st); /* one that is missing is all zero */
    (void)snprintf(text, sizeof(text), "%s %llu %llu %lld.%09ld\n", path,
                   (unsigned long long)st.st_ino, (unsigned long long)st.st_size,
                   (long long)st.st_mtim.tv_sec, st.st_mtim.tv_nsec);
    adit_sha256_add(digest, adit_view_str(text));
}

void kvm_probe_init(struct kvm_probe *p, const char *boot_id, const char *const *files,
                    size_t file_cnt)
{
    uint8_t bytes[ADIT_SHA256_LEN];
    struct adit_sha256 digest;
    struct utsname host;
    memset(p, 0, sizeof(*p));
    adit_sha256_begin(&digest);
    adit_sha256_add(&digest, adit_view_str(boot_id));
    if (uname(&host) == 0)
        adit_sha256_add(&digest, adit_view_str(host.version));
    for (size_t i = 0; i < file_cnt; i++)
        add_file(&digest, files[i]);
    adit_sha256_end(&digest, bytes);
    adit_hex_encode(bytes, sizeof(bytes), p->key);
    if (access(KVM_PROBE_DEVICE, F_OK) == 0)
        return;
    p->is_known = true;
    (void)snprintf(p->why, sizeof(p->why), "there is no %s", KVM_PROBE_DEVICE);
}

/* ---- the answer on disk ---- */

static void take(struct kvm_probe *p, const json_t *doc)
{
    const char *key = NULL, *why = "";
    bool works = false;
    if (jtext_string(doc, "key", &key, NULL) || !key || strcmp(key, p->key) != 0 ||
        jtext_string(doc, "why", &why, NULL) || jtext_bool(doc, "works", &works, NULL))
        return;
    p->is_known = true;
    p->works = works;
    (void)snprintf(p->why, sizeof(p->why), "%s", why);
}

static void path_of(const char *state_dir, char out[PATH_MAX])
{
    (void)snprintf(out, PATH_MAX, "%s/" KVM_PROBE_FILE, state_dir);
}

void kvm_probe_load(struct kvm_probe *p, const char *state_dir)
{
    char path[PATH_MAX];
    struct adit_buf text;
    json_t *doc = NULL;
    if (p->is_known)
        return;
    path_of(state_dir, path);
    adit_buf_init(&text, FILE_CAP);
    if (adit_file_read(AT_FDCWD, path, &text, NULL) == 0 &&
        jtext_parse(adit_buf_view(&text), &doc, NULL) == 0)
        take(p, doc);
    json_decref(doc);
    adit_buf_fini(&text);
}

int kvm_probe_save(const struct kvm_probe *p, const char *state_dir, struct adit_err *err)
{
    char path[PATH_MAX];
    struct adit_buf text;
    json_t *doc =
        json_pack("{s:s, s:b, s:s}", "key", p->key, "works", (int)p->works, "why", p->why);
    path_of(state_dir, path);
    adit_buf_init(&text, FILE_CAP);
    int rc = doc ? jtext_append(&text, doc) : ADIT_ERR_NO_MEMORY;
    rc = rc ? adit_err_set(err, rc, "write %s", path)
            : adit_file_replace(AT_FDCWD, path, adit_buf_view(&text), 0600, err);
    adit_buf_fini(&text);
    json_decref(doc);
    return rc;
}

/* ---- asking ---- */

struct answer {
    struct kvm_probe *probe;
    bool has_come;
};

/* Says an error something about KVM, or about the moment? */
static bool is_verdict(int code)
{
    switch (code) {
    case ADIT_ERR_UNAVAILABLE:
    case ADIT_ERR_CANCELED:
    case ADIT_ERR_LIMIT:
    case ADIT_ERR_NO_MEMORY:
    case ADIT_ERR_NO_SPACE:
    case ADIT_ERR_UNIMPLEMENTED:
    case ADIT_ERR_PRECONDITION: /* nothing was booted: an image is not there, or not root's */
        return false;
    default:
        return true;
    }
}

void kvm_probe_note(struct kvm_probe *p, const struct adit_err *err)
{
    p->works = !err;
    p->is_known = !err || is_verdict(err->code);
    (void)snprintf(p->why, sizeof(p->why), "%s", err ? err->msg : "");
}

static void on_answer(void *user, const struct launch_reply *reply, int take_pidfd,
                      const struct adit_err *err)
{
    struct answer *a = user;
    (void)reply;
    if (take_pidfd >= 0)
        (void)close(take_pidfd); /* a PROBE has none */
    a->has_come = true;
    kvm_probe_note(a->probe, err);
}

void kvm_probe_run(struct kvm_probe *p, uv_loop_t *uv, struct launcher_client *launcher)
{
    struct launch_request request = {.kind = LAUNCH_PROBE,
                                     .driver = LAUNCH_DRIVER_QEMU,
                                     .accel = LAUNCH_ACCEL_KVM,
                                     .slot = LAUNCH_SLOTS - 1,
                                     .sandbox_id = PROBE_ID};
    struct answer a = {p, false};
    struct adit_err err = ADIT_ERR_INIT;
    if (launcher_client_send(launcher, &request, on_answer, &a, &err)) {
        (void)snprintf(p->why, sizeof(p->why), "%s", err.msg);
        return;
    }
    while (!a.has_come)
        (void)uv_run(uv, UV_RUN_ONCE);
}
