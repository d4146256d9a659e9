/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Templates on disk: identity, freshness, replacement.
 *
 * Theory of operation
 *
 * What:    an alias has one template id for ever (a digest of the alias), so a template that is
 * built again, also on another host, is the same template with a new build id. States:  nothing
 * ──begin──> .build-<build id> ──commit──> <template id> └──abandon──> nothing The last step is one
 * rename, so a reader sees the old template or the new one. Old:     a running sandbox reads from
 * the root that it was started with; that folder is renamed to
 *          ".old-<build id>" and left for the operator to remove.
 * Locking: flock on <out>/.lock; whoever has it may take every ".build-…" for a leftover.
 */
#include "rootfs-builder/template_out.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/encode.h"
#include "base/file.h"
#include "base/json.h"
#include "base/rand.h"
#include "base/sha256.h"

void template_out_id(const char *alias, char id[TEMPLATE_OUT_ID_LEN + 1])
{
    static const char digits[] = "abcdefghijklmnopqrstuvwxyz0123456789";
    uint8_t digest[ADIT_SHA256_LEN];
    adit_sha256(adit_view_str(alias), digest);
    for (size_t i = 0; i < TEMPLATE_OUT_ID_LEN; i++)
        id[i] = digits[digest[i] % (sizeof(digits) - 1)];
    id[TEMPLATE_OUT_ID_LEN] = '\0';
}

bool template_out_is_alias(struct adit_view alias)
{
    size_t slashes = 0;
    for (size_t i = 0; i < alias.len; i++) {
        char c = alias.ptr[i];
        if (c == '/')
            slashes++;
        else if (!(c >= 'a' && c <= 'z') && !(c >= '0' && c <= '9') && c != '-' && c != '_')
            return false;
    }
    return alias.len >= 1 && alias.len <= 128 && slashes <= 1 && alias.ptr[0] != '/' &&
           alias.ptr[alias.len - 1] != '/';
}

static int append_text(const char *bytes, size_t len, void *out)
{
    return adit_buf_append(out, bytes, len);
}

int template_out_write_json(const struct template_out *t, const struct builder_conf *conf,
                            int64_t wall_ns, struct adit_buf *out, struct adit_err *err)
{
    char created[ADIT_CLOCK_RFC3339_CAP];
    adit_clock_format_ms(wall_ns, created);
    json_t *root = json_pack(
        "{s:s, s:s, s:[s], s:I, s:I, s:I, s:s, s:s, s:s*, s:s, s:s, s:s, s:s, s:s*}", "template_id",
        t->template_id, "build_id", t->build_id, "aliases", conf->alias, "cpu_count",
        (json_int_t)conf->cpu_count, "memory_mb", (json_int_t)conf->memory_mb, "disk_mb",
        (json_int_t)conf->disk_mb, "created_at", created, "default_user", conf->default_user,
        "default_workdir", conf->default_workdir[0] ? conf->default_workdir : NULL, "start_cmd",
        conf->start_cmd, "ready_cmd", conf->ready_cmd, "root", "root", "fingerprint",
        t->fingerprint, "isolation",
        conf->isolation && conf->isolation[0] ? conf->isolation : NULL);
    if (!root)
        return adit_err_set(err, ADIT_ERR_BAD_INPUT, "an option is not UTF-8, or no memory");
    int rc = conf->more ? json_object_update(root, conf->more) : 0;
    if (!rc)
        rc = json_dump_callback(root, append_text, out, JSON_INDENT(2));
    json_decref(root);
    if (!rc)
        rc = adit_buf_append_char(out, '\n');
    return rc ? adit_err_set(err, ADIT_ERR_LIMIT, "template.json does not fit") : 0;
}

static void remove_leftovers(const struct template_out *t)
{
    int fd = dup(t->out_fd);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    struct dirent *entry;
    if (!dir)
        return;
    while ((entry = readdir(dir)) != NULL)
        if (strncmp(entry->d_name, ".build-", 7) == 0)
            (void)adit_file_remove_tree(t->out_fd, entry->d_name, NULL); /* tried again next time */
    (void)closedir(dir); /* opened for reading only */
}

