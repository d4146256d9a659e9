/* SPDX-License-Identifier: Apache-2.0 */
/* Connect's envelopes, whole and in pieces. */
#include "tests/unit/suite.h"

#include "rpc/frame.h"

static struct frame_reader reader;
static struct adit_err err;

static void setup(void)
{
    frame_reader_init(&reader, FRAME_PAYLOAD_MAX);
}

static void teardown(void)
{
    frame_reader_fini(&reader);
}

/* Read one envelope out of @in. */
static bool read_one(struct adit_view *in, uint8_t *flags, struct adit_view *payload)
{
    bool complete;
    ck_assert_int_eq(frame_read(&reader, in, &complete, flags, payload, &err), 0);
    return complete;
}

START_TEST(frame_yields_whole_envelopes_without_a_copy)
{
    static const char bytes[] = "\0\0\0\0\3abc\2\0\0\0\0\1\0\0\0\1z";
    struct adit_view in = adit_view_mem(bytes, sizeof(bytes) - 1), payload;
    uint8_t flags;
    setup();
    ck_assert(read_one(&in, &flags, &payload));
    ck_assert_uint_eq(flags, 0);
    ck_assert(adit_view_eq_str(payload, "abc"));
    ck_assert_ptr_eq(payload.ptr, bytes + 5);
    ck_assert(read_one(&in, &flags, &payload));
    ck_assert_uint_eq(flags, FRAME_FLAG_END);
    ck_assert_uint_eq(payload.len, 0);
    ck_assert(read_one(&in, &flags, &payload));
    ck_assert_uint_eq(flags, FRAME_FLAG_COMPRESSED);
    ck_assert(adit_view_eq_str(payload, "z"));
    ck_assert(!read_one(&in, &flags, &payload));
    ck_assert(frame_reader_is_idle(&reader));
    ck_assert_ptr_null(reader.partial.data);
    teardown();
}
END_TEST

START_TEST(frame_yields_the_same_however_the_bytes_are_cut)
{
    static const char bytes[] = "\0\0\0\0\3abc\0\0\0\0\0\2\0\0\0\2{}";
    static const char want[] = "0:abc 0: 2:{} ";
    for (size_t step = 1; step < sizeof(bytes); step++) {
        struct adit_buf got;
        setup();
        adit_buf_init(&got, 100);
        for (size_t at = 0; at < sizeof(bytes) - 1; at += step) {
            size_t n = sizeof(bytes) - 1 - at < step ? sizeof(bytes) - 1 - at : step;
            struct adit_view in = adit_view_mem(bytes + at, n), payload;
            uint8_t flags;
            while (read_one(&in, &flags, &payload))
                ck_assert_int_eq(adit_buf_appendf(&got, "%d:%.*s ", flags, ADIT_VIEW_ARG(payload)),
                                 0);
            ck_assert_uint_eq(in.len, 0);
        }
        ck_assert(frame_reader_is_idle(&reader));
        ck_assert(adit_view_eq_str(adit_buf_view(&got), want));
        adit_buf_fini(&got);
        teardown();
    }
}
END_TEST

START_TEST(frame_is_not_idle_inside_an_envelope)
{
    static const char bytes[] = "\0\0\0\0\3abc";
    for (size_t n = 1; n < sizeof(bytes) - 1; n++) {
        struct adit_view in = adit_view_mem(bytes, n), payload;
        uint8_t flags;
        setup();
        ck_assert(!read_one(&in, &flags, &payload));
        ck_assert(!frame_reader_is_idle(&reader));
        teardown();
    }
}
END_TEST

START_TEST(frame_refuses_a_length_above_the_maximum_before_it_allocates)
{
    static const char lie[] = "\0\xFF\xFF\xFF\xFF{\"a\"";
    struct adit_view in = adit_view_mem(lie, sizeof(lie) - 1), payload;
    uint8_t flags;
    bool complete;
    setup();
    ck_assert_int_eq(frame_read(&reader, &in, &complete, &flags, &payload, &err), ADIT_ERR_LIMIT);
    ck_assert_ptr_null(reader.partial.data);
    teardown();

    char head[FRAME_HEAD_LEN];
    setup();
    frame_write_head(head, 0, FRAME_PAYLOAD_MAX + 1);
    in = adit_view_mem(head, 3);
    ck_assert(!read_one(&in, &flags, &payload));
    in = adit_view_mem(head + 3, 2);
    ck_assert_int_eq(frame_read(&reader, &in, &complete, &flags, &payload, &err), ADIT_ERR_LIMIT);
    ck_assert_uint_le(reader.partial.cap, 1024);
    teardown();
}
END_TEST

START_TEST(frame_takes_the_largest_payload)
{
    char head[FRAME_HEAD_LEN];
    char *zeros = calloc(1, FRAME_PAYLOAD_MAX);
    uint8_t flags;
    ck_assert_ptr_nonnull(zeros);
    setup();
    frame_write_head(head, 0, FRAME_PAYLOAD_MAX);
    struct adit_view in = adit_view_mem(head, sizeof(head)), payload;
    ck_assert(!read_one(&in, &flags, &payload));
    in = adit_view_mem(zeros, FRAME_PAYLOAD_MAX);
    ck_assert(read_one(&in, &flags, &payload));
    ck_assert_uint_eq(payload.len, FRAME_PAYLOAD_MAX);
    ck_assert(!read_one(&in, &flags, &payload));
    ck_assert_ptr_null(reader.partial.data);
    teardown();
    free(zeros);
}
END_TEST

START_TEST(frame_refuses_unknown_flags)
{
    for (unsigned f = 0; f < 256; f++) {
        char head[FRAME_HEAD_LEN];
        struct adit_view in = adit_view_mem(head, sizeof(head)), payload;
        uint8_t flags;
        bool complete;
        setup();
        frame_write_head(head, (uint8_t)f, 0);
        ck_assert_int_eq(frame_read(&reader, &in, &complete, &flags, &payload, &err),
                         f & ~0x83u ? ADIT_ERR_BAD_INPUT : 0);
        teardown();
    }
}
END_TEST

SUITE_MAIN("frame", frame_yields_whole_envelopes_without_a_copy,
           frame_yields_the_same_however_the_bytes_are_cut, frame_is_not_idle_inside_an_envelope,
           frame_refuses_a_length_above_the_maximum_before_it_allocates,
           frame_takes_the_largest_payload, frame_refuses_unknown_flags)
