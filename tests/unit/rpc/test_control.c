/* SPDX-License-Identifier: Apache-2.0 */
/* Frames of the control channel: what passes, what is refused, how they are cut. */
#include "tests/unit/suite.h"

#include <string.h>

#include "rpc/control.h"

static struct adit_buf out;
static struct frame_reader reader;
static struct adit_err err;

static void setup(void)
{
    adit_buf_init(&out, 64 * 1024);
    frame_reader_init(&reader, CONTROL_FRAME_MAX);
    err = (struct adit_err)ADIT_ERR_INIT;
}

static void teardown(void)
{
    adit_buf_fini(&out);
    frame_reader_fini(&reader);
}

static Control__GuestFrame *read_guest(int *rc)
{
    Control__GuestFrame *f = NULL;
    struct adit_view in = adit_buf_view(&out);
    *rc = control_read_guest(&reader, &in, &f, &err);
    return f;
}

/* What the codec says of a frame when it comes back. */
static int guest_verdict(const Control__GuestFrame *f)
{
    int rc;
    setup();
    ck_assert_int_eq(control_append_guest(&out, f), ADIT_OK);
    Control__GuestFrame *back = read_guest(&rc);
    ck_assert((rc == ADIT_OK) == (back != NULL));
    if (back)
        control__guest_frame__free_unpacked(back, NULL);
    teardown();
    return rc;
}

static int host_verdict(const Control__HostFrame *f)
{
    Control__HostFrame *back;
    setup();
    ck_assert_int_eq(control_append_host(&out, f), ADIT_OK);
    struct adit_view in = adit_buf_view(&out);
    int rc = control_read_host(&reader, &in, &back, &err);
    if (back)
        control__host_frame__free_unpacked(back, NULL);
    teardown();
    return rc;
}

static int dial_verdict(const char *address, size_t len, uint32_t port)
{
    Control__GuestFrame f = CONTROL__GUEST_FRAME__INIT;
    Control__Dial d;
    uint8_t bytes[32] = {0};
    memcpy(bytes, address, len);
    control__dial__init(&d);
    f.body_case = CONTROL__GUEST_FRAME__BODY_DIAL;
    f.dial = &d;
    d.id = 1;
    d.address = (ProtobufCBinaryData){len, bytes};
    d.port = port;
    return guest_verdict(&f);
}

START_TEST(control_dial_has_an_address_and_a_port)
{
    static const char zeros[32];
    ck_assert_int_eq(dial_verdict("\1\2\3\4", 4, 443), ADIT_OK);
    ck_assert_int_eq(dial_verdict(zeros, 16, 65535), ADIT_OK);
    ck_assert_int_eq(dial_verdict("\1\2\3\4", 4, 0), ADIT_ERR_PROTOCOL);
    ck_assert_int_eq(dial_verdict("\1\2\3\4", 4, 65536), ADIT_ERR_PROTOCOL);
    ck_assert_int_eq(dial_verdict("\1\2\3", 3, 80), ADIT_ERR_PROTOCOL);
    ck_assert_int_eq(dial_verdict(zeros, 17, 80), ADIT_ERR_PROTOCOL);
    ck_assert_int_eq(dial_verdict("", 0, 80), ADIT_ERR_PROTOCOL);
}
END_TEST

START_TEST(control_names_are_names)
{
    static const char *const good[] = {"a", "example.com", "_http._tcp.deb.debian.org", "xn--p1ai"};
    static const char *const bad[] = {"",    ".",    ".a",    "a.",          "a..b",
                                      "a b", "a\tb", "a\x7f", "\xc3\xa9.com"};
    char longest[CONTROL_NAME_MAX + 2];
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
        ck_assert_msg(control_is_name(adit_view_str(good[i])), "%s", good[i]);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        ck_assert_msg(!control_is_name(adit_view_str(bad[i])), "%s", bad[i]);
    memset(longest, 'a', sizeof longest);
    for (size_t i = 63; i < sizeof longest; i += 64)
        longest[i] = '.';
    ck_assert(control_is_name(adit_view_mem(longest, CONTROL_NAME_MAX)));
    ck_assert(!control_is_name(adit_view_mem(longest, CONTROL_NAME_MAX + 1)));
    longest[63] = 'a';
    ck_assert(!control_is_name(adit_view_mem(longest, 100)));
}
END_TEST

