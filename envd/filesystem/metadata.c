/* SPDX-License-Identifier: Apache-2.0 */
/* Metadata of files: from headers, from and to extended attributes. */
/*
 * Theory of operation
 *
 * A set is one block of texts and one array that points into it. Header names reach us in any case;
 * a key is the lower-cased rest of the name.
 *
 * Trust: headers come from clients, attributes from whatever ran in the sandbox. Keys and values
 * from headers are printable ASCII; attributes are taken as text if they are UTF-8 without NUL.
 *
 * Limits: in the header. An attribute above METADATA_TOTAL_MAX is skipped.
 */
#include "envd/filesystem/metadata.h"

#include <errno.h>
#include <linux/limits.h>
#include <stdlib.h>
#include <sys/xattr.h>

#include "base/cleanup.h"
#include "base/utf8.h"
#include "envd/failure.h"

#define PREFIX_LEN (sizeof METADATA_XATTR - 1)
#define NAME_CAP (XATTR_NAME_MAX + 1)

void metadata_fini(struct metadata *m)
{
    free(m->pairs);
    free(m->text);
    memset(m, 0, sizeof *m);
}

static const struct metadata_pair *find(const struct metadata *m, const char *key)
{
    for (size_t i = 0; i < m->cnt; i++) {
        if (strcmp(m->pairs[i].key, key) == 0)
            return &m->pairs[i];
    }
    return NULL;
}

/* Room for @cnt pairs and @text_len bytes of text. Return: false without memory. */
static bool make_room(struct metadata *m, size_t cnt, size_t text_len)
{
    memset(m, 0, sizeof *m);
    m->pairs = calloc(cnt, sizeof *m->pairs);
    m->text = malloc(text_len);
    if (m->pairs && m->text)
        return true;
    metadata_fini(m);
    return false;
}

/* Copy @v with a NUL to *@tail and move that on. */
static const char *put_text(char **tail, struct adit_view v)
{
    char *text = *tail;
    if (v.len)
        memcpy(text, v.ptr, v.len);
    text[v.len] = '\0';
    *tail += v.len + 1;
    return text;
}

/* ---- headers ---- */

static bool is_metadata_header(struct adit_view name)
{
    struct adit_view start = {name.ptr, sizeof METADATA_HEADER - 1};
    return name.len >= start.len && adit_view_ieq_str(start, METADATA_HEADER);
}

static bool is_printable(struct adit_view v)
{
    for (size_t i = 0; i < v.len; i++) {
        if (v.ptr[i] < 0x20 || v.ptr[i] > 0x7E)
            return false;
    }
    return true;
}

static int check_header(struct adit_view key, struct adit_view value, size_t *total,
                        struct adit_err *err)
{
    if (key.len == 0)
        return adit_err_set(err, ADIT_ERR_BAD_INPUT, "invalid metadata: empty key");
    if (key.len > METADATA_KEY_MAX)
        return adit_err_set(err, ADIT_ERR_BAD_INPUT,
                            "invalid metadata: key of %zu bytes exceeds the maximum of %d", key.len,
                            METADATA_KEY_MAX);
    if (!is_printable(key) || !is_printable(value))
        return adit_err_set(err, ADIT_ERR_BAD_INPUT,
                            "invalid metadata: only printable ASCII is allowed in '%.*s'",
                            ADIT_VIEW_ARG(key));
    *total += PREFIX_LEN + key.len + value.len;
    if (*total > METADATA_TOTAL_MAX)
        return adit_err_set(err, ADIT_ERR_BAD_INPUT,
                            "invalid metadata: more than %d bytes in total", METADATA_TOTAL_MAX);
    return 0;
}

static void lower(char *s)
{
    for (; *s; s++) {
        if (*s >= 'A' && *s <= 'Z')
            *s = (char)(*s - 'A' + 'a');
    }
}

int metadata_from_head(const struct http_head *head, struct metadata *out, struct adit_err *err)
{
    size_t total = 0, cnt = 0;
    char *tail;

    memset(out, 0, sizeof *out);
    for (size_t i = 0; i < head->header_cnt; i++)
        cnt += is_metadata_header(head->headers[i].name);
    if (cnt == 0)
        return 0;
    if (!make_room(out, cnt, METADATA_TOTAL_MAX + 2 * cnt))
        return adit_err_set(err, ADIT_ERR_NO_MEMORY, "out of memory");
    tail = out->text;
    for (size_t i = 0; i < head->header_cnt; i++) {
        struct adit_view key = head->headers[i].name, value = head->headers[i].value;
        if (!is_metadata_header(key))
            continue;
        key.ptr += sizeof METADATA_HEADER - 1;
        key.len -= sizeof METADATA_HEADER - 1;
        int rc = check_header(key, value, &total, err);
        if (rc) {
            metadata_fini(out);
            return rc;
        }
        struct metadata_pair pair = {put_text(&tail, key), NULL};
        lower(tail - key.len - 1);
        pair.value = put_text(&tail, value);
        if (!find(out, pair.key))
            out->pairs[out->cnt++] = pair;
    }
    return 0;
}

