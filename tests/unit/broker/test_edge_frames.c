/* SPDX-License-Identifier: Apache-2.0 */
/* A gRPC-Web body cut into messages and trailers. */
#include "tests/unit/suite.h"

#include "broker/edge/edge_frames.h"

#define TRAILERS_OK "\x80\0\0\0\x10grpc-status: 0\r\n"
#define BYTES(literal) (literal), sizeof(literal) - 1

static struct {
    char body[4096];
    size_t len;
    struct edge_frames f;
    struct adit_err err;
} T;

/* Feed in pieces of @step bytes. Return: the first error. */
static int feed(const char *bytes, size_t len, size_t step)
{
    T.len = 0;
    T.err = (struct adit_err)ADIT_ERR_INIT;
    edge_frames_init(&T.f);
    for (size_t at = 0; at < len; at += step) {
        struct adit_view in = {bytes + at, step < len - at ? step : len - at}, body;

        while (in.len > 0) {
            int rc = edge_frames_next(&T.f, &in, &body, &T.err);

            if (rc != 0)
                return rc;
            memcpy(T.body + T.len, body.ptr ? body.ptr : "", body.len);
            T.len += body.len;
        }
    }
    return 0;
}

static const struct {
    const char *what, *bytes;
    size_t len, body_len; /* @body_len: how many bytes at the front are the client's */
    int rc, end_rc;
} rows[] = {
    {"trailers alone", BYTES(TRAILERS_OK), 0, 0, 0},
    {"a message", BYTES("\0\0\0\0\5hello" TRAILERS_OK), 10, 0, 0},
    {"an empty message", BYTES("\0\0\0\0\0" TRAILERS_OK), 5, 0, 0},
    {"a compressed message", BYTES("\1\0\0\0\2ab" TRAILERS_OK), 7, 0, 0},
    {"three messages", BYTES("\0\0\0\0\1a\0\0\0\0\0\0\0\0\0\2bc" TRAILERS_OK), 18, 0, 0},
    {"no trailers", BYTES("\0\0\0\0\5hello"), 10, 0, ADIT_ERR_PROTOCOL},
    {"nothing", BYTES(""), 0, 0, ADIT_ERR_PROTOCOL},
    {"a message that is cut", BYTES("\0\0\0\0\5hel"), 8, 0, ADIT_ERR_PROTOCOL},
    {"trailers that are cut", BYTES("\x80\0\0\0\x10grpc-sta"), 0, 0, ADIT_ERR_PROTOCOL},
    {"bytes behind the trailers", BYTES(TRAILERS_OK "x"), 0, ADIT_ERR_PROTOCOL, 0},
    {"trailers twice", BYTES(TRAILERS_OK TRAILERS_OK), 0, ADIT_ERR_PROTOCOL, 0},
    {"compressed trailers", BYTES("\x81\0\0\0\1x"), 0, ADIT_ERR_PROTOCOL, 0},
    {"an unknown flag", BYTES("\2\0\0\0\1x"), 0, ADIT_ERR_PROTOCOL, 0},
    {"an unknown flag behind a message", BYTES("\0\0\0\0\1a\x42\0\0\0\1x"), 6, ADIT_ERR_PROTOCOL,
     0},
    {"trailers that are too large", BYTES("\x80\0\0\x40\1x"), 0, ADIT_ERR_LIMIT, 0},
    {"empty trailers", BYTES("\x80\0\0\0\0"), 0, 0, ADIT_ERR_PROTOCOL},
    {"no status", BYTES("\x80\0\0\0\x6x: y\r\n"), 0, 0, ADIT_ERR_PROTOCOL},
    {"two statuses", BYTES("\x80\0\0\0\x20grpc-status: 0\r\ngrpc-status: 1\r\n"), 0, 0,
     ADIT_ERR_PROTOCOL},
    {"an unknown status", BYTES("\x80\0\0\0\x11grpc-status: 17\r\n"), 0, 0, ADIT_ERR_PROTOCOL},
    {"a status that is none", BYTES("\x80\0\0\0\x11grpc-status: ok\r\n"), 0, 0, ADIT_ERR_PROTOCOL},
};
#define ROW_CNT (sizeof(rows) / sizeof(rows[0]))

START_TEST(edge_frames_cuts_the_body)
{
    for (size_t step = 1; step < 64; step++) {
        int rc = feed(rows[_i].bytes, rows[_i].len, step);

        ck_assert_msg(rc == rows[_i].rc, "%s by %zu: %d", rows[_i].what, step, rc);
        ck_assert_msg(T.len == rows[_i].body_len && memcmp(T.body, rows[_i].bytes, T.len) == 0,
                      "%s by %zu: %zu bytes", rows[_i].what, step, T.len);
        if (rc == 0)
            ck_assert_msg(edge_frames_end(&T.f, &T.err) == rows[_i].end_rc, "%s", rows[_i].what);
        edge_frames_fini(&T.f);
    }
}
END_TEST

START_TEST(edge_frames_lists_trailers)
{
    static const char lines[] =
        "\x80\0\0\0\x2dgrpc-status: 5\r\nGrpc-Message:no  \r\n\r\nempty:\r\n";
    struct adit_view rest, name, value;

    ck_assert_int_eq(feed(lines, sizeof(lines) - 1, 3), 0);
    ck_assert_int_eq(edge_frames_end(&T.f, &T.err), 0);
    rest = edge_frames_trailers(&T.f);
    ck_assert(edge_frames_trailer(&rest, &name, &value));
    ck_assert(adit_view_eq_str(name, "grpc-status") && adit_view_eq_str(value, "5"));
    ck_assert(edge_frames_trailer(&rest, &name, &value));
    ck_assert(adit_view_eq_str(name, "Grpc-Message") && adit_view_eq_str(value, "no"));
    ck_assert(edge_frames_trailer(&rest, &name, &value));
    ck_assert(adit_view_eq_str(name, "empty") && value.len == 0);
    ck_assert(!edge_frames_trailer(&rest, &name, &value));
    edge_frames_fini(&T.f);
}
END_TEST

START_TEST(edge_frames_copies_no_message)
{
    static const char bytes[] = "\0\0\0\0\5hello\0\0\0\0\5world";
    struct adit_view in = {bytes, sizeof(bytes) - 1}, body;

    edge_frames_init(&T.f);
    ck_assert_int_eq(edge_frames_next(&T.f, &in, &body, &T.err), 0);
    ck_assert_ptr_eq(body.ptr, bytes);
    ck_assert_uint_eq(body.len, sizeof(bytes) - 1); /* both in one piece */
    edge_frames_fini(&T.f);
}
END_TEST

SUITE_MAIN_WITH("edge_frames", TESTS(edge_frames_lists_trailers, edge_frames_copies_no_message),
                LOOPS({edge_frames_cuts_the_body, ROW_CNT}))
