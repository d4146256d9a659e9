/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sandbox ids.
 *
 * Theory of operation
 *
 * An id becomes a folder name, a host label and a map key, so what passes sandbox_id_is_valid() is
 * safe in all three: no dot, no slash, no upper case, bounded. Host paths are built from ids that
 * passed it and from nothing else a client sent. Clients up to 1.5 append "-<client id>", which is
 * cut here.
 */
#include "broker/sandbox_id.h"

#include "base/rand.h"

void sandbox_id_make(char out[SANDBOX_ID_CAP])
{
    out[0] = 'i';
    adit_rand_id(out + 1, SANDBOX_ID_LEN - 1);
}

bool sandbox_id_is_valid(struct adit_view id)
{
    if (id.len == 0 || id.len >= SANDBOX_ID_CAP)
        return false;
    for (size_t i = 0; i < id.len; i++) {
        char c = id.ptr[i];
        if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9')))
            return false;
    }
    return true;
}

int sandbox_id_parse(struct adit_view text, char out[SANDBOX_ID_CAP], struct adit_err *err)
{
    struct adit_view id, client;
    bool has_client = adit_view_split(text, '-', &id, &client);
    if (!sandbox_id_is_valid(id) || (has_client && memchr(client.ptr, '-', client.len)))
        return adit_err_set(err, ADIT_ERR_BAD_INPUT, "Invalid sandbox ID");
    memcpy(out, id.ptr, id.len);
    out[id.len] = '\0';
    return 0;
}
