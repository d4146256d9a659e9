/* SPDX-License-Identifier: Apache-2.0 */
/* Directory trees: make, remove, list. */
/*
 * Theory of operation
 *
 * A listing is a walk with a stack of its own. Each level holds the sorted names of one directory
 * and how far it came; the path grows and shrinks with the level. No directory stays open, so the
 * number of descriptors does not depend on depth.
 *
 * Limits: TREE_LIST_ENTRIES_MAX counts the names read, listed or not, so memory is bounded before a
 * huge directory is sorted; TREE_LIST_BYTES_MAX bounds the answer; a path never exceeds PATH_MAX.
 *
 * Trust: the tree belongs to the guest and changes while it is walked. Each look may find something
 * else than the one before it; a directory that became a file or vanished is left out.
 *
 * Failure: the list is empty after an error.
 */
#include "envd/filesystem/tree.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "envd/failure.h"
#include "envd/paths.h"

#define DIR_MODE 0755

static int no_memory(struct adit_err *err)
{
    return adit_err_set(err, ADIT_ERR_NO_MEMORY, "out of memory");
}

/* ---- making ---- */

static bool is_dir(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

static int make_dir(const char *path, struct tree_owner owner, struct adit_err *err)
{
    if (mkdir(path, DIR_MODE) == 0) {
        if (lchown(path, owner.uid, owner.gid))
            return failure_sys(err, errno, "chown %s", path);
        return 0;
    }
    int failed = errno;
    if (failed == EEXIST && is_dir(path))
        return 0;
    if (failed == EEXIST || failed == ENOTDIR)
        return adit_err_set(err, ADIT_ERR_IO, "path is a file: %s", path);
    return failure_sys(err, failed, "mkdir %s", path);
}

int tree_make_dirs(const char *path, struct tree_owner owner, struct adit_err *err)
{
    char part[PATH_MAX];
    size_t len = strlen(path);

    if (is_dir(path))
        return 0;
    if (len >= sizeof part)
        return failure_as(err, ADIT_ERR_BAD_INPUT, ENAMETOOLONG, "mkdir");
    for (size_t end = 1; end <= len; end++) {
        if ((path[end] != '/' && path[end] != '\0') || path[end - 1] == '/')
            continue;
        memcpy(part, path, end);
        part[end] = '\0';
        int rc = make_dir(part, owner, err);
        if (rc)
            return rc;
    }
    return 0;
}

int tree_make_parents(const char *path, struct tree_owner owner, struct adit_err *err)
{
    struct adit_view dir = paths_dir_name(adit_view_str(path));
    ADIT_CLEANUP_FREE char *text = adit_view_dup(dir);
    return text ? tree_make_dirs(text, owner, err) : no_memory(err);
}

/* ---- removing ---- */

int tree_remove(const char *path, struct adit_err *err)
{
    struct adit_view name = paths_base_name(adit_view_str(path));
    ADIT_CLEANUP_FREE char *dir = adit_view_dup(paths_dir_name(adit_view_str(path)));
    ADIT_CLEANUP_FREE char *base = adit_view_dup(name);

    if (!dir || !base)
        return no_memory(err);
    ADIT_CLEANUP_CLOSE int dir_fd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (dir_fd < 0)
        return errno == ENOENT ? 0 : failure_sys(err, errno, "open %s", dir);
    return adit_file_remove_tree(dir_fd, base, err);
}

/* ---- listing ---- */

/* @names: sorted. @path_len: of the directory, with its slash. */
struct level {
    char **names;
    size_t cnt, next, path_len;
};

/*
 * @seen: names read so far
 * @path: of the entry looked at
 */
struct walk {
    struct tree_list *list;
    struct user_files users;
    size_t max_depth, depth, seen;
    struct level *levels;
    char path[PATH_MAX];
};

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static void level_fini(struct level *l)
{
    for (size_t i = 0; i < l->cnt; i++)
        free(l->names[i]);
    free(l->names);
    memset(l, 0, sizeof *l);
}

/* @array with room for one more pointer. Return: NULL without memory, and @array stays as it is. */
static void *grow(void *array, size_t cnt, size_t *cap)
{
    if (cnt < *cap)
        return array;
    size_t more = *cap ? 2 * *cap : 32;
    void *grown = realloc(array, more * sizeof(void *));
    if (grown)
        *cap = more;
    return grown;
}

static int add_name(struct walk *w, struct level *l, size_t *cap, const char *name,
                    struct adit_err *err)
{
    if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
        return 0;
    if (++w->seen > TREE_LIST_ENTRIES_MAX)
        return adit_err_set(err, ADIT_ERR_LIMIT, "more than %d entries to list",
                            TREE_LIST_ENTRIES_MAX);
    char **names = grow(l->names, l->cnt, cap), *copy = strdup(name);
    if (names)
        l->names = names;
    if (!names || !copy) {
        free(copy);
        return no_memory(err);
    }
    names[l->cnt++] = copy;
    return 0;
}

static int read_names(struct walk *w, struct level *l, DIR *dir, struct adit_err *err)
{
    size_t cap = 0;
    for (;;) {
        errno = 0;
        const struct dirent *d = readdir(dir);
        if (!d && errno)
            return failure_sys(err, errno, "error reading directory %s", w->path);
        if (!d)
            break;
        int rc = add_name(w, l, &cap, d->d_name, err);
        if (rc)
            return rc;
    }
    if (l->cnt)
        qsort(l->names, l->cnt, sizeof *l->names, compare_names);
    return 0;
}

/* An inner directory that cannot be opened is listed itself, and what is in it left out. */
static bool is_skippable(int sys_errno)
{
    return sys_errno == ENOENT || sys_errno == ENOTDIR || sys_errno == ELOOP ||
           sys_errno == EACCES || sys_errno == EPERM;
}

/* Go into the directory w->path. */
static int enter(struct walk *w, struct adit_err *err)
{
    size_t len = strlen(w->path);
    bool is_root = w->depth == 0;
    int flags = O_RDONLY | O_DIRECTORY | O_CLOEXEC | (is_root ? 0 : O_NOFOLLOW);

    int fd = open(w->path, flags);
    if (fd < 0 && !is_root && is_skippable(errno))
        return 0;
    if (fd < 0)
        return failure_sys(err, errno, "error reading directory %s", w->path);
    DIR *dir = fdopendir(fd);
    if (!dir) {
        (void)close(fd); /* opened for reading only */
        return no_memory(err);
    }
    if (w->path[len - 1] != '/' && len + 1 < sizeof w->path) {
        w->path[len++] = '/';
        w->path[len] = '\0';
    }
    struct level *l = &w->levels[w->depth++];
    l->path_len = len;
    int rc = read_names(w, l, dir, err);
    (void)closedir(dir); /* opened for reading only */
    return rc;
}

static int add_entry(struct walk *w, struct entry *take_e, struct adit_err *err)
{
    struct tree_list *list = w->list;
    list->json_len += entry_json_len(take_e);
    if (list->json_len > TREE_LIST_BYTES_MAX) {
        entry_free(take_e);
        return adit_err_set(err, ADIT_ERR_LIMIT, "more than %u bytes to list", TREE_LIST_BYTES_MAX);
    }
    struct entry **entries = grow(list->entries, list->cnt, &list->cap);
    if (!entries) {
        entry_free(take_e);
        return no_memory(err);
    }
    list->entries = entries;
    entries[list->cnt++] = take_e;
    return 0;
}

/* A directory itself, not a symlink to one. */
static bool is_real_dir(const struct entry *e)
{
    return e->pb.type == FILESYSTEM__FILE_TYPE__FILE_TYPE_DIRECTORY &&
           !e->pb.has_symlink_target_case;
}

static int visit(struct walk *w, const char *name, struct adit_err *err)
{
    struct level *l = &w->levels[w->depth - 1];
    size_t len = strlen(name);
    struct entry *e;

    if (l->path_len + len >= sizeof w->path)
        return failure_as(err, ADIT_ERR_IO, ENAMETOOLONG, "error reading directory");
    memcpy(w->path + l->path_len, name, len + 1);
    int rc = entry_new(w->path, &w->users, &e, err);
    if (rc)
        return rc == ADIT_ERR_NOT_FOUND ? 0 : rc;
    bool goes_deeper = is_real_dir(e) && w->depth < w->max_depth;
    rc = add_entry(w, e, err);
    return rc || !goes_deeper ? rc : enter(w, err);
}

static int walk(struct walk *w, struct adit_err *err)
{
    int rc = enter(w, err);
    while (!rc && w->depth > 0) {
        struct level *l = &w->levels[w->depth - 1];
        if (l->next < l->cnt) {
            rc = visit(w, l->names[l->next++], err);
        } else {
            level_fini(l);
            w->depth--;
        }
    }
    return rc;
}

static int check_root(const char *path, struct adit_err *err)
{
    struct stat st;
    if (stat(path, &st)) {
        if (errno == ENOENT || errno == ENOTDIR)
            return failure_as(err, ADIT_ERR_NOT_FOUND, errno, "path not found: lstat %s", path);
        if (errno == ELOOP)
            return failure_as(err, ADIT_ERR_PRECONDITION, errno,
                              "cyclic symlink or too long a chain of them at %s", path);
        return failure_as(err, ADIT_ERR_IO, errno, "error getting path info: stat %s", path);
    }
    if (!S_ISDIR(st.st_mode))
        return adit_err_set(err, ADIT_ERR_BAD_INPUT, "path is not a directory: %s", path);
    return 0;
}

int tree_list(const char *path, uint32_t depth, struct tree_list *out, struct adit_err *err)
{
    size_t len = strlen(path), max_depth = depth < 1 ? 1 : depth;
    memset(out, 0, sizeof *out);
    int rc = check_root(path, err);
    if (rc)
        return rc;
    if (max_depth > TREE_DEPTH_MAX)
        max_depth = TREE_DEPTH_MAX;
    if (len >= PATH_MAX)
        return failure_as(err, ADIT_ERR_BAD_INPUT, ENAMETOOLONG, "list");

    ADIT_CLEANUP_FREE struct walk *w = calloc(1, sizeof *w);
    ADIT_CLEANUP_FREE struct level *levels = calloc(max_depth, sizeof *levels);
    if (!w || !levels)
        return no_memory(err);
    w->list = out;
    w->max_depth = max_depth;
    w->levels = levels;
    memcpy(w->path, path, len + 1);
    user_files_refresh(&w->users);
    rc = walk(w, err);
    while (w->depth > 0)
        level_fini(&levels[--w->depth]);
    user_files_fini(&w->users);
    if (rc)
        tree_list_fini(out);
    return rc;
}

void tree_list_fini(struct tree_list *l)
{
    for (size_t i = 0; i < l->cnt; i++)
        entry_free(l->entries[i]);
    free(l->entries);
    memset(l, 0, sizeof *l);
}