START_TEST(control_guest_frames_keep_their_rules)
{
    char version[] = "1.0";
    char much[CONTROL_VERSION_MAX + 2] = {0};
    char name[] = "example.com";
    Control__GuestHello hello;
    Control__Lookup lookup;
    Control__GuestFrame f = CONTROL__GUEST_FRAME__INIT;
    control__guest_hello__init(&hello);
    control__lookup__init(&lookup);
    ck_assert_int_eq(guest_verdict(&f), ADIT_ERR_PROTOCOL); /* no body */
    f.body_case = CONTROL__GUEST_FRAME__BODY_HELLO;
    f.hello = &hello;
    hello.version = version;
    ck_assert_int_eq(guest_verdict(&f), ADIT_ERR_PROTOCOL); /* no mode */
    hello.mode = CONTROL__MODE__MODE_NONE;
    ck_assert_int_eq(guest_verdict(&f), ADIT_OK);
    hello.mode = CONTROL__MODE__MODE_NONE + 1;
    ck_assert_int_eq(guest_verdict(&f), ADIT_ERR_PROTOCOL);
    hello.mode = CONTROL__MODE__MODE_PROXY;
    memset(much, 'x', sizeof much - 1);
    hello.version = much;
    ck_assert_int_eq(guest_verdict(&f), ADIT_ERR_PROTOCOL);

    f.body_case = CONTROL__GUEST_FRAME__BODY_LOOKUP;
    f.lookup = &lookup;
    lookup.name = name;
    lookup.type = 28;
    ck_assert_int_eq(guest_verdict(&f), ADIT_OK);
    lookup.type = 16;
    ck_assert_int_eq(guest_verdict(&f), ADIT_ERR_PROTOCOL);
}
END_TEST

static int answer_verdict(uint32_t type, const char *data, size_t len)
{
    char name[] = "example.com";
    uint8_t bytes[64] = {0};
    Control__Answer a, *list[] = {&a};
    Control__LookupResult result = CONTROL__LOOKUP_RESULT__INIT;
    Control__HostFrame f = CONTROL__HOST_FRAME__INIT;
    memcpy(bytes, data, len);
    control__answer__init(&a);
    a.name = name;
    a.type = type;
    a.data = (ProtobufCBinaryData){len, bytes};
    result.n_answers = 1;
    result.answers = list;
    f.body_case = CONTROL__HOST_FRAME__BODY_LOOKUP_RESULT;
    f.lookup_result = &result;
    return host_verdict(&f);
}

START_TEST(control_host_frames_keep_their_rules)
{
    static const char zeros[16];
    Control__Refusal refusal = CONTROL__REFUSAL__INIT;
    Control__LookupResult result = CONTROL__LOOKUP_RESULT__INIT;
    Control__HostFrame f = CONTROL__HOST_FRAME__INIT;
    ck_assert_int_eq(host_verdict(&f), ADIT_ERR_PROTOCOL);
    f.body_case = CONTROL__HOST_FRAME__BODY_REFUSAL;
    f.refusal = &refusal;
    ck_assert_int_eq(host_verdict(&f), ADIT_ERR_PROTOCOL);
    refusal.reason = CONTROL__REASON__REASON_BUSY;
    ck_assert_int_eq(host_verdict(&f), ADIT_OK);
    ck_assert_int_eq(answer_verdict(1, zeros, 4), ADIT_OK);
    ck_assert_int_eq(answer_verdict(1, zeros, 16), ADIT_ERR_PROTOCOL);
    ck_assert_int_eq(answer_verdict(28, zeros, 16), ADIT_OK);
    ck_assert_int_eq(answer_verdict(28, zeros, 4), ADIT_ERR_PROTOCOL);
    ck_assert_int_eq(answer_verdict(5, "other.com", 9), ADIT_OK);
    ck_assert_int_eq(answer_verdict(5, "other..com", 10), ADIT_ERR_PROTOCOL);
    ck_assert_int_eq(answer_verdict(16, zeros, 4), ADIT_ERR_PROTOCOL);
    f.body_case = CONTROL__HOST_FRAME__BODY_LOOKUP_RESULT;
    f.lookup_result = &result;
    result.rcode = CONTROL_RCODE_MAX + 1;
    ck_assert_int_eq(host_verdict(&f), ADIT_ERR_PROTOCOL);
    static Control__Answer a;
    static Control__Answer *many[CONTROL_ANSWERS_MAX + 1];
    static char name[] = "a";
    static uint8_t address[4];
    control__answer__init(&a);
    a.name = name;
    a.type = 1;
    a.data = (ProtobufCBinaryData){4, address};
    for (size_t i = 0; i < CONTROL_ANSWERS_MAX + 1; i++)
        many[i] = &a;
    result.rcode = 0;
    result.answers = many;
    result.n_answers = CONTROL_ANSWERS_MAX;
    ck_assert_int_eq(host_verdict(&f), ADIT_OK);
    result.n_answers++;
    ck_assert_int_eq(host_verdict(&f), ADIT_ERR_PROTOCOL);
}
END_TEST

