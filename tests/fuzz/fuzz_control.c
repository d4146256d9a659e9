/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Frames of the control channel, both ways; the first byte says how the rest is cut. Oracles: the
 * whole and the pieces give the same frames and the same end; a frame that is taken keeps its rules
 * when it is written and read again.
 */
#include "oracle.h"

#include "rpc/control.h"

#define TRANSCRIPT_CAP (16u * 1024 * 1024)

/* Fields that we do not know, here or within: they are read over, and we never write any. */
static bool has_unknown(const ProtobufCMessage *m)
{
    const uint8_t *at = (const uint8_t *)m;
    bool found = m->n_unknown_fields > 0;
    for (unsigned i = 0; !found && i < m->descriptor->n_fields; i++) {
        const ProtobufCFieldDescriptor *d = &m->descriptor->fields[i];
        const void *q = at + d->quantifier_offset, *field = at + d->offset;
        bool is_many = d->label == PROTOBUF_C_LABEL_REPEATED;
        bool is_unset = (d->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) && *(const uint32_t *)q != d->id;
        if (d->type != PROTOBUF_C_TYPE_MESSAGE || is_unset)
            continue;
        ProtobufCMessage *const *each = is_many ? *(ProtobufCMessage *const *const *)field : field;
        for (size_t n = is_many ? *(const size_t *)q : 1; !found && n > 0; n--)
            found = each[n - 1] && has_unknown(each[n - 1]);
    }
    return found;
}

/* What is taken is written as we write it, and taken again. */
static void take_guest(const Control__GuestFrame *f, struct adit_buf *seen)
{
    struct frame_reader r;
    Control__GuestFrame *again;
    size_t before = seen->len;
    ORACLE(f->body_case != CONTROL__GUEST_FRAME__BODY__NOT_SET);
    if (has_unknown(&f->base))
        return;
    ORACLE(control_append_guest(seen, f) == ADIT_OK);
    struct adit_view in = adit_buf_view(seen);
    in = adit_view_mem(in.ptr + before, in.len - before);
    frame_reader_init(&r, CONTROL_FRAME_MAX);
    ORACLE(control_read_guest(&r, &in, &again, NULL) == ADIT_OK && again && in.len == 0);
    control__guest_frame__free_unpacked(again, NULL);
    frame_reader_fini(&r);
}

static void take_host(const Control__HostFrame *f, struct adit_buf *seen)
{
    struct frame_reader r;
    Control__HostFrame *again;
    size_t before = seen->len;
    ORACLE(f->body_case != CONTROL__HOST_FRAME__BODY__NOT_SET);
    if (has_unknown(&f->base))
        return;
    ORACLE(control_append_host(seen, f) == ADIT_OK);
    struct adit_view in = adit_buf_view(seen);
    in = adit_view_mem(in.ptr + before, in.len - before);
    frame_reader_init(&r, CONTROL_FRAME_MAX);
    ORACLE(control_read_host(&r, &in, &again, NULL) == ADIT_OK && again && in.len == 0);
    control__host_frame__free_unpacked(again, NULL);
    frame_reader_fini(&r);
}

/* Return: false when no more frames come from @in. */
static bool step(struct frame_reader *r, struct adit_view *in, bool is_guest, int *rc,
                 struct adit_buf *seen)
{
    Control__GuestFrame *guest = NULL;
    Control__HostFrame *host = NULL;
    *rc =
        is_guest ? control_read_guest(r, in, &guest, NULL) : control_read_host(r, in, &host, NULL);
    ORACLE(*rc == ADIT_OK || *rc == ADIT_ERR_PROTOCOL);
    if (guest) {
        take_guest(guest, seen);
        control__guest_frame__free_unpacked(guest, NULL);
    }
    if (host) {
        take_host(host, seen);
        control__host_frame__free_unpacked(host, NULL);
    }
    return *rc == ADIT_OK && (guest || host);
}

static void run(const uint8_t *data, size_t size, size_t cut, bool is_guest, struct adit_buf *seen)
{
    struct frame_reader r;
    int rc = 0;
    adit_buf_init(seen, TRANSCRIPT_CAP);
    frame_reader_init(&r, CONTROL_FRAME_MAX);
    for (size_t at = 0; at < size && !rc; at += cut) {
        struct adit_view in = adit_view_mem(data + at, cut < size - at ? cut : size - at);
        while (step(&r, &in, is_guest, &rc, seen))
            continue;
        ORACLE(rc || in.len == 0);
        if (cut > size)
            break;
    }
    ORACLE(adit_buf_appendf(seen, "end %d %d", rc, !rc && frame_reader_is_idle(&r)) == 0);
    frame_reader_fini(&r);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct adit_buf whole, pieces;
    if (size < 2)
        return 0;
    bool is_guest = data[0] & 1;
    run(data + 1, size - 1, SIZE_MAX, is_guest, &whole);
    run(data + 1, size - 1, 1u + data[0] / 2, is_guest, &pieces);
    ORACLE(adit_view_eq(adit_buf_view(&whole), adit_buf_view(&pieces)));
    adit_buf_fini(&whole);
    adit_buf_fini(&pieces);
    return 0;
}
