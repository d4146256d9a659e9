/* SPDX-License-Identifier: Apache-2.0 */
/* Frames of the control channel. */
/*
 * Theory of operation
 *
 * What     Envelopes are lib/rpc/frame's, messages protobuf-c's; here are the rules that neither
 *          knows: which fields a frame must have and what may be in them.
 * Limits   CONTROL_FRAME_MAX, checked by the envelope's head. A message in memory takes at most
 * some forty times its bytes (an empty answer is 2 bytes), for as long as it is handled. Trust    A
 * guest's frames are hostile. The host's are checked by the same means, since a guest that believes
 * too much is hard to debug.
 */
#include "rpc/control.h"

#define LABEL_MAX 63
#define IPV4_LEN 4
#define IPV6_LEN 16

/* ---- rules ---- */

bool control_is_name(struct adit_view name)
{
    size_t label = 0;
    if (name.len == 0 || name.len > CONTROL_NAME_MAX)
        return false;
    for (size_t i = 0; i < name.len; i++) {
        unsigned char c = (unsigned char)name.ptr[i];
        if (c <= ' ' || c > '~' || (c == '.' && label == 0))
            return false;
        label = c == '.' ? 0 : label + 1;
        if (label > LABEL_MAX)
            return false;
    }
    return label > 0;
}

static bool is_name(const char *text)
{
    return control_is_name(adit_view_str(text));
}

static bool is_mode(Control__Mode mode)
{
    return mode >= CONTROL__MODE__MODE_TRANSPARENT && mode <= CONTROL__MODE__MODE_NONE;
}

static bool is_dial(const Control__Dial *d)
{
    bool has_address = d->address.len == IPV4_LEN || d->address.len == IPV6_LEN;
    return has_address && d->port >= 1 && d->port <= UINT16_MAX;
}

static bool is_reason(Control__Reason reason)
{
    return reason >= CONTROL__REASON__REASON_REFUSED && reason <= CONTROL__REASON__REASON_BUSY;
}

static bool is_answer(const Control__Answer *a)
{
    if (!is_name(a->name))
        return false;
    if (a->type == CONTROL_TYPE_A)
        return a->data.len == IPV4_LEN;
    if (a->type == CONTROL_TYPE_AAAA)
        return a->data.len == IPV6_LEN;
    return a->type == CONTROL_TYPE_CNAME &&
           control_is_name(adit_view_mem(a->data.data, a->data.len));
}

static bool is_result(const Control__LookupResult *r)
{
    bool is_fine = r->rcode <= CONTROL_RCODE_MAX && r->n_answers <= CONTROL_ANSWERS_MAX;
    for (size_t i = 0; is_fine && i < r->n_answers; i++)
        is_fine = is_answer(r->answers[i]);
    return is_fine;
}

static bool is_guest_frame(const Control__GuestFrame *f)
{
    switch (f->body_case) {
    case CONTROL__GUEST_FRAME__BODY_HELLO:
        return is_mode(f->hello->mode) && strlen(f->hello->version) <= CONTROL_VERSION_MAX;
    case CONTROL__GUEST_FRAME__BODY_DIAL:
        return is_dial(f->dial);
    case CONTROL__GUEST_FRAME__BODY_END:
        return true;
    case CONTROL__GUEST_FRAME__BODY_LOOKUP:
        return is_name(f->lookup->name) &&
               (f->lookup->type == CONTROL_TYPE_A || f->lookup->type == CONTROL_TYPE_AAAA);
    default:
        return false;
    }
}

static bool is_host_frame(const Control__HostFrame *f)
{
    switch (f->body_case) {
    case CONTROL__HOST_FRAME__BODY_HELLO:
    case CONTROL__HOST_FRAME__BODY_END:
        return true;
    case CONTROL__HOST_FRAME__BODY_REFUSAL:
        return is_reason(f->refusal->reason);
    case CONTROL__HOST_FRAME__BODY_LOOKUP_RESULT:
        return is_result(f->lookup_result);
    default:
        return false;
    }
}

/* ---- envelopes ---- */

static int append(struct adit_buf *out, const ProtobufCMessage *m)
{
    char head[FRAME_HEAD_LEN];
    size_t len = protobuf_c_message_get_packed_size(m);
    if (len > CONTROL_FRAME_MAX)
        return ADIT_ERR_LIMIT;
    int rc = adit_buf_reserve(out, sizeof head + len);
    if (rc)
        return rc;
    frame_write_head(head, 0, len);
    rc = adit_buf_append(out, head, sizeof head);
    if (rc)
        return rc;
    (void)protobuf_c_message_pack(m, (uint8_t *)adit_buf_tail(out)); /* its length is known */
    adit_buf_added(out, len);
    return 0;
}

int control_append_guest(struct adit_buf *out, const Control__GuestFrame *f)
{
    return append(out, &f->base);
}

int control_append_host(struct adit_buf *out, const Control__HostFrame *f)
{
    return append(out, &f->base);
}

static int broken(struct adit_err *err, const char *what)
{
    return adit_err_set(err, ADIT_ERR_PROTOCOL, "control channel: %s", what);
}

/* *out: NULL when there is no whole message yet. */
static int read_message(struct frame_reader *r, struct adit_view *in,
                        const ProtobufCMessageDescriptor *type, ProtobufCMessage **out,
                        struct adit_err *err)
{
    struct adit_view payload;
    bool is_complete;
    uint8_t flags;
    *out = NULL;
    int rc = frame_read(r, in, &is_complete, &flags, &payload, err);
    if (rc == ADIT_ERR_NO_MEMORY)
        return rc;
    if (rc || (is_complete && flags))
        return broken(err, "no envelope");
    if (!is_complete)
        return 0;
    *out = protobuf_c_message_unpack(type, NULL, payload.len, (const uint8_t *)payload.ptr);
    return *out ? 0 : broken(err, "no message");
}

int control_read_guest(struct frame_reader *r, struct adit_view *in, Control__GuestFrame **out,
                       struct adit_err *err)
{
    ProtobufCMessage *m;
    int rc = read_message(r, in, &control__guest_frame__descriptor, &m, err);
    *out = (Control__GuestFrame *)m;
    if (rc || !m || is_guest_frame(*out))
        return rc;
    control__guest_frame__free_unpacked(*out, NULL);
    *out = NULL;
    return broken(err, "a frame of the guest breaks its rules");
}

int control_read_host(struct frame_reader *r, struct adit_view *in, Control__HostFrame **out,
                      struct adit_err *err)
{
    ProtobufCMessage *m;
    int rc = read_message(r, in, &control__host_frame__descriptor, &m, err);
    *out = (Control__HostFrame *)m;
    if (rc || !m || is_host_frame(*out))
        return rc;
    control__host_frame__free_unpacked(*out, NULL);
    *out = NULL;
    return broken(err, "a frame of the host breaks its rules");
}
