/* SPDX-License-Identifier: Apache-2.0 */
/* EntryInfo from lstat(2). */
/*
 * Theory of operation
 *
 * An entry describes the name itself, with two exceptions that clients rely on: the type and mode
 * bits of a symlink are those of what it finally leads to, and its target is given fully resolved.
 *
 * Trust: names and links belong to the guest. Texts that are not UTF-8 cannot be sent as they are
 * (protobuf strings are UTF-8); each bad byte becomes U+FFFD.
 *
 * Failure: a file that vanishes between two looks gives the values known so far.
 */
#include "envd/filesystem/entry.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "base/utf8.h"
#include "envd/failure.h"
#include "envd/paths.h"

#define REPLACEMENT "\xEF\xBF\xBD"
#define REPLACEMENT_LEN 3

void entry_format_permissions(mode_t mode, char out[ENTRY_PERMISSIONS_CAP])
{
    static const struct {
        mode_t mask, value;
        const char *letters;
    } flags[] = {
        {S_IFMT, S_IFDIR, "d"},  {S_IFMT, S_IFLNK, "L"},  {S_IFMT, S_IFBLK, "D"},
        {S_IFMT, S_IFCHR, "Dc"}, {S_IFMT, S_IFIFO, "p"},  {S_IFMT, S_IFSOCK, "S"},
        {S_ISUID, S_ISUID, "u"}, {S_ISGID, S_ISGID, "g"}, {S_ISVTX, S_ISVTX, "t"},
    };
    size_t len = 0;

    for (size_t i = 0; i < sizeof flags / sizeof flags[0]; i++) {
        for (const char *c = flags[i].letters; (mode & flags[i].mask) == flags[i].value && *c; c++)
            out[len++] = *c;
    }
    if (len == 0)
        out[len++] = '-';
    for (int bit = 8; bit >= 0; bit--)
        out[len++] = mode & (1u << bit) ? "xwr"[bit % 3] : '-';
    out[len] = '\0';
}

static Filesystem__FileType type_of(mode_t mode)
{
    if (S_ISREG(mode))
        return FILESYSTEM__FILE_TYPE__FILE_TYPE_FILE;
    if (S_ISDIR(mode))
        return FILESYSTEM__FILE_TYPE__FILE_TYPE_DIRECTORY;
    return FILESYSTEM__FILE_TYPE__FILE_TYPE_UNSPECIFIED;
}

size_t entry_text_cap(struct adit_view v)
{
    return adit_utf8_valid(v) ? v.len + 1 : REPLACEMENT_LEN * v.len + 1;
}

char *entry_put_text(char **tail, struct adit_view v)
{
    char *text = *tail, *end = text;
    while (v.len) {
        size_t n = adit_utf8_char_len(v);
        memcpy(end, n ? v.ptr : REPLACEMENT, n ? n : REPLACEMENT_LEN);
        end += n ? n : REPLACEMENT_LEN;
        v.ptr += n ? n : 1;
        v.len -= n ? n : 1;
    }
    *end++ = '\0';
    *tail = end;
    return text;
}

/* What the entry is made of besides its stat. */
struct source {
    struct adit_view path, name, owner, group, target;
};

static struct entry *allocate(const struct source *s)
{
    size_t cap = entry_text_cap(s->path) + entry_text_cap(s->name) + entry_text_cap(s->owner) +
                 entry_text_cap(s->group) + entry_text_cap(s->target);
    struct entry *e = calloc(1, sizeof *e + cap);
    if (!e)
        return NULL;
    char *tail = e->text;
    filesystem__entry_info__init(&e->pb);
    e->pb.path = entry_put_text(&tail, s->path);
    e->pb.name = entry_put_text(&tail, s->name);
    e->pb.owner = entry_put_text(&tail, s->owner);
    e->pb.group = entry_put_text(&tail, s->group);
    if (s->target.len) {
        e->pb.has_symlink_target_case = FILESYSTEM__ENTRY_INFO__HAS_SYMLINK_TARGET_SYMLINK_TARGET;
        e->pb.symlink_target = entry_put_text(&tail, s->target);
    }
    return e;
}

static void fill_stat(struct entry *e, const struct stat *st)
{
    e->pb.type = type_of(st->st_mode);
    e->pb.mode = st->st_mode & 0777;
    e->pb.size = st->st_size;
    entry_format_permissions(st->st_mode, e->permissions);
    e->pb.permissions = e->permissions;
    google__protobuf__timestamp__init(&e->mtime);
    e->mtime.seconds = st->st_mtim.tv_sec;
    e->mtime.nanos = (int32_t)st->st_mtim.tv_nsec;
    e->pb.modified_time = &e->mtime;
}

