/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Targets, queries, paths, Host values. Oracles: a clean path is clean, and cleaning it again
 * changes nothing; encoding is undone by decoding; split parts lie in the input.
 */
#include "net/url.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool ok)
{
    if (!ok)
        abort();
}

static bool holds(struct adit_view v, const char *text)
{
    return v.len > 0 && memmem(v.ptr, v.len, text, strlen(text)) != NULL;
}

static void check_is_clean(struct adit_view v)
{
    check(v.len > 0 && v.ptr[0] == '/' && (v.len == 1 || v.ptr[v.len - 1] != '/'));
    check(!holds(v, "//") && !holds(v, "/./") && !holds(v, "/../") && !memchr(v.ptr, '\0', v.len));
    check(!(v.len >= 2 && memcmp(v.ptr + v.len - 2, "/.", 2) == 0));
    check(!(v.len >= 3 && memcmp(v.ptr + v.len - 3, "/..", 3) == 0));
}

/* Every byte as an escape. */
static void encode(struct adit_view v, struct adit_buf *out)
{
    for (size_t i = 0; i < v.len; i++)
        check(adit_buf_appendf(out, "%%%02X", (unsigned char)v.ptr[i]) == ADIT_OK);
}

static void check_path(struct adit_view text)
{
    struct adit_buf once, encoded, again;
    adit_buf_init(&once, text.len + 1);
    adit_buf_init(&encoded, 3 * text.len + 3);
    adit_buf_init(&again, 3 * text.len + 3);
    if (url_clean_path(text, &once) == ADIT_OK) {
        check_is_clean(adit_buf_view(&once));
        check(once.len <= text.len);
        encode(adit_buf_view(&once), &encoded);
        check(url_clean_path(adit_buf_view(&encoded), &again) == ADIT_OK);
        check(adit_view_eq(adit_buf_view(&once), adit_buf_view(&again)));
    }
    adit_buf_fini(&again);
    adit_buf_fini(&encoded);
    adit_buf_fini(&once);
}

static void check_coding(struct adit_view text)
{
    struct adit_buf encoded, decoded;
    adit_buf_init(&encoded, 3 * text.len);
    adit_buf_init(&decoded, 3 * text.len);
    encode(text, &encoded);
    bool has_nul = text.len > 0 && memchr(text.ptr, '\0', text.len);
    int rc = url_decode(adit_buf_view(&encoded), true, &decoded);
    check(rc == (has_nul ? ADIT_ERR_BAD_INPUT : ADIT_OK));
    check(has_nul || adit_view_eq(text, adit_buf_view(&decoded)));
    adit_buf_fini(&decoded);
    adit_buf_fini(&encoded);
}

static void check_query(struct adit_view text)
{
    struct adit_buf value;
    bool found = false;
    adit_buf_init(&value, text.len + 1);
    int rc = url_query_get(text, "path", &value, &found);
    check(rc == ADIT_OK || value.len == 0);
    check(found || value.len == 0);
    adit_buf_fini(&value);
    struct adit_view key, raw, rest = text;
    size_t cnt = 0;
    while (url_query_next(&rest, &key, &raw))
        check(++cnt <= text.len);
}

static bool lies_in(struct adit_view part, struct adit_view whole)
{
    return part.len == 0 || (part.ptr >= whole.ptr && part.ptr + part.len <= whole.ptr + whole.len);
}

static void check_split(struct adit_view text)
{
    static const struct adit_view root = ADIT_VIEW("/");
    struct url_target t;
    struct adit_view name;
    uint16_t port;
    if (url_split_target(text, &t, NULL) == ADIT_OK) {
        check(lies_in(t.authority, text) && lies_in(t.query, text));
        check(lies_in(t.path, text) || adit_view_eq(t.path, root));
        check(t.path.len > 0);
    }
    if (url_split_host(text, &name, &port) == ADIT_OK)
        check(name.len > 0 && lies_in(name, text) && !holds(name, " ") && !holds(name, "@"));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct adit_view text = adit_view_mem(data, size);
    check_path(text);
    check_coding(text);
    check_query(text);
    check_split(text);
    return 0;
}
