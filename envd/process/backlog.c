/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The last output of a process.
 *
 * Theory of operation
 *
 * What:      a queue of blocks, each a row of records: kind and length in four bytes, then the
 * bytes. Output of the kind that came last grows the last record, so a program that writes to one
 * output costs next to nothing beside its bytes. When there is no room the oldest block is used
 * again for the newest output: whole blocks go, and with them their records. Ownership: blocks
 * belong to the backlog; the budget to whoever holds the backlogs. Limits:    BACKLOG_CAP,
 * BACKLOG_ALL_MAX. A process that comes when the others hold all has to do with what it holds
 * itself, which may be nothing. Failure:   there is none: what cannot be kept moves @begin.
 */
#include "envd/process/backlog.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define HEADER_LEN 4u

/* @at: position of its first byte. @bytes: output in it. @last: where its last record begins. */
struct block {
    struct adit_list node;
    uint64_t at;
    uint32_t cap, used, bytes, last;
    unsigned char data[];
};

static struct block *block_of(struct adit_list *node)
{
    return ADIT_CONTAINER_OF(node, struct block, node);
}

static uint32_t read_header(const struct block *k, uint32_t pos, unsigned *kind)
{
    uint32_t header;
    memcpy(&header, k->data + pos, HEADER_LEN);
    *kind = header >> 24;
    return header & 0xffffffu;
}

static void write_header(struct block *k, uint32_t pos, unsigned kind, uint32_t len)
{
    uint32_t header = (uint32_t)kind << 24 | len;
    memcpy(k->data + pos, &header, HEADER_LEN);
}

void backlog_init(struct backlog *b, struct backlog_budget *budget)
{
    memset(b, 0, sizeof *b);
    adit_list_init(&b->blocks);
    b->budget = budget;
}

/* Take the oldest block off. Return: NULL if there is none. */
static struct block *take_oldest(struct backlog *b)
{
    struct adit_list *first = adit_list_first(&b->blocks);
    if (!first)
        return NULL;
    struct block *k = block_of(first);
    adit_list_remove(first);
    b->begin = k->at + k->bytes;
    return k;
}

static void free_block(struct backlog *b, struct block *k)
{
    size_t size = sizeof *k + k->cap;
    b->held -= size;
    b->budget->used -= size;
    free(k);
}

void backlog_clear(struct backlog *b)
{
    struct block *k;
    while ((k = take_oldest(b)))
        free_block(b, k);
}

static bool has_room(const struct backlog *b, size_t size)
{
    return b->held + size <= BACKLOG_CAP && b->budget->used + size <= BACKLOG_ALL_MAX;
}

static struct block *new_block(struct backlog *b, uint32_t cap)
{
    size_t size = sizeof(struct block) + cap;
    struct block *k = has_room(b, size) ? malloc(size) : NULL;
    if (!k)
        return take_oldest(b);
    k->cap = cap;
    adit_list_init(&k->node);
    b->held += size;
    b->budget->used += size;
    return k;
}

/* An empty block at the end. Return: NULL without memory and without an old one. */
static struct block *add_block(struct backlog *b)
{
    uint32_t cap = BACKLOG_BLOCK_MIN;
    if (!adit_list_empty(&b->blocks) && block_of(b->blocks.prev)->cap < BACKLOG_BLOCK_MAX)
        cap = 2 * block_of(b->blocks.prev)->cap;
    else if (!adit_list_empty(&b->blocks))
        cap = BACKLOG_BLOCK_MAX;
    struct block *k = new_block(b, cap);
    if (!k)
        return NULL;
    k->at = b->end;
    k->used = k->bytes = k->last = 0;
    adit_list_push(&b->blocks, &k->node);
    return k;
}

/* Put what fits of @bytes into @k. Return: how much that is. */
static uint32_t fill(struct block *k, unsigned kind, struct adit_view bytes)
{
    unsigned last_kind = 0;
    uint32_t len = k->used ? read_header(k, k->last, &last_kind) : 0;
    bool is_new = k->used == 0 || last_kind != kind;
    uint32_t room = k->cap - k->used;
    if (room <= (is_new ? HEADER_LEN : 0))
        return 0;
    if (is_new) {
        k->last = k->used;
        k->used += HEADER_LEN;
        room -= HEADER_LEN;
        len = 0;
    }
    uint32_t n = bytes.len < room ? (uint32_t)bytes.len : room;
    memcpy(k->data + k->used, bytes.ptr, n);
    write_header(k, k->last, kind, len + n);
    k->used += n;
    k->bytes += n;
    return n;
}

void backlog_put(struct backlog *b, unsigned kind, struct adit_view bytes)
{
    while (bytes.len > 0) {
        uint32_t n = 0;
        if (!adit_list_empty(&b->blocks))
            n = fill(block_of(b->blocks.prev), kind, bytes);
        if (n == 0) {
            struct block *k = add_block(b);
            if (!k) {
                b->begin = b->end += bytes.len;
                return;
            }
            n = fill(k, kind, bytes); /* a block is never smaller than a header and a byte */
        }
        b->end += n;
        bytes = adit_view_mem(bytes.ptr + n, bytes.len - n);
    }
}

void backlog_get(const struct backlog *b, uint64_t at, unsigned *kind, struct adit_view *bytes)
{
    assert(at >= b->begin && at < b->end);
    struct adit_list *it = b->blocks.next;
    while (at >= block_of(it)->at + block_of(it)->bytes)
        it = it->next;
    const struct block *k = block_of(it);
    uint64_t skip = at - k->at;
    uint32_t pos = 0, len;
    while ((len = read_header(k, pos, kind)) <= skip) {
        skip -= len;
        pos += HEADER_LEN + len;
    }
    *bytes = adit_view_mem(k->data + pos + HEADER_LEN + skip, len - (size_t)skip);
}
