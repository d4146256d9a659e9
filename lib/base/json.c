/* SPDX-License-Identifier: Apache-2.0 */
/*
 * JSON text as jansson documents, also when memory runs out.
 *
 * Theory of operation
 *
 * What: jansson gets an allocator of ours. While a thread parses, its blocks are on a list; when
 * one cannot be had, the parse is left by longjmp() and the list is freed. jansson keeps no state
 * between calls, so nothing else has to be undone. Outside of a parse a failure is NULL as ever:
 * building documents bears it.
 * Ownership: blocks of a finished parse leave the list and belong to the document.
 * Threads: the list is the thread's own.
 */
#include "base/json.h"

#include <setjmp.h>
#include <stdint.h>
#include <stdlib.h>

/* In front of every block of jansson's; keeps the alignment of malloc. */
struct json_block {
    struct json_block *next, **link; /* link: what points here; NULL when on no list */
};
_Static_assert(sizeof(struct json_block) % _Alignof(max_align_t) == 0, "blocks stay aligned");

struct json_parse {
    struct json_block *blocks;
    jmp_buf out_of_memory;
};

static _Thread_local struct json_parse *json_running;

static void json_link(struct json_block *b, struct json_block **list)
{
    b->next = *list;
    b->link = list;
    if (b->next)
        b->next->link = &b->next;
    *list = b;
}

static void *json_block_new(size_t len)
{
    struct json_block *b = len > SIZE_MAX - sizeof(*b) ? NULL : malloc(sizeof(*b) + len);

    if (!b && json_running)
        longjmp(json_running->out_of_memory, 1);
    if (!b)
        return NULL;
    b->next = NULL;
    b->link = NULL;
    if (json_running)
        json_link(b, &json_running->blocks);
    return b + 1;
}

static void json_block_free(void *p)
{
    struct json_block *b = (struct json_block *)p - 1;

    if (!p)
        return;
    if (b->link) {
        *b->link = b->next;
        if (b->next)
            b->next->link = b->link;
    }
    free(b);
}

/* Before main, because a block must be freed by the functions that made it. */
__attribute__((constructor)) static void json_use_blocks(void)
{
    json_set_alloc_funcs(json_block_new, json_block_free);
}

static void json_keep(struct json_block *b)
{
    while (b) {
        struct json_block *next = b->next;
        b->next = NULL;
        b->link = NULL;
        b = next;
    }
}

static void json_drop(struct json_block *b)
{
    while (b) {
        struct json_block *next = b->next;
        free(b);
        b = next;
    }
}

json_t *adit_json_load(struct adit_view text, size_t flags, json_error_t *where)
{
    struct json_parse parse = {.blocks = NULL};
    json_t *doc;

    if (setjmp(parse.out_of_memory)) {
        json_running = NULL;
        json_drop(parse.blocks);
        if (where) {
            *where = (json_error_t){.line = -1, .column = -1};
            where->text[JSON_ERROR_TEXT_LENGTH - 1] = (char)json_error_out_of_memory;
        }
        return NULL;
    }
    json_running = &parse;
    doc = json_loadb(text.ptr ? text.ptr : "", text.len, flags, where);
    json_running = NULL;
    json_keep(parse.blocks);
    return doc;
}