int template_out_lock(struct template_out *t, const char *out, struct adit_err *err)
{
    memset(t, 0, sizeof(*t));
    t->lock_fd = t->out_fd = -1;
    int rc = adit_file_mkdirs(out, 0755, err);
    if (rc)
        return rc;
    t->out_fd = open(out, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (t->out_fd >= 0)
        t->lock_fd = openat(t->out_fd, ".lock", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (t->lock_fd < 0 || flock(t->lock_fd, LOCK_EX)) {
        rc = adit_err_sys(err, errno, "lock %s", out);
        template_out_close(t);
        return rc;
    }
    remove_leftovers(t);
    return 0;
}

int template_out_open(struct template_out *t, const struct builder_conf *conf,
                      const char fingerprint[TEMPLATE_OUT_FINGERPRINT_LEN + 1],
                      struct adit_err *err)
{
    int rc = template_out_lock(t, conf->out, err);
    if (rc)
        return rc;
    template_out_id(conf->alias, t->template_id);
    (void)snprintf(t->fingerprint, sizeof(t->fingerprint), "%s", fingerprint);
    return 0;
}

void template_out_close(struct template_out *t)
{
    if (t->lock_fd >= 0)
        (void)close(t->lock_fd); /* releases the lock */
    if (t->out_fd >= 0)
        (void)close(t->out_fd); /* a directory: nothing to lose */
    t->lock_fd = t->out_fd = -1;
}

bool template_out_is_current(const struct template_out *t)
{
    char path[64];
    struct adit_buf text;
    (void)snprintf(path, sizeof(path), "%s/template.json", t->template_id);
    adit_buf_init(&text, TEMPLATE_OUT_JSON_CAP);
    json_t *root = NULL;
    if (!adit_file_read(t->out_fd, path, &text, NULL))
        root = adit_json_load(adit_buf_view(&text), 0, NULL);
    const char *have = json_string_value(json_object_get(root, "fingerprint"));
    bool is_current = have && strcmp(have, t->fingerprint) == 0;
    json_decref(root);
    adit_buf_fini(&text);
    return is_current;
}

int template_out_begin(struct template_out *t, struct adit_err *err)
{
    adit_rand_uuid(t->build_id);
    (void)snprintf(t->work, sizeof(t->work), ".build-%s", t->build_id);
    return mkdirat(t->out_fd, t->work, 0755) ? adit_err_sys(err, errno, "make %s", t->work) : 0;
}

static int write_json(const struct template_out *t, const struct builder_conf *conf, int work_fd,
                      struct adit_err *err)
{
    struct adit_buf text;
    adit_buf_init(&text, TEMPLATE_OUT_JSON_CAP);
    int rc = template_out_write_json(t, conf, adit_clock_wall_ns(), &text, err);
    if (!rc)
        rc = adit_file_replace(work_fd, "template.json", adit_buf_view(&text), 0644, err);
    adit_buf_fini(&text);
    return rc;
}

int template_out_commit(struct template_out *t, const struct builder_conf *conf, char old_name[64],
                        struct adit_err *err)
{
    ADIT_CLEANUP_CLOSE int work_fd =
        openat(t->out_fd, t->work, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (work_fd < 0)
        return adit_err_sys(err, errno, "open %s", t->work);
    int rc = write_json(t, conf, work_fd, err);
    if (!rc && syncfs(work_fd))
        rc = adit_err_sys(err, errno, "write %s to disk", t->work);
    if (rc)
        return rc;
    old_name[0] = '\0';
    if (renameat2(t->out_fd, t->work, t->out_fd, t->template_id, RENAME_NOREPLACE) == 0)
        return 0;
    if (errno != EEXIST ||
        renameat2(t->out_fd, t->work, t->out_fd, t->template_id, RENAME_EXCHANGE))
        return adit_err_sys(err, errno, "put template %s in place", t->template_id);
    (void)snprintf(old_name, 64, ".old-%s", t->build_id);
    if (renameat(t->out_fd, t->work, t->out_fd, old_name))
        return adit_err_sys(err, errno, "keep the old template as %s", old_name);
    return 0;
}

void template_out_abandon(struct template_out *t)
{
    (void)adit_file_remove_tree(t->out_fd, t->work, NULL); /* the next builder tries again */
}
