/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a monitor says; the first byte says how the rest is cut. Oracles: the whole and the pieces
 * give the same messages and the same end; texts are printable, a kind has its own members only.
 */
#include "oracle.h"

#include <string.h>

#include "broker/vmm/qmp_reader.h"

#define TRANSCRIPT_CAP (16u * 1024 * 1024)

static void check_word(const char *word)
{
    ORACLE(memchr(word, '\0', QMP_READER_WORD_CAP));
    for (; *word; word++)
        ORACLE(*word >= ' ' && *word <= '~');
}

static void take(const struct qmp_message *m, struct adit_buf *seen)
{
    check_word(m->word);
    check_word(m->reason);
    ORACLE(m->kind != QMP_READER_GREETING || (!m->word[0] && !m->reason[0] && m->id == -1));
    ORACLE(m->kind != QMP_READER_ANSWER || !m->word[0]);
    ORACLE(m->kind != QMP_READER_EVENT || m->id == -1);
    ORACLE(adit_buf_appendf(seen, "%d %lld %s %s\n", m->kind, (long long)m->id, m->word,
                            m->reason) == 0);
}

static void run(const uint8_t *data, size_t size, size_t cut, struct adit_buf *seen)
{
    struct qmp_reader r;
    int rc = 0;
    adit_buf_init(seen, TRANSCRIPT_CAP);
    qmp_reader_init(&r);
    for (size_t at = 0; at < size && !rc; at += cut) {
        struct adit_view in = adit_view_mem(data + at, cut < size - at ? cut : size - at);
        while (in.len > 0 && !rc) {
            struct qmp_message m;
            bool has = false;
            rc = qmp_reader_feed(&r, &in, &m, &has, NULL);
            ORACLE(rc == ADIT_OK || rc == ADIT_ERR_PROTOCOL);
            if (!rc && has)
                take(&m, seen);
        }
        if (cut > size)
            break;
    }
    ORACLE(adit_buf_appendf(seen, "end %d", rc) == 0);
    qmp_reader_fini(&r);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct adit_buf whole, pieces;
    if (size < 2)
        return 0;
    run(data + 1, size - 1, SIZE_MAX, &whole);
    run(data + 1, size - 1, 1u + data[0] / 2, &pieces);
    ORACLE(adit_view_eq(adit_buf_view(&whole), adit_buf_view(&pieces)));
    adit_buf_fini(&whole);
    adit_buf_fini(&pieces);
    return 0;
}
