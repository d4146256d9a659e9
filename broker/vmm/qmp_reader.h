/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What QEMU's monitor says (QMP): one JSON object a line. No I/O.
 *
 * QEMU is one step from the guest: every byte of it is hostile.
 */
#ifndef BROKER_VMM_QMP_READER_H
#define BROKER_VMM_QMP_READER_H

#include "base/buf.h"

/* Longest line; what QEMU says to what we ask is far shorter. */
#define QMP_READER_LINE_CAP (16u * 1024)
#define QMP_READER_WORD_CAP 64

enum qmp_reader_kind {
    QMP_READER_GREETING,
    QMP_READER_ANSWER,
    QMP_READER_ERROR,
    QMP_READER_EVENT,
};

/*
 * @id:     of an answer or error: the command's; -1: it names none
 * @word:   of an event its name, of an error its class; else empty
 * @reason: of an event why ("reason", else "action"), of an answer its "status", of an error its
 *          words; else empty
 * Texts are cut to their room, and printable ASCII: other bytes are "?".
 */
struct qmp_message {
    enum qmp_reader_kind kind;
    int64_t id;
    char word[QMP_READER_WORD_CAP], reason[QMP_READER_WORD_CAP];
};

struct qmp_reader {
    struct adit_buf line;
};

void qmp_reader_init(struct qmp_reader *r);
void qmp_reader_fini(struct qmp_reader *r);
/*
 * Take bytes from the front of @in up to and including the first line's end. *has: @out is what the
 * line says (empty lines say nothing). Errors: PROTOCOL (too long, no JSON object, none of the four
 * kinds), NO_MEMORY; then the reader is not to be used any more.
 */
ADIT_MUST_CHECK int qmp_reader_feed(struct qmp_reader *r, struct adit_view *in,
                                    struct qmp_message *out, bool *has, struct adit_err *err);

#endif
