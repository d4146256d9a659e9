/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lists of sandboxes.
 *
 * Theory of operation
 *
 * The team's running sandboxes are gathered, filtered, sorted and cut to a page; the number of
 * sandboxes on a host bounds the work. What a page leaves out is behind the cursor in X-Next-Token.
 */
#include <stdio.h>
#include <stdlib.h>

#include "broker/api/api.h"
#include "broker/api/list_query.h"

/*
 * @items: sandboxes that match, borrowed from the node for this turn of the loop
 * @running_cnt: all of the team, for X-Total-Running
 */
struct page {
    const struct sandbox **items;
    size_t cnt, cap, running_cnt;
};

static int add_item(struct page *p, const struct sandbox *s)
{
    if (p->cnt == p->cap) {
        size_t cap = p->cap ? p->cap * 2 : 64;
        const struct sandbox **items = realloc(p->items, cap * sizeof(*items));
        if (!items)
            return ADIT_ERR_NO_MEMORY;
        p->items = items;
        p->cap = cap;
    }
    p->items[p->cnt++] = s;
    return 0;
}

/* A template filter means the id it stands for here, or the alias a sandbox was made by. */
static bool is_of_template(const struct api_request *rq, const struct list_query *q,
                           const struct record *r)
{
    if (!q->template_ref[0])
        return true;
    const struct template_dir_entry *t =
        template_dir_resolve(rq->broker->templates, adit_view_str(q->template_ref));
    if (t && strcmp(t->info.template_id, r->template_id) == 0)
        return true;
    return strcmp(q->template_ref, r->template_id) == 0 || strcmp(q->template_ref, r->alias) == 0;
}

static int gather(const struct api_request *rq, const struct list_query *q, struct page *p)
{
    const struct sandbox *s;
    size_t pos = 0;
    while ((s = node_next(rq->broker->node, rq->who.team_id, &pos))) {
        const struct record *r = node_record(s);
        p->running_cnt++;
        if (!list_query_matches(q, r) || !list_query_is_after(q, r) || !is_of_template(rq, q, r))
            continue;
        int rc = add_item(p, s);
        if (rc)
            return rc;
    }
    return 0;
}

static int compare(const void *a, const void *b, void *query)
{
    const struct sandbox *const *x = a, *const *y = b;
    return list_query_compare(query, node_record(*x), node_record(*y));
}

static int set_page_headers(struct api_request *rq, const struct list_query *q,
                            const struct page *p)
{
    char total[24], cursor[LIST_QUERY_CURSOR_CAP];
    (void)snprintf(total, sizeof(total), "%zu", p->running_cnt);
    int rc = edge_api_set_header(rq->edge, "X-Total-Running", adit_view_str(total));
    if (rc || p->cnt <= q->limit)
        return rc;
    /* NOLINTNEXTLINE(clang-analyzer-core.CallAndMessage): a limit is at least 1 */
    rc = list_query_cursor(q, node_record(p->items[q->limit - 1]), cursor);
    return rc ? rc : edge_api_set_header(rq->edge, "X-Next-Token", adit_view_str(cursor));
}

static json_t *page_document(const struct list_query *q, const struct page *p)
{
    json_t *list = json_array();
    size_t cnt = p->cnt < q->limit ? p->cnt : q->limit;
    for (size_t i = 0; list && i < cnt; i++) {
        if (json_array_append_new(list, api_json_listed(p->items[i]))) {
            json_decref(list);
            list = NULL;
        }
    }
    return list;
}

static void reply_page(struct api_request *rq, struct list_query *q)
{
    struct page p = {NULL, 0, 0, 0};
    json_t *list = NULL;
    int rc = gather(rq, q, &p);
    if (rc == 0) {
        if (p.cnt > 1)
            qsort_r(p.items, p.cnt, sizeof(p.items[0]), compare, q);
        rc = set_page_headers(rq, q, &p);
    }
    if (rc == 0)
        list = page_document(q, &p);
    free(p.items);
    api_reply_json(rq, 200, list); /* NULL: answered as out of memory */
}

static void list(struct api_request *rq, bool is_v2)
{
    struct list_query q;
    struct adit_err err = ADIT_ERR_INIT;
    if (list_query_parse(edge_api_query(rq->edge), is_v2, &q, &err)) {
        api_reply_err(rq, NULL, &err);
        return;
    }
    reply_page(rq, &q);
    list_query_fini(&q);
}

void api_list_v1(struct api_request *rq)
{
    list(rq, false);
}

void api_list_v2(struct api_request *rq)
{
    list(rq, true);
}
