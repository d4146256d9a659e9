/* SPDX-License-Identifier: Apache-2.0 */
/*
 * /etc/resolv.conf.
 *
 * Theory of operation
 *
 * What:    images bring their own, often an empty one, or a link to a file that some daemon would
 * make. One that names a server outside is left as it is where its queries are redirected.
 * Trust:   the file is the image's. It is read up to EGRESS_RESOLV_CONF_MAX; a longer one is
 * replaced by ours alone.
 * Failure: the file stays as it was; programs that read it find no names.
 */
#include "envd/egress/egress_resolv_conf.h"

#include <arpa/inet.h>
#include <fcntl.h>

#include "base/file.h"
#include "envd/egress/egress_network.h"

#define MODE 0644
#define IPV4_LOOPBACK_NET 127

/* The next line, without its newline. Return: false at the end. */
static bool next_line(struct adit_view *text, struct adit_view *line)
{
    if (text->len == 0)
        return false;
    if (!adit_view_split(*text, '\n', line, text))
        *text = adit_view_mem(NULL, 0);
    return true;
}

/* The address of a "nameserver" line. */
static bool server_of(struct adit_view line, struct adit_view *address)
{
    static const char word[] = "nameserver";
    if (!adit_view_has_prefix(line, word))
        return false;
    line = adit_view_mem(line.ptr + sizeof word - 1, line.len - (sizeof word - 1));
    *address = adit_view_trim(line);
    return address->len < line.len; /* a space is between them */
}

static bool leads_to_stub(struct adit_view address, bool is_redirected)
{
    char text[INET6_ADDRSTRLEN];
    uint8_t bytes[16];
    if (address.len >= sizeof text)
        return false;
    memcpy(text, address.ptr, address.len);
    text[address.len] = '\0';
    if (strcmp(text, EGRESS_NETWORK_RESOLVER) == 0)
        return true;
    if (is_redirected && inet_pton(AF_INET, text, bytes) == 1)
        return bytes[0] != IPV4_LOOPBACK_NET;
    return false; /* IPv6 alone would depend on the host's */
}

bool egress_resolv_conf_is_usable(struct adit_view text, bool is_redirected)
{
    struct adit_view line, address;
    while (next_line(&text, &line))
        if (server_of(line, &address) && leads_to_stub(address, is_redirected))
            return true;
    return false;
}

static int append_line(struct adit_buf *out, struct adit_view line)
{
    int rc = adit_buf_append_view(out, line);
    return rc ? rc : adit_buf_append_char(out, '\n');
}

static int write_mended(const char *path, struct adit_view old, struct adit_err *err)
{
    struct adit_buf out;
    struct adit_view line, address;
    adit_buf_init(&out, 2 * EGRESS_RESOLV_CONF_MAX);
    int rc = adit_buf_append_str(&out, "nameserver " EGRESS_NETWORK_RESOLVER "\n");
    while (rc == ADIT_OK && next_line(&old, &line))
        if (!server_of(line, &address))
            rc = append_line(&out, line);
    if (rc == ADIT_OK)
        rc = adit_file_replace_lazy(AT_FDCWD, path, adit_buf_view(&out), MODE, err);
    else
        (void)adit_err_set(err, rc, "%s", path);
    adit_buf_fini(&out);
    return rc;
}

int egress_resolv_conf_mend(const char *path, bool is_redirected, struct adit_err *err)
{
    struct adit_buf old;
    int rc = ADIT_OK;
    adit_buf_init(&old, EGRESS_RESOLV_CONF_MAX);
    if (adit_file_read(AT_FDCWD, path, &old, err) != ADIT_OK)
        adit_buf_clear(&old); /* there is none, or none that is of use */
    if (!egress_resolv_conf_is_usable(adit_buf_view(&old), is_redirected))
        rc = write_mended(path, adit_buf_view(&old), err);
    adit_buf_fini(&old);
    return rc;
}
