/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Host, routing headers and path: four lines of input.
 *
 * Oracles: what is taken for a sandbox has a canonical id and port, and naming it again in the
 * canonical way, by host and by headers, gives the same target; upper case in the domain changes
 * nothing.
 */
#include <stdlib.h>

#include "broker/edge/edge_page.h"
#include "broker/edge/edge_target.h"

static const struct adit_view domain = ADIT_VIEW("adit.test");

static void check_again(const struct edge_target *t)
{
    char host[128], port[8];
    struct edge_target_input host_said = {0}, headers_said = {.host = ADIT_VIEW("localhost")};
    struct edge_target by_host, by_header;

    snprintf(host, sizeof(host), "%u-%.*s.Adit.TEST:443", t->port, ADIT_VIEW_ARG(t->sandbox_id));
    snprintf(port, sizeof(port), "%u", t->port);
    host_said.host = adit_view_str(host);
    headers_said.id = t->sandbox_id;
    headers_said.port = adit_view_str(port);
    edge_target_parse(&host_said, domain, &by_host);
    edge_target_parse(&headers_said, domain, &by_header);
    if (by_host.kind != EDGE_TARGET_SANDBOX || by_header.kind != EDGE_TARGET_SANDBOX ||
        by_host.port != t->port || by_header.port != t->port ||
        !adit_view_eq(by_host.sandbox_id, t->sandbox_id) ||
        !adit_view_eq(by_header.sandbox_id, t->sandbox_id))
        abort();
}

static void check_id(struct adit_view id)
{
    if (id.len == 0 || id.len >= EDGE_ID_CAP)
        abort();
    for (size_t i = 0; i < id.len; i++)
        if (!(id.ptr[i] >= 'a' && id.ptr[i] <= 'z') && !(id.ptr[i] >= '0' && id.ptr[i] <= '9'))
            abort();
}

static void check_pages(struct adit_view text)
{
    struct edge_page_args args = {.sandbox_id = text, .path = text, .port = 1, .limit = 1};

    for (int page = 0; page < EDGE_PAGE_CNT; page++) {
        struct adit_buf html;

        adit_buf_init(&html, 1 << 22);
        if (edge_page_body((enum edge_page)page, true, &args, &html) != 0)
            abort();
        struct adit_view v = adit_buf_view(&html);
        if (text.len > 0 && memchr(text.ptr, '<', text.len) != NULL &&
            memmem(v.ptr, v.len, "<script", 7) != NULL)
            abort();
        adit_buf_fini(&html);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct edge_target_input in;
    struct edge_target t;

    adit_view_split(adit_view_mem(data, size), '\n', &in.host, &in.id);
    adit_view_split(in.id, '\n', &in.id, &in.port);
    adit_view_split(in.port, '\n', &in.port, &in.path);
    if (in.id.len == 0)
        in.id.ptr = NULL;
    if (in.port.len == 0)
        in.port.ptr = NULL;
    edge_target_parse(&in, domain, &t);
    if (t.kind == EDGE_TARGET_SANDBOX) {
        check_id(t.sandbox_id);
        if (t.port == 0)
            abort();
        check_again(&t);
    } else if (t.kind == EDGE_TARGET_REFUSED && t.refusal == NULL) {
        abort();
    }
    check_pages(in.host);
    return 0;
}
