/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The lines of the channel handshake and of the tunnel.
 *
 * Theory of operation
 *
 * What:    gathers one line at a time and reads or writes the five kinds of it. The bytes behind a
 * line belong to what follows and stay in the caller's view.
 *
 *            host                              guest (or the VMM for it)
 *            CONNECT <port>\n  ------------->
 *                              <-------------  OK <n>\n
 *            TCP <port>\n      ------------->                  on port 1024 only
 *                              <-------------  OK\n  or  ERR <reason>\n
 *
 * Limits:  CHANNEL_LINE_CAP bytes a line; only printable ASCII, so a line is safe to log.
 * Trust:   both sides take the other for hostile. Numbers have one spelling ("080", "+80" and "80 "
 * are refused), so nothing that was compared as text can differ from what is dialled. Failure:
 * ADIT_ERR_PROTOCOL: the stream is of no use any more.
 */
#include "net/channel.h"

#include <stdio.h>

/* VMADDR_PORT_ANY, which no listener has, is the one above. */
#define PORT_MAX 4294967294u

void channel_line_init(struct channel_line *l)
{
    l->len = 0;
}

int channel_line_feed(struct channel_line *l, struct adit_view *in, bool *done,
                      struct adit_err *err)
{
    *done = false;
    while (in->len > 0) {
        char c = *in->ptr;
        if (c != '\n' && (c < ' ' || c > '~'))
            return adit_err_set(err, ADIT_ERR_PROTOCOL, "handshake line holds byte 0x%02x",
                                (unsigned char)c);
        in->ptr++;
        in->len--;
        if (c == '\n') {
            *done = true;
            return ADIT_OK;
        }
        if (l->len == CHANNEL_LINE_CAP - 1)
            return adit_err_set(err, ADIT_ERR_PROTOCOL, "handshake line longer than %d bytes",
                                CHANNEL_LINE_CAP);
        l->bytes[l->len++] = c;
    }
    return ADIT_OK;
}

static int unexpected(struct adit_view line, const char *wanted, struct adit_err *err)
{
    return adit_err_set(err, ADIT_ERR_PROTOCOL, "\"%.*s\" is not \"%s\"", ADIT_VIEW_ARG(line),
                        wanted);
}

/* "<word><number>" with @word ending in a space. */
static int parse_word_number(struct adit_view line, const char *word, uint64_t max, uint64_t *out)
{
    if (!adit_view_has_prefix(line, word))
        return ADIT_ERR_PROTOCOL;
    size_t skip = strlen(word);
    struct adit_view digits = {line.ptr + skip, line.len - skip};
    return adit_view_u64(digits, max, out) == ADIT_OK ? ADIT_OK : ADIT_ERR_PROTOCOL;
}

int channel_parse_connect(struct adit_view line, uint32_t *port, struct adit_err *err)
{
    uint64_t n;
    if (parse_word_number(line, "CONNECT ", PORT_MAX, &n) != ADIT_OK || n == 0)
        return unexpected(line, "CONNECT <port>", err);
    *port = (uint32_t)n;
    return ADIT_OK;
}

int channel_parse_ok(struct adit_view line, struct adit_err *err)
{
    uint64_t n;
    if (parse_word_number(line, "OK ", UINT32_MAX, &n) != ADIT_OK)
        return unexpected(line, "OK <n>", err);
    return ADIT_OK;
}

int channel_parse_tcp(struct adit_view line, uint16_t *port, struct adit_err *err)
{
    uint64_t n;
    if (parse_word_number(line, "TCP ", UINT16_MAX, &n) != ADIT_OK || n == 0)
        return unexpected(line, "TCP <port>", err);
    *port = (uint16_t)n;
    return ADIT_OK;
}

int channel_parse_tunnel_answer(struct adit_view line, struct adit_err *err)
{
    static const char error_word[] = "ERR ";
    const size_t skip = sizeof(error_word) - 1;
    if (adit_view_eq_str(line, "OK"))
        return ADIT_OK;
    if (!adit_view_has_prefix(line, error_word) || line.len == skip)
        return unexpected(line, "OK or ERR <reason>", err);
    struct adit_view reason = {line.ptr + skip, line.len - skip};
    int code = adit_view_eq_str(reason, "refused") ? ADIT_ERR_UNAVAILABLE : ADIT_ERR_IO;
    return adit_err_set(err, code, "tunnel: %.*s", ADIT_VIEW_ARG(reason));
}

size_t channel_format_connect(char *out, uint32_t port)
{
    return (size_t)snprintf(out, CHANNEL_LINE_CAP, "CONNECT %u\n", port);
}

size_t channel_format_ok(char *out, uint32_t n)
{
    return (size_t)snprintf(out, CHANNEL_LINE_CAP, "OK %u\n", n);
}

size_t channel_format_tcp(char *out, uint16_t port)
{
    return (size_t)snprintf(out, CHANNEL_LINE_CAP, "TCP %u\n", (unsigned)port);
}

size_t channel_format_accept(char *out, uint32_t id)
{
    return (size_t)snprintf(out, CHANNEL_LINE_CAP, "%u\n", id);
}
