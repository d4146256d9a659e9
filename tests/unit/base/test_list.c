/* SPDX-License-Identifier: Apache-2.0 */
/* The intrusive list. */
#include "tests/unit/suite.h"

#include "base/list.h"

struct item {
    int number;
    struct adit_list link;
};

static struct item *item_of(struct adit_list *l)
{
    return ADIT_CONTAINER_OF(l, struct item, link);
}

START_TEST(list_keeps_order_of_insertion)
{
    struct adit_list head;
    struct item items[3] = {{.number = 1}, {.number = 2}, {.number = 3}};
    adit_list_init(&head);
    ck_assert(adit_list_empty(&head));
    ck_assert_ptr_null(adit_list_first(&head));
    for (int i = 0; i < 3; i++)
        adit_list_push(&head, &items[i].link);

    struct adit_list *it, *tmp;
    int expected = 1;
    ADIT_LIST_EACH(it, tmp, &head)
    ck_assert_int_eq(item_of(it)->number, expected++);
    ck_assert_int_eq(expected, 4);
    ck_assert_int_eq(item_of(adit_list_first(&head))->number, 1);
}
END_TEST

START_TEST(list_removal_is_idempotent_and_safe_in_iteration)
{
    struct adit_list head, *it, *tmp;
    struct item items[4] = {{.number = 1}, {.number = 2}, {.number = 3}, {.number = 4}};
    adit_list_init(&head);
    for (int i = 0; i < 4; i++)
        adit_list_push(&head, &items[i].link);

    ADIT_LIST_EACH(it, tmp, &head)
    {
        if (item_of(it)->number % 2)
            adit_list_remove(it);
    }
    adit_list_remove(&items[0].link);
    ck_assert(adit_list_empty(&items[0].link));
    ck_assert_int_eq(item_of(adit_list_first(&head))->number, 2);
    adit_list_remove(&items[1].link);
    adit_list_remove(&items[3].link);
    ck_assert(adit_list_empty(&head));
}
END_TEST

SUITE_MAIN("list", list_keeps_order_of_insertion, list_removal_is_idempotent_and_safe_in_iteration)