/* ---- extended attributes ---- */

/* Iterate over the names of user.e2b.*; @pos begins 0. Return: NULL at the end. */
static const char *next_name(const char *names, size_t len, size_t *pos)
{
    while (*pos < len) {
        const char *name = names + *pos;
        *pos += strlen(name) + 1;
        if (strncmp(name, METADATA_XATTR, PREFIX_LEN) == 0 && name[PREFIX_LEN])
            return name;
    }
    return NULL;
}

/* The name list, ended by a NUL beyond @len. Return: NULL when there is nothing to see. */
static char *list_of_path(const char *path, size_t *len)
{
    ssize_t need = listxattr(path, NULL, 0);
    if (need <= 0)
        return NULL;
    char *names = calloc(1, (size_t)need + 1);
    ssize_t got = names ? listxattr(path, names, (size_t)need) : -1;
    if (got <= 0) {
        free(names);
        return NULL;
    }
    *len = (size_t)got;
    return names;
}

static void read_value(const char *path, const char *name, char **tail, const char *end,
                       struct metadata *out)
{
    char value[METADATA_TOTAL_MAX];
    ssize_t n = getxattr(path, name, value, sizeof value);
    struct adit_view v = {value, n > 0 ? (size_t)n : 0}, key = adit_view_str(name + PREFIX_LEN);

    if (n < 0 || !adit_utf8_valid(v) || memchr(value, '\0', v.len) || !adit_utf8_valid(key) ||
        (size_t)(end - *tail) < key.len + v.len + 2)
        return;
    struct metadata_pair pair = {put_text(tail, key), NULL};
    pair.value = put_text(tail, v);
    out->pairs[out->cnt++] = pair;
}

/* Bytes that the pairs take at most as they are now; *cnt: how many there are. */
static size_t measure(const char *path, const char *names, size_t len, size_t *cnt)
{
    size_t pos = 0, room = 0;
    const char *name;
    while (*cnt < METADATA_CNT_MAX && (name = next_name(names, len, &pos))) {
        ssize_t n = getxattr(path, name, NULL, 0);
        room += strlen(name) + 2 + (n > 0 && n <= METADATA_TOTAL_MAX ? (size_t)n : 0);
        (*cnt)++;
    }
    return room;
}

void metadata_read(const char *path, struct metadata *out)
{
    size_t len = 0, pos = 0, cnt = 0;
    ADIT_CLEANUP_FREE char *names = list_of_path(path, &len);

    memset(out, 0, sizeof *out);
    size_t room = names ? measure(path, names, len, &cnt) : 0;
    if (cnt == 0 || !make_room(out, cnt, room))
        return;
    char *tail = out->text;
    for (size_t i = 0; i < cnt; i++)
        read_value(path, next_name(names, len, &pos), &tail, out->text + room, out);
    if (out->cnt == 0)
        metadata_fini(out);
}

static bool is_unsupported(int sys_errno)
{
    return sys_errno == EOPNOTSUPP || sys_errno == ENOSYS;
}

static int remove_others(int fd, const struct metadata *m)
{
    size_t pos = 0;
    const char *name;
    ssize_t need = flistxattr(fd, NULL, 0);
    if (need <= 0)
        return need < 0 ? errno : 0;
    ADIT_CLEANUP_FREE char *names = calloc(1, (size_t)need + 1);
    if (!names)
        return ENOMEM;
    ssize_t len = flistxattr(fd, names, (size_t)need);
    if (len < 0)
        return errno;
    while ((name = next_name(names, (size_t)len, &pos))) {
        if (!find(m, name + PREFIX_LEN) && fremovexattr(fd, name) && errno != ENODATA)
            return errno;
    }
    return 0;
}

static bool has_value(int fd, const char *name, struct adit_view value)
{
    char now[METADATA_TOTAL_MAX];
    ssize_t n = fgetxattr(fd, name, now, sizeof now);
    return n >= 0 && adit_view_eq(adit_view_mem(now, (size_t)n), value);
}

static int set_pairs(int fd, const struct metadata *m)
{
    char name[NAME_CAP] = METADATA_XATTR;

    for (size_t i = 0; i < m->cnt; i++) {
        struct adit_view value = adit_view_str(m->pairs[i].value);
        memcpy(name + PREFIX_LEN, m->pairs[i].key, strlen(m->pairs[i].key) + 1);
        if (!has_value(fd, name, value) && fsetxattr(fd, name, value.ptr, value.len, 0))
            return errno;
    }
    return 0;
}

int metadata_replace(int fd, const struct metadata *m, bool *stored, struct adit_err *err)
{
    int failed = remove_others(fd, m);
    if (!failed)
        failed = set_pairs(fd, m);
    *stored = !failed && m->cnt > 0;
    if (!failed || is_unsupported(failed))
        return 0;
    return failure_sys(err, failed, "error writing metadata");
}
