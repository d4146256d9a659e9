/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests for envd that name no sandbox, found by their access token.
 *
 * Theory of operation
 *
 * What: the routes carry each secured sandbox's token; all are compared, in the same time whatever
 * they are. Trust: whoever has no token learns nothing but that nobody has his. Limits: a
 * comparison a sandbox, of which a broker has as many as --max-sandboxes says.
 */
#include "broker/edge/edge_token.h"

#include <string.h>

#include "broker/edge/edge_int.h"

bool edge_token_is_one(struct adit_view token, struct adit_view path)
{
    static const char *const starts[] = {"/process.Process/", "/filesystem.Filesystem/"};
    static const char *const paths[] = {"/files", "/health"};
    struct adit_view bare, query;

    if (token.len == 0)
        return false;
    for (size_t i = 0; i < sizeof(starts) / sizeof(starts[0]); i++)
        if (path.len > strlen(starts[i]) && memcmp(path.ptr, starts[i], strlen(starts[i])) == 0)
            return true;
    adit_view_split(path, '?', &bare, &query);
    for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++)
        if (adit_view_eq_str(bare, paths[i]))
            return true;
    return false;
}

struct adit_view edge_token_find(const struct adit_map *table, struct adit_view token)
{
    struct adit_view id, found = ADIT_VIEW("");
    size_t pos = 0;
    void *value;

    while (adit_map_next(table, &pos, &id, &value)) {
        const struct edge_entry *entry = value;

        if (entry->route.envd_token[0] &&
            adit_view_eq_secret(token, adit_view_str(entry->route.envd_token)))
            found = adit_view_str(entry->route.sandbox_id);
    }
    return found;
}
