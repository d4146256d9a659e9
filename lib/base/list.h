/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Intrusive doubly linked list. A node that is in no list points to itself, so removal is
 * idempotent.
 */
#ifndef ADIT_BASE_LIST_H
#define ADIT_BASE_LIST_H

#include <stdbool.h>
#include <stddef.h>

struct adit_list {
    struct adit_list *next, *prev;
};

#define ADIT_CONTAINER_OF(ptr, type, member)                                                       \
    ((type *)(void *)((char *)(ptr)-offsetof(type, member)))

static inline void adit_list_init(struct adit_list *l)
{
    l->next = l->prev = l;
}

static inline bool adit_list_empty(const struct adit_list *l)
{
    return l->next == l;
}

/* Insert @node at the end of @head. */
static inline void adit_list_push(struct adit_list *head, struct adit_list *node)
{
    node->prev = head->prev;
    node->next = head;
    head->prev->next = node;
    head->prev = node;
}

static inline void adit_list_remove(struct adit_list *node)
{
    node->prev->next = node->next;
    node->next->prev = node->prev;
    adit_list_init(node);
}

/* The first node, or NULL. */
static inline struct adit_list *adit_list_first(const struct adit_list *head)
{
    return adit_list_empty(head) ? NULL : head->next;
}

/* Safe against removal of @it inside the body; @tmp is scratch. */
#define ADIT_LIST_EACH(it, tmp, head)                                                              \
    for ((it) = (head)->next, (tmp) = (it)->next; (it) != (head); (it) = (tmp), (tmp) = (it)->next)

#endif
