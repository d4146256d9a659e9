/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a parser that is not strict makes of a request: llhttp as it is by default, which many
 * servers use. Two readers that take the same bytes for different requests are how requests are
 * smuggled.
 *
 * It is linked apart (see the Makefile), so that the product's own llhttp keeps its strict mode.
 */
#ifndef ADIT_TESTS_LENIENT_READER_H
#define ADIT_TESTS_LENIENT_READER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LENIENT_MESSAGES_MAX 64

/* One message. @digest: of method, target, field names and values, and the body, in their order */
struct lenient_message {
    uint64_t digest;
    size_t body_len;
};

/*
 * @messages:   those that ended; of more than there is room for, the first
 * @is_refused: the parser refused something behind them
 * @is_upgrade: it stopped because the last of them changes the protocol
 */
struct lenient_reader {
    struct lenient_message messages[LENIENT_MESSAGES_MAX];
    size_t message_cnt;
    bool is_refused, is_upgrade;
};

void lenient_reader_run(const void *bytes, size_t len, struct lenient_reader *out);

/* FNV-1a, continued. Begin with 0. A part's end is digested too. */
static inline uint64_t lenient_digest(uint64_t h, const void *bytes, size_t len)
{
    for (const unsigned char *p = bytes; len > 0; p++, len--)
        h = (h ^ *p) * UINT64_C(0x100000001b3);
    return h;
}

static inline uint64_t lenient_digest_end(uint64_t h)
{
    return (h ^ 0x100) * UINT64_C(0x100000001b3);
}

#endif
