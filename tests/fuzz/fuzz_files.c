/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What requests for /files and for the filesystem service say, as far as it is judged without I/O:
 * download headers, paths, metadata headers, Basic users, signatures. One line of the input each.
 * Oracles: a range lies in the file; a path is absolute, bounded and without NUL, and cleaning is
 * idempotent; headers that we answer with are legal; no query opens a sandbox whose token signed
 * none of them.
 */
#include "oracle.h"

#include "envd/envd.h"
#include "envd/filesystem/files.h"
#include "envd/filesystem/metadata.h"
#include "envd/filesystem/negotiate.h"
#include "envd/paths.h"
#include "net/http_guard.h"

static struct http_head head;

static void add_header(const char *name, struct adit_view value)
{
    head.headers[head.header_cnt].name = adit_view_str(name);
    head.headers[head.header_cnt++].value = adit_view_trim(value);
}

static void check_download(uint64_t size, int64_t mtime)
{
    struct negotiate n;
    uint64_t first, len;
    if (negotiate_parse(&head, &n, NULL))
        return;
    unsigned status = negotiate_status(&n, size, mtime, &first, &len);
    ORACLE(status == 200 || status == 206 || status == 304 || status == 412 || status == 416);
    ORACLE(status != 200 || (first == 0 && len == size));
    ORACLE(status != 206 || (len > 0 && first < size && len <= size - first));
}

static void check_path(struct adit_view text)
{
    static const struct paths_base base = {"user", "/home/user", "/work"};
    struct adit_buf path, once, twice;
    adit_buf_init(&path, 2 * ENVD_PATH_CAP);
    adit_buf_init(&once, 2 * ENVD_PATH_CAP);
    adit_buf_init(&twice, 2 * ENVD_PATH_CAP);
    if (paths_resolve(&base, text, &path, NULL) == 0) {
        struct adit_view v = adit_buf_view(&path);
        ORACLE(v.len > 0 && v.ptr[0] == '/' && v.len < ENVD_PATH_CAP && !memchr(v.ptr, 0, v.len));
        ORACLE(paths_clean(v, &once) == 0);
        ORACLE(paths_clean(adit_buf_view(&once), &twice) == 0);
        ORACLE(adit_view_eq(adit_buf_view(&once), adit_buf_view(&twice)));
        ORACLE(once.len <= v.len);
        struct adit_view name = paths_base_name(v), dir = paths_dir_name(v);
        ORACLE(name.len > 0 && (name.len == 1 || !memchr(name.ptr, '/', name.len)));
        ORACLE(dir.len > 0 && dir.ptr[0] == '/');
    }
    adit_buf_fini(&path);
    adit_buf_fini(&once);
    adit_buf_fini(&twice);
}

static void check_disposition(struct adit_view name)
{
    struct adit_buf b;
    adit_buf_init(&b, 4 * name.len + 64);
    ORACLE(negotiate_disposition(name, &b) == 0);
    ORACLE(http_guard_is_value(adit_buf_view(&b)));
    adit_buf_fini(&b);
    (void)negotiate_type_by_name(name);
    ORACLE(negotiate_type_by_content(name) != NULL);
}

static void check_metadata(void)
{
    struct metadata m;
    size_t total = 0;
    if (metadata_from_head(&head, &m, NULL))
        return;
    for (size_t i = 0; i < m.cnt; i++) {
        total += strlen(m.pairs[i].key) + strlen(m.pairs[i].value);
        for (const char *p = m.pairs[i].key; *p; p++)
            ORACLE(*p >= 0x20 && *p <= 0x7E && !(*p >= 'A' && *p <= 'Z'));
    }
    ORACLE(total <= METADATA_TOTAL_MAX);
    metadata_fini(&m);
}

static void check_basic_user(void)
{
    char name[USER_NAME_CAP];
    memset(name, 'x', sizeof name);
    if (envd_basic_user(&head, name, NULL) == 0)
        ORACLE(memchr(name, '\0', sizeof name) != NULL);
}

/* Whatever the query says, this token never signed it. */
static void check_signature(struct adit_view query)
{
    static struct envd e = {.access_token = "a token that no seed was signed with"};
    static struct http_head none;
    ORACLE(files_authorize(&e, &none, query, "read", NULL) != 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const names[] = {
        "Range",    "If-Range",        "If-None-Match", "If-Modified-Since",
        "If-Match", "Accept-Encoding", "Authorization", "X-Metadata-Key"};
    struct adit_view rest = adit_view_mem(data, size), line, key;
    head.header_cnt = 0;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        (void)adit_view_split(rest, '\n', &line, &rest);
        if (line.len)
            add_header(names[i], line);
    }
    if (adit_view_split(rest, '\n', &key, &rest) && key.len) {
        head.headers[head.header_cnt].name = key; /* any name */
        head.headers[head.header_cnt++].value = rest;
    }
    check_download(size, 784111777);
    check_download(UINT64_MAX, 0);
    check_metadata();
    check_basic_user();
    check_path(rest);
    check_disposition(rest);
    check_signature(rest);
    return 0;
}
