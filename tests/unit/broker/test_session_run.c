/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Executions against a stand-in for the guest, an HTTP server on a Unix socket that is both of its
 * ports: what it is asked, what is made of its answers, and that pictures arrive whole however slow
 * they are taken.
 */
#include "broker/session/session_run.h"

#include <unistd.h>

#include "net/http_server.h"
#include "net/listener.h"
#include "tests/unit/suite.h"

#define TOKEN "the-token"
#define CELL "{\"code\":\"x\"}"
#define ENDED "{\"type\":\"end_of_execution\"}\n"

/* @answer: to /execute, @is_open: and nothing more is said; @status: of it
 * @file_status: of uploads; @is_slow: they are read at every turn of the loop only */
static struct world {
    uv_loop_t uv;
    struct net_loop net;
    struct http_server *http;
    struct listener *listener;
    char dir[64], path[100];
    struct session_guest guest;
    struct session_run *run;
    size_t held;
    struct adit_buf answer;
    unsigned status, file_status;
    bool is_open, is_slow, is_ending;
    const char *events; /* of the working directory */
    int watcher_cnt;
    struct http_exchange *paused;
    uv_check_t turn;
    /* what came of it */
    struct adit_buf cell, output;
    size_t file_len, file_cnt, files_closed, execution_aborts, done_cnt;
    uint64_t file_sum;
    char paths[4][SESSION_RUN_PATH_CAP];
    size_t path_cnt;
    struct adit_err err;
} w;

/* ---- the stand-in ---- */

static void end_world(void)
{
    if (w.is_ending)
        return; /* by the answer and by the end of its connection */
    w.is_ending = true;
    listener_close(w.listener);
    http_server_drain(w.http, 0, NULL);
    uv_close((uv_handle_t *)&w.turn, NULL);
    net_loop_close(&w.net);
}

static void on_file_body(struct http_exchange *x, struct adit_view bytes)
{
    for (size_t i = 0; i < bytes.len; i++)
        w.file_sum = w.file_sum * 31 + (unsigned char)bytes.ptr[i];
    w.file_len += bytes.len;
    if (w.is_slow) {
        http_exchange_pause(x);
        w.paused = x;
    }
}

static void on_file_end(struct http_exchange *x)
{
    w.files_closed++;
    http_exchange_reply(x, w.file_status, adit_view_str("[]"));
}

static void on_file_abort(struct http_exchange *x, const struct adit_err *err)
{
    (void)err;
    if (w.paused == x)
        w.paused = NULL;
}

static void on_turn(uv_check_t *check)
{
    struct http_exchange *x = w.paused;
    (void)check;
    w.paused = NULL;
    if (x)
        http_exchange_resume(x);
}

static void on_cell_body(struct http_exchange *x, struct adit_view bytes)
{
    (void)x;
    ck_assert_int_eq(adit_buf_append_view(&w.cell, bytes), 0);
}

/* As much as fits at a time, as a kernel does. */
static void send_answer(struct http_exchange *x)
{
    while (w.answer.len > 0 && !http_exchange_is_congested(x)) {
        struct adit_view piece = adit_buf_view(&w.answer);
        piece.len = piece.len < 65536 ? piece.len : 65536;
        if (http_exchange_write(x, piece))
            return;
        adit_buf_consume(&w.answer, piece.len);
    }
    if (w.answer.len == 0 && !w.is_open)
        http_exchange_end(x);
}

static void on_cell_end(struct http_exchange *x)
{
    http_exchange_begin(x, w.status, HTTP_FRAMING_CHUNKED, 0);
    send_answer(x);
}

static void on_cell_abort(struct http_exchange *x, const struct adit_err *err)
{
    (void)x;
    (void)err;
    w.execution_aborts++;
    end_world();
}

/* @events: NULL: this guest does not watch. */
static void answer_watch(struct http_exchange *x, struct adit_view target)
{
    struct adit_buf text;
    adit_buf_init(&text, 4096);
    if (!w.events) {
        ck_assert(adit_view_eq_str(target, "/filesystem.Filesystem/CreateWatcher"));
        http_exchange_reply(x, 404, adit_view_str("{\"code\":\"not_found\",\"message\":\"no\"}"));
    } else if (adit_view_eq_str(target, "/filesystem.Filesystem/CreateWatcher")) {
        w.watcher_cnt++;
        http_exchange_reply(x, 200, adit_view_str("{\"watcherId\":\"w1\"}"));
    } else if (adit_view_eq_str(target, "/filesystem.Filesystem/GetWatcherEvents")) {
        ck_assert_int_eq(adit_buf_appendf(&text, "{\"events\":[%s]}", w.events), 0);
        http_exchange_reply(x, 200, adit_buf_view(&text));
    } else {
        ck_assert(adit_view_eq_str(target, "/filesystem.Filesystem/RemoveWatcher"));
        w.watcher_cnt--;
        http_exchange_reply(x, 200, adit_view_str("{}"));
        end_world();
    }
    adit_buf_fini(&text);
}

