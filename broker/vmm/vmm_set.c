/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Choosing between the ways to run sandboxes.
 *
 * Theory of operation
 *
 * What: a few pointers, looked through in order. A sandbox that is to be made takes the first that
 * fits its isolation and that this host can use; one that is there already is found again by its
 * driver's name, whether that could make another or not.
 */
#include "broker/vmm/vmm_set.h"

#include <string.h>

bool vmm_set_knows(struct adit_view isolation)
{
    return adit_view_eq_str(isolation, "vm") || adit_view_eq_str(isolation, "container") ||
           adit_view_eq_str(isolation, "gvisor");
}

struct vmm *vmm_set_choose(const struct vmm_set *set, const char *isolation)
{
    if (!isolation[0])
        return set->fallback;
    for (size_t i = 0; i < set->cnt; i++)
        if (!set->items[i]->unusable && strcmp(set->items[i]->isolation, isolation) == 0)
            return set->items[i];
    return NULL;
}

struct vmm *vmm_set_named(const struct vmm_set *set, const char *name)
{
    for (size_t i = 0; i < set->cnt; i++)
        if (strcmp(set->items[i]->name, name) == 0)
            return set->items[i];
    return NULL;
}

static bool has(const char *const *words, size_t cnt, const char *word)
{
    for (size_t i = 0; i < cnt; i++)
        if (strcmp(words[i], word) == 0)
            return true;
    return false;
}

size_t vmm_set_isolations(const struct vmm_set *set, const char *out[VMM_SET_MAX])
{
    size_t cnt = 0;
    for (size_t i = 0; i < set->cnt; i++)
        if (!set->items[i]->unusable && !has(out, cnt, set->items[i]->isolation))
            out[cnt++] = set->items[i]->isolation;
    return cnt;
}