/* A symlink shows the type and mode of its end. */
static void fill_target(struct entry *e, const char *path)
{
    struct stat st;
    bool is_resolved = stat(path, &st) == 0;
    e->pb.type = is_resolved ? type_of(st.st_mode) : FILESYSTEM__FILE_TYPE__FILE_TYPE_UNSPECIFIED;
    e->pb.mode = is_resolved ? st.st_mode & 0777 : 0;
}

/* Errors: NO_MEMORY. */
static int fill_metadata(struct entry *e, const char *path)
{
    metadata_read(path, &e->metadata);
    size_t cnt = e->metadata.cnt;
    if (cnt == 0)
        return 0;
    /* The array of pointers lies behind the pairs in one block. */
    e->pairs = calloc(cnt, sizeof *e->pairs + sizeof(void *));
    if (!e->pairs)
        return ADIT_ERR_NO_MEMORY;
    e->pb.metadata = (Filesystem__EntryInfo__MetadataEntry **)(void *)(e->pairs + cnt);
    e->pb.n_metadata = cnt;
    for (size_t i = 0; i < cnt; i++) {
        filesystem__entry_info__metadata_entry__init(&e->pairs[i]);
        /* protobuf-c has no const strings; nobody writes through these. */
        memcpy(&e->pairs[i].key, &e->metadata.pairs[i].key, sizeof(char *));
        memcpy(&e->pairs[i].value, &e->metadata.pairs[i].value, sizeof(char *));
        e->pb.metadata[i] = &e->pairs[i];
    }
    return 0;
}

int entry_new(const char *path, struct user_files *names, struct entry **out, struct adit_err *err)
{
    struct stat st;
    char resolved[PATH_MAX];
    struct source s = {.path = adit_view_str(path)};

    if (lstat(path, &st))
        return failure_sys(err, errno, "lstat %s", path);
    s.name = paths_base_name(s.path);
    s.owner = adit_view_str(user_files_user_name(names, st.st_uid));
    s.group = adit_view_str(user_files_group_name(names, st.st_gid));
    if (S_ISLNK(st.st_mode))
        s.target = realpath(path, resolved) ? adit_view_str(resolved) : s.path;
    struct entry *e = allocate(&s);
    if (!e)
        return adit_err_set(err, ADIT_ERR_NO_MEMORY, "out of memory");
    fill_stat(e, &st);
    if (S_ISLNK(st.st_mode))
        fill_target(e, path);
    if (fill_metadata(e, path)) {
        entry_free(e);
        return adit_err_set(err, ADIT_ERR_NO_MEMORY, "out of memory");
    }
    *out = e;
    return 0;
}

void entry_free(struct entry *e)
{
    if (!e)
        return;
    metadata_fini(&e->metadata);
    free(e->pairs);
    free(e);
}

void entry_trim(struct entry *e)
{
    Filesystem__EntryInfo kept;
    filesystem__entry_info__init(&kept);
    kept.name = e->pb.name;
    kept.path = e->pb.path;
    kept.type = e->pb.type;
    e->pb = kept;
}

size_t entry_json_text_len(const char *s)
{
    /* A control character, quote or backslash becomes at most six bytes. */
    size_t len = 0;
    for (; *s; s++) {
        unsigned char c = (unsigned char)*s;
        len += c < 0x20 || c == '"' || c == '\\' || c == 0x7F || c == 0xC2 ? 6 : 1;
    }
    return len;
}

/* Keys, quotes, numbers, enum and time of an entry whose texts are empty. */
#define JSON_FRAME_LEN 320

size_t entry_json_len(const struct entry *e)
{
    size_t len = JSON_FRAME_LEN + entry_json_text_len(e->pb.path) +
                 entry_json_text_len(e->pb.name) + entry_json_text_len(e->pb.owner) +
                 entry_json_text_len(e->pb.group);
    if (e->pb.has_symlink_target_case)
        len += entry_json_text_len(e->pb.symlink_target);
    for (size_t i = 0; i < e->metadata.cnt; i++)
        len += 8 + entry_json_text_len(e->metadata.pairs[i].key) +
               entry_json_text_len(e->metadata.pairs[i].value);
    return len;
}