START_TEST(control_frames_may_come_in_pieces_and_together)
{
    Control__End end = CONTROL__END__INIT;
    Control__GuestFrame f = CONTROL__GUEST_FRAME__INIT, *back;
    f.body_case = CONTROL__GUEST_FRAME__BODY_END;
    f.end = &end;
    for (uint32_t id = 1; id <= 3; id++) {
        end.id = id;
        ck_assert_int_eq(control_append_guest(&out, &f), ADIT_OK);
    }
    uint32_t next = 1;
    for (size_t i = 0; i < out.len; i++) {
        struct adit_view in = adit_view_mem(adit_buf_view(&out).ptr + i, 1);
        ck_assert_int_eq(control_read_guest(&reader, &in, &back, &err), ADIT_OK);
        ck_assert_uint_eq(in.len, 0);
        if (!back)
            continue;
        ck_assert_uint_eq(back->end->id, next++);
        control__guest_frame__free_unpacked(back, NULL);
    }
    ck_assert_uint_eq(next, 4);
    struct adit_view in = adit_buf_view(&out);
    for (next = 1; next <= 3; next++) {
        ck_assert_int_eq(control_read_guest(&reader, &in, &back, &err), ADIT_OK);
        ck_assert_uint_eq(back->end->id, next);
        control__guest_frame__free_unpacked(back, NULL);
    }
    ck_assert_int_eq(control_read_guest(&reader, &in, &back, &err), ADIT_OK);
    ck_assert_ptr_null(back);
}
END_TEST

START_TEST(control_refuses_what_is_no_frame)
{
    static const struct adit_view rows[] = {
        ADIT_VIEW("\0\0\0\x40\1"), /* a byte more than the maximum */
        ADIT_VIEW("\1\0\0\0\1x"),  /* flags */
        ADIT_VIEW("\2\0\0\0\1x"),        ADIT_VIEW("\x10\0\0\0\1x"),
        ADIT_VIEW("\0\0\0\0\2\x1a\x05"), /* no message */
        ADIT_VIEW("\0\0\0\0\0"),         /* nothing in it */
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        Control__GuestFrame *f;
        struct adit_view in = rows[i];
        struct frame_reader r;
        frame_reader_init(&r, CONTROL_FRAME_MAX);
        ck_assert_msg(control_read_guest(&r, &in, &f, &err) == ADIT_ERR_PROTOCOL, "row %zu", i);
        frame_reader_fini(&r);
    }
}
END_TEST

SUITE_MAIN_WITH("control", .fixtures = {{setup, teardown}},
                TESTS(control_dial_has_an_address_and_a_port, control_names_are_names,
                      control_guest_frames_keep_their_rules, control_host_frames_keep_their_rules,
                      control_frames_may_come_in_pieces_and_together,
                      control_refuses_what_is_no_frame))
