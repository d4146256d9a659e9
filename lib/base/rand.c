/* SPDX-License-Identifier: Apache-2.0 */
/* Random bytes and the identifiers made of them. */
/*
 * Theory of operation
 *
 * What     Every byte comes from getrandom(2) at the time of the call. Nothing is kept in user
 *          space, so neither fork nor a snapshot of the guest can make two callers draw the same.
 * Failure  A kernel without random bytes ends the process: there is no safe way to go on, and no
 *          input can cause it.
 */
#include "base/rand.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/random.h>

#include "base/encode.h"

void adit_rand_bytes(void *out, size_t len)
{
    unsigned char *p = out;
    while (len) {
        ssize_t n = getrandom(p, len, 0);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            abort();
        p += n;
        len -= (size_t)n;
    }
}

uint64_t adit_rand_u64(void)
{
    uint64_t n;
    adit_rand_bytes(&n, sizeof n);
    return n;
}

void adit_rand_id(char *out, size_t len)
{
    static const char alphabet[36] = "abcdefghijklmnopqrstuvwxyz0123456789";
    const unsigned fair = 256 / sizeof alphabet * sizeof alphabet;
    unsigned char pool[64];
    size_t used = sizeof pool, made = 0;

    while (made < len) {
        if (used == sizeof pool) {
            adit_rand_bytes(pool, sizeof pool);
            used = 0;
        }
        unsigned char c = pool[used++];
        if (c < fair) /* the bytes above would favour the first letters */
            out[made++] = alphabet[c % sizeof alphabet];
    }
    out[len] = '\0';
}

void adit_rand_hex(char *out, size_t bytes)
{
    unsigned char pool[64];
    out[0] = '\0';
    while (bytes) {
        size_t n = bytes < sizeof pool ? bytes : sizeof pool;
        adit_rand_bytes(pool, n);
        adit_hex_encode(pool, n, out);
        out += 2 * n;
        bytes -= n;
    }
}

void adit_rand_uuid(char out[37])
{
    unsigned char id[16];
    adit_rand_bytes(id, sizeof id);
    id[6] = (unsigned char)((id[6] & 0x0F) | 0x40); /* version 4 */
    id[8] = (unsigned char)((id[8] & 0x3F) | 0x80); /* variant of RFC 9562 */

    static const size_t group_len[] = {4, 2, 2, 2, 6};
    const unsigned char *from = id;
    for (size_t i = 0; i < sizeof group_len / sizeof group_len[0]; i++) {
        adit_hex_encode(from, group_len[i], out);
        from += group_len[i];
        out += 2 * group_len[i];
        *out++ = '-';
    }
    out[-1] = '\0';
}
