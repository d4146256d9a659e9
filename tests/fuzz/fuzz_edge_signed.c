/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Signed file requests without an address, beside envd's own reading of them.
 *
 * The first byte chooses: the rest is a request target; or it is "path\nuser\nexpiration", which
 * are encoded and signed as a client does. Oracles: a target is judged the same way twice; what was
 * signed with a sandbox's token is found to be that sandbox's, and no longer when a byte of the
 * signature differs.
 */
#include "broker/edge/edge_int.h"
#include "envd/filesystem/files.h"
#include "oracle.h"

#define TOKEN "0123456789abcdef0123456789abcdef"

static struct edge_entry mine, other;
static struct adit_map table;
static struct edge_signed signatures;

static void set_up(void)
{
    adit_map_init(&table);
    memcpy(mine.route.sandbox_id, "imine", 6);
    memcpy(mine.route.envd_token, TOKEN, sizeof(TOKEN));
    memcpy(other.route.sandbox_id, "iother", 7);
    memcpy(other.route.envd_token, "another-token", 14);
    ORACLE(adit_map_put(&table, adit_view_str("imine"), &mine) == 0);
    ORACLE(adit_map_put(&table, adit_view_str("iother"), &other) == 0);
}

static enum edge_signed_result find(enum http_method method, struct adit_view target,
                                    const char **id)
{
    edge_signed_init(&signatures, 1, 0); /* so that no limit is reached */
    return edge_signed_find(&signatures, &table, method, target, "peer", 0, id);
}

static void try_target(struct adit_view target)
{
    const char *id = NULL;
    if (!edge_signed_is_one(HTTP_GET, target))
        return;
    ORACLE(edge_signed_is_one(HTTP_POST, target));
    enum edge_signed_result result = find(HTTP_GET, target, &id);
    ORACLE(result != EDGE_SIGNED_LIMITED && (result == EDGE_SIGNED_FOUND) == (id != NULL));
    ORACLE(find(HTTP_GET, target, &id) == result);
}

static int encode(struct adit_buf *b, const char *name, struct adit_view v)
{
    int rc = adit_buf_append_str(b, name);
    for (size_t i = 0; rc == 0 && i < v.len; i++)
        rc = adit_buf_appendf(b, "%%%02x", (unsigned char)v.ptr[i]);
    return rc;
}

static void try_signed(struct adit_view text, bool is_read)
{
    struct files_signed s = {.operation = adit_view_str(is_read ? "read" : "write"),
                             .token = adit_view_str(TOKEN)};
    struct adit_buf signature, target;
    const char *id = NULL;
    (void)adit_view_split(text, '\n', &s.path, &s.user); /* what is left out is empty */
    (void)adit_view_split(s.user, '\n', &s.user, &s.expiration);
    if (text.len > 2000 || (text.len && memchr(text.ptr, '\0', text.len)))
        return;
    adit_buf_init(&signature, 128);
    adit_buf_init(&target, 16 * 1024);
    ORACLE(files_sign(&s, &signature) == 0);
    ORACLE(encode(&target, "/files?path=", s.path) == 0);
    ORACLE(encode(&target, "&username=", s.user) == 0);
    ORACLE(encode(&target, "&signature=", adit_buf_view(&signature)) == 0);
    if (s.expiration.len)
        ORACLE(encode(&target, "&signature_expiration=", s.expiration) == 0);
    enum http_method method = is_read ? HTTP_GET : HTTP_POST;
    ORACLE(find(method, adit_buf_view(&target), &id) == EDGE_SIGNED_FOUND);
    ORACLE(strcmp(id, "imine") == 0);
    ORACLE(find(is_read ? HTTP_POST : HTTP_GET, adit_buf_view(&target), &id) ==
           EDGE_SIGNED_UNKNOWN);
    adit_buf_fini(&signature);
    adit_buf_fini(&target);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    static bool is_set_up;
    if (!is_set_up)
        set_up();
    is_set_up = true;
    if (len == 0)
        return 0;
    struct adit_view rest = adit_view_mem(data + 1, len - 1);
    if (data[0] % 3 == 0)
        try_target(rest);
    else
        try_signed(rest, data[0] % 3 == 1);
    return 0;
}
