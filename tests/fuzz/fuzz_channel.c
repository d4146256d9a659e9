/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lines of the channel handshake and the tunnel. Oracles: the cut does not matter; what is accepted
 * is what the formatter writes for the same number.
 */
#include "net/channel.h"

#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool ok)
{
    if (!ok)
        abort();
}

/* Return: the code; @rest_len is what was not taken when a line came to its end. */
static int gather(struct channel_line *l, struct adit_view in, size_t step, bool *done,
                  size_t *rest_len)
{
    int rc = ADIT_OK;
    channel_line_init(l);
    *done = false;
    *rest_len = in.len;
    while (rc == ADIT_OK && !*done && in.len > 0) {
        struct adit_view piece = {in.ptr, step < in.len ? step : in.len};
        size_t given = piece.len;
        rc = channel_line_feed(l, &piece, done, NULL);
        check(rc != ADIT_OK || *done || piece.len == 0);
        in = adit_view_mem(in.ptr + (given - piece.len), in.len - (given - piece.len));
        *rest_len = in.len;
    }
    return rc;
}

static void check_same(struct adit_view line, const char *text, size_t len)
{
    check(line.len + 1 == len && memcmp(line.ptr, text, line.len) == 0);
}

static void check_line(struct adit_view line)
{
    char text[CHANNEL_LINE_CAP];
    struct adit_err err = ADIT_ERR_INIT;
    uint32_t port;
    uint16_t tcp_port;
    if (channel_parse_connect(line, &port, &err) == ADIT_OK)
        check_same(line, text, channel_format_connect(text, port));
    if (channel_parse_tcp(line, &tcp_port, &err) == ADIT_OK)
        check_same(line, text, channel_format_tcp(text, tcp_port));
    if (channel_parse_ok(line, &err) == ADIT_OK)
        check_same(line, text, channel_format_ok(text, (uint32_t)strtoul(line.ptr + 3, NULL, 10)));
    int rc = channel_parse_tunnel_answer(line, &err);
    check((rc == ADIT_OK) == adit_view_eq_str(line, "OK"));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct channel_line whole, cut;
    struct adit_view in = adit_view_mem(data, size);
    bool done, cut_done;
    size_t rest, cut_rest;
    int rc = gather(&whole, in, SIZE_MAX, &done, &rest);
    check(gather(&cut, in, 1, &cut_done, &cut_rest) == rc && cut_done == done);
    if (rc != ADIT_OK || !done)
        return 0;
    check(rest == cut_rest && adit_view_eq(channel_line_view(&whole), channel_line_view(&cut)));
    whole.bytes[whole.len] = '\0'; /* there is room: the newline was there */
    check_line(channel_line_view(&whole));
    return 0;
}
