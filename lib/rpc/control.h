/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Frames of the control channel (proto/control.proto): what is in the envelopes, and the rules that
 * it has to keep. No I/O. docs/wire/control.md.
 */
#ifndef ADIT_RPC_CONTROL_H
#define ADIT_RPC_CONTROL_H

#include "control.pb-c.h"
#include "rpc/frame.h"

/* Of an envelope's payload. */
#define CONTROL_FRAME_MAX (16u * 1024)
#define CONTROL_NAME_MAX 253
#define CONTROL_VERSION_MAX 64
#define CONTROL_ANSWERS_MAX 64
#define CONTROL_TYPE_A 1
#define CONTROL_TYPE_CNAME 5
#define CONTROL_TYPE_AAAA 28
#define CONTROL_RCODE_MAX 15

/* Append a frame in its envelope. Errors: LIMIT, NO_MEMORY; nothing is appended then. */
ADIT_MUST_CHECK int control_append_guest(struct adit_buf *out, const Control__GuestFrame *f);
ADIT_MUST_CHECK int control_append_host(struct adit_buf *out, const Control__HostFrame *f);

/*
 * Take the next frame from the front of @in; *out is NULL when all of @in was taken before one was
 * whole, else the caller frees it with control__…_frame__free_unpacked(). Its body is set, and all
 * in it keeps the rules of the .proto file (ids are the caller's matter). @r: initialised with
 * CONTROL_FRAME_MAX. Errors: PROTOCOL (the channel is of no use any more), NO_MEMORY.
 */
ADIT_MUST_CHECK int control_read_guest(struct frame_reader *r, struct adit_view *in,
                                       Control__GuestFrame **out, struct adit_err *err);
ADIT_MUST_CHECK int control_read_host(struct frame_reader *r, struct adit_view *in,
                                      Control__HostFrame **out, struct adit_err *err);

/* 1 to CONTROL_NAME_MAX bytes of printable ASCII, labels of 1 to 63 of them between dots. */
bool control_is_name(struct adit_view name);

#endif