static void on_request(struct http_exchange *x, const struct http_head *head)
{
    static const struct http_exchange_ops cell = {.on_body = on_cell_body,
                                                  .on_end = on_cell_end,
                                                  .on_drain = send_answer,
                                                  .on_abort = on_cell_abort};
    static const struct http_exchange_ops file = {
        .on_body = on_file_body, .on_end = on_file_end, .on_abort = on_file_abort};
    ck_assert(adit_view_eq_str(http_head_get(head, "x-access-token"), TOKEN));
    if (adit_view_eq_str(head->target, "/execute")) {
        ck_assert(adit_view_eq_str(http_head_get(head, "content-type"), "application/json"));
        http_exchange_set_ops(x, &cell, NULL);
        return;
    }
    if (adit_view_has_prefix(head->target, "/filesystem.Filesystem/")) {
        answer_watch(x, head->target);
        return;
    }
    ck_assert(adit_view_has_prefix(head->target, "/files?path=" SESSION_RUN_DIRECTORY "/"));
    ck_assert(adit_view_eq_str(http_head_get(head, "content-type"), "application/octet-stream"));
    w.file_cnt++;
    http_exchange_set_ops(x, &file, NULL);
}

/* ---- the world ---- */

static void setup(void)
{
    struct http_server_conf conf = {.on_request = on_request};
    char address[120];
    int fd;
    memset(&w, 0, sizeof(w));
    w.status = w.file_status = 200;
    strcpy(w.dir, "/tmp/session_run_XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(w.dir));
    (void)snprintf(w.path, sizeof(w.path), "%s/guest", w.dir);
    (void)snprintf(address, sizeof(address), "unix:%s", w.path);
    ck_assert_int_eq(uv_loop_init(&w.uv), 0);
    ck_assert_int_eq(net_loop_init(&w.net, &w.uv, NULL), 0);
    ck_assert_int_eq(http_server_new(&w.net, &conf, &w.http, NULL), 0);
    ck_assert_int_eq(listener_socket(address, &fd, NULL), 0);
    ck_assert_int_eq(listener_open(&w.net, fd, http_server_accept, w.http, &w.listener, NULL), 0);
    uv_check_init(&w.uv, &w.turn);
    uv_check_start(&w.turn, on_turn);
    adit_buf_init(&w.answer, 64 << 20);
    adit_buf_init(&w.cell, 1 << 20);
    adit_buf_init(&w.output, 64 << 20);
    w.guest = (struct session_guest){.target = {.kind = HTTP_TARGET_UNIX}, .dial_ms = 2000};
    (void)snprintf(w.guest.target.path, sizeof(w.guest.target.path), "%s", w.path);
    strcpy(w.guest.token, TOKEN);
}

static void teardown(void)
{
    adit_buf_fini(&w.answer);
    adit_buf_fini(&w.cell);
    adit_buf_fini(&w.output);
    ck_assert_uint_eq(w.held, 0);
    ck_assert_int_eq(uv_loop_close(&w.uv), 0);
    (void)unlink(w.path);
    (void)rmdir(w.dir);
}

static void on_done(void *user, const struct session_run_end *end)
{
    ck_assert_ptr_eq(user, &w);
    w.done_cnt++;
    w.run = NULL;
    if (end->err) {
        w.err = *end->err;
    } else {
        ck_assert_int_eq(session_result_format(end->result, 1, adit_view_str(""), &w.output), 0);
        for (size_t i = 0; i < end->path_cnt && i < 4; i++)
            memcpy(w.paths[i], end->paths[i], SESSION_RUN_PATH_CAP);
        w.path_cnt = end->path_cnt;
    }
    if (!w.events)
        end_world(); /* else when the guest was told that its watch is over */
}

static void start(void)
{
    ck_assert_int_eq(session_run_start(&w.net, &w.guest, adit_view_str(CELL), &w.held, on_done, &w,
                                       &w.run, NULL),
                     0);
}

static void execute(const char *answer)
{
    ck_assert_int_eq(adit_buf_append_str(&w.answer, answer), 0);
    start();
    uv_run(&w.uv, UV_RUN_DEFAULT);
}

static bool has_output(const char *text)
{
    return memmem(w.output.data + w.output.off, w.output.len, text, strlen(text)) != NULL;
}

/* ---- tests ---- */

START_TEST(session_run_tells_what_the_interpreter_said)
{
    execute("{\"type\":\"stdout\",\"text\":\"hello\"}\n" ENDED);
    ck_assert_uint_eq(w.done_cnt, 1);
    ck_assert(has_output("\"success\":true,\"output\":\"hello\",\"error\":null"));
    ck_assert(adit_view_eq_str(adit_buf_view(&w.cell), CELL));
    ck_assert_uint_eq(w.file_cnt + w.path_cnt, 0);
}
END_TEST

START_TEST(session_run_keeps_pictures_as_files)
{
    execute("{\"type\":\"result\",\"png\":\"aGVsbG8=\"}\n"
            "{\"type\":\"result\",\"svg\":\"<svg/>\"}\n" ENDED);
    ck_assert_uint_eq(w.file_cnt, 2);
    ck_assert_uint_eq(w.file_len, strlen("hello<svg/>"));
    ck_assert_uint_eq(w.path_cnt, 2);
    ck_assert(adit_view_has_prefix(adit_view_str(w.paths[0]), SESSION_RUN_DIRECTORY "/"));
    ck_assert_ptr_nonnull(strstr(w.paths[0], "-1.png"));
    ck_assert_ptr_nonnull(strstr(w.paths[1], "-2.svg"));
}
END_TEST

START_TEST(session_run_tells_the_files_that_are_left)
{
    w.events = "{\"name\":\"a.csv\",\"type\":\"EVENT_TYPE_CREATE\","
               "\"entry\":{\"type\":\"FILE_TYPE_FILE\"}}";
    execute("{\"type\":\"result\",\"png\":\"aGVsbG8=\"}\n" ENDED);
    ck_assert_uint_eq(w.path_cnt, 2);
    ck_assert_ptr_nonnull(strstr(w.paths[0], "-1.png"));
    ck_assert_str_eq(w.paths[1], "/home/user/a.csv");
    ck_assert_int_eq(w.watcher_cnt, 0);
}
END_TEST

START_TEST(session_run_leaves_out_pictures_that_cannot_be_kept)
{
    w.file_status = 507;
    execute("{\"type\":\"result\",\"png\":\"aGVsbG8=\"}\n{\"type\":\"stdout\",\"text\":\"on\"}"
            "\n" ENDED);
    ck_assert_uint_eq(w.done_cnt, 1);
    ck_assert_uint_eq(w.path_cnt, 0);
    ck_assert(has_output("\"success\":true,\"output\":\"on\""));
}
END_TEST

/* More than both connections hold at once: the answer waits for the file. */
START_TEST(session_run_loses_nothing_of_a_picture_that_is_taken_slowly)
{
    static const char quad[] = "QUJD"; /* "ABC" */
    const size_t cnt = 2000000;
    uint64_t sum = 0;
    w.is_slow = true;
    ck_assert_int_eq(adit_buf_append_str(&w.answer, "{\"type\":\"result\",\"png\":\""), 0);
    for (size_t i = 0; i < cnt; i++)
        ck_assert_int_eq(adit_buf_append_str(&w.answer, quad), 0);
    for (size_t i = 0; i < 3 * cnt; i++)
        sum = sum * 31 + (unsigned char)"ABC"[i % 3];
    execute("\"}\n" ENDED);
    ck_assert_uint_eq(w.file_len, 3 * cnt);
    ck_assert_uint_eq(w.file_sum, sum);
    ck_assert_uint_eq(w.path_cnt, 1);
}
END_TEST

START_TEST(session_run_tells_an_answer_that_ends_too_soon)
{
    execute("{\"type\":\"stdout\",\"text\":\"hello\"}\n{\"type\":\"result\",\"png\":\"aGVs");
    ck_assert_uint_eq(w.done_cnt, 1);
    ck_assert_int_eq(w.err.code, ADIT_ERR_CLOSED);
}
END_TEST

START_TEST(session_run_tells_a_refusal)
{
    w.status = 500;
    w.is_open = true; /* its body is not waited for */
    execute("no");
    ck_assert_uint_eq(w.done_cnt, 1);
    ck_assert_int_eq(w.err.code, ADIT_ERR_UNAVAILABLE);
    ck_assert_ptr_nonnull(strstr(w.err.msg, "500"));
}
END_TEST

START_TEST(session_run_tells_that_nobody_is_there)
{
    (void)unlink(w.path);
    execute("");
    ck_assert_uint_eq(w.done_cnt, 1);
    ck_assert_int_eq(w.err.code, ADIT_ERR_UNAVAILABLE);
}
END_TEST

static void on_cancel(uv_timer_t *t)
{
    if (w.cell.len < strlen(CELL))
        return;
    session_run_cancel(w.run);
    uv_close((uv_handle_t *)t, NULL);
}

START_TEST(session_run_that_is_cancelled_lets_go_of_the_call)
{
    uv_timer_t timer;
    w.is_open = true;
    ck_assert_int_eq(adit_buf_append_str(&w.answer, "{\"type\":\"result\",\"png\":\"aGVs"), 0);
    start();
    uv_timer_init(&w.uv, &timer);
    uv_timer_start(&timer, on_cancel, 1, 1);
    uv_run(&w.uv, UV_RUN_DEFAULT);
    ck_assert_uint_eq(w.execution_aborts, 1);
    ck_assert_uint_eq(w.done_cnt, 0);
}
END_TEST

SUITE_MAIN_WITH("session_run", .fixtures = {{setup, teardown}},
                TESTS(session_run_tells_what_the_interpreter_said,
                      session_run_keeps_pictures_as_files,
                      session_run_tells_the_files_that_are_left,
                      session_run_leaves_out_pictures_that_cannot_be_kept,
                      session_run_loses_nothing_of_a_picture_that_is_taken_slowly,
                      session_run_tells_an_answer_that_ends_too_soon, session_run_tells_a_refusal,
                      session_run_tells_that_nobody_is_there,
                      session_run_that_is_cancelled_lets_go_of_the_call))
