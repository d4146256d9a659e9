/* SPDX-License-Identifier: Apache-2.0 */
/* A monitor that the test plays: a listening socket on the same loop, one connection at a time. */
#include "broker/vmm/qmp.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "net/listener.h"
#include "net/stream.h"
#include "tests/unit/suite.h"

#define GREETING "{\"QMP\": {\"version\": {}, \"capabilities\": []}}\r\n"
#define AGREED "{\"return\": {}, \"id\": 1000}\r\n"

static uv_loop_t uv;
static struct net_loop loop;
static struct listener *listener;
static struct net_stream *monitor;
static struct qmp *qmp;
static char path[64], address[80];
static char heard[4096], events[4096];
static unsigned accepted, ready;
static bool is_closing_at_event;
static uint64_t skipped_ns;

static uint64_t mono(void)
{
    return uv_hrtime() + skipped_ns;
}

static int64_t wall(void)
{
    return 0;
}

/* ---- the monitor's side ---- */

static void on_heard(struct net_stream *s, struct adit_view bytes)
{
    (void)s;
    ck_assert_uint_lt(strlen(heard) + bytes.len, sizeof(heard));
    strncat(heard, bytes.ptr, bytes.len);
}

static void on_gone(struct net_stream *s, const struct adit_err *err)
{
    (void)err;
    net_stream_close(s);
    monitor = NULL;
}

static void on_accept(void *owner, int fd)
{
    static const struct net_stream_ops ops = {.on_read = on_heard, .on_end = on_gone};
    (void)owner;
    ck_assert(net_stream_open_fd(&loop, fd, &ops, NULL, &monitor, NULL) == 0);
    net_stream_read_start(monitor);
    heard[0] = '\0';
    accepted++;
}

static void say(const char *text)
{
    struct adit_view v = adit_view_str(text);
    ck_assert_ptr_nonnull(monitor);
    ck_assert_int_eq(net_stream_write(monitor, &v, 1), 0);
}

static bool has_heard(const char *text)
{
    return strstr(heard, text) != NULL;
}

/* ---- the broker's side ---- */

static void on_ready(void *owner)
{
    (void)owner;
    ready++;
}

static void on_answer(void *owner, enum qmp_command command, const struct qmp_message *msg)
{
    (void)owner;
    size_t len = strlen(events);
    (void)snprintf(events + len, sizeof(events) - len, "%s%d %s %s;",
                   msg->kind == QMP_READER_ERROR ? "error " : "", command, msg->word, msg->reason);
}

static void on_event(void *owner, const struct qmp_message *msg)
{
    (void)owner;
    size_t len = strlen(events);
    (void)snprintf(events + len, sizeof(events) - len, "%s %s;", msg->word, msg->reason);
    if (is_closing_at_event) {
        qmp_close(qmp);
        qmp = NULL;
    }
}

/* ---- fixture ---- */

#define RUN_UNTIL(condition)                                                                       \
    do {                                                                                           \
        while (!(condition))                                                                       \
            (void)uv_run(&uv, UV_RUN_ONCE);                                                        \
    } while (0)

static void listen_here(void)
{
    int fd;
    ck_assert(listener_socket(address, &fd, NULL) == 0);
    ck_assert(listener_open(&loop, fd, on_accept, NULL, &listener, NULL) == 0);
}

static void open_qmp(void)
{
    static const struct qmp_ops ops = {on_ready, on_answer, on_event};
    struct adit_err err = ADIT_ERR_INIT;
    ck_assert_msg(qmp_open(&loop, path, &ops, NULL, &qmp, &err) == 0, "%s", err.msg);
}

static void setup(void)
{
    (void)signal(SIGPIPE, SIG_IGN);
    adit_clock_set(mono, wall);
    ck_assert(uv_loop_init(&uv) == 0);
    ck_assert(net_loop_init(&loop, &uv, NULL) == 0);
    (void)snprintf(path, sizeof(path), "/tmp/adit-qmp-%d", (int)getpid());
    (void)snprintf(address, sizeof(address), "unix:%s", path);
    listen_here();
}

static void teardown(void)
{
    qmp_close(qmp);
    if (monitor)
        net_stream_close(monitor);
    if (listener)
        listener_close(listener);
    net_loop_close(&loop);
    (void)uv_run(&uv, UV_RUN_DEFAULT);
    ck_assert(uv_loop_close(&uv) == 0);
    (void)unlink(path);
}

static void connect_ready(void)
{
    unsigned before = ready;
    RUN_UNTIL(monitor);
    say(GREETING);
    RUN_UNTIL(has_heard("{\"execute\":\"qmp_capabilities\",\"id\":1000}\n"));
    say(AGREED);
    RUN_UNTIL(ready == before + 1);
}

/* ---- tests ---- */

START_TEST(qmp_agrees_and_then_takes_commands_and_tells_events)
{
    open_qmp();
    ck_assert_int_eq(qmp_send(qmp, QMP_QUERY_STATUS, NULL), ADIT_ERR_UNAVAILABLE);
    connect_ready();
    ck_assert_int_eq(qmp_send(qmp, QMP_QUERY_STATUS, NULL), 0);
    RUN_UNTIL(has_heard("{\"execute\":\"query-status\",\"id\":0}\n"));
    say("{\"event\":\"STOP\"}\n{\"return\":{\"status\":\"paused\"},\"id\":0}\n{\"eve");
    say("nt\":\"SHUTDOWN\",\"data\":{\"reason\":\"guest-reset\"}}\n");
    RUN_UNTIL(strcmp(events, "STOP ;0  paused;SHUTDOWN guest-reset;") == 0);
    ck_assert_int_eq(qmp_send(qmp, QMP_QUIT, NULL), 0);
    RUN_UNTIL(has_heard("{\"execute\":\"quit\",\"id\":1}\n"));
    say("{\"id\":1,\"error\":{\"class\":\"GenericError\",\"desc\":\"no\"}}\n");
    RUN_UNTIL(strstr(events, "error 1 GenericError no;"));
}
END_TEST

START_TEST(qmp_connects_again_when_the_monitor_went)
{
    open_qmp();
    connect_ready();
    net_stream_close(monitor);
    monitor = NULL;
    connect_ready();
    ck_assert_uint_eq(accepted, 2);
    ck_assert_int_eq(qmp_send(qmp, QMP_QUERY_STATUS, NULL), 0);
}
END_TEST

START_TEST(qmp_finds_a_monitor_that_comes_later)
{
    listener_close(listener);
    listener = NULL;
    (void)unlink(path);
    open_qmp();
    for (int i = 0; i < 20; i++)
        (void)uv_run(&uv, UV_RUN_NOWAIT);
    listen_here();
    connect_ready();
}
END_TEST

static const char *const breaches[] = {
    "hello\n",
    "{\"return\":{}}\n",
    "{\"event\":\"STOP\"}\n",
    GREETING GREETING,
    GREETING "{\"return\":{},\"id\":1001}\n",
    GREETING "{\"error\":{},\"id\":1000}\n",
    GREETING AGREED GREETING,
    GREETING AGREED "{\"return\":{},\"id\":2}\n",
    GREETING AGREED "{\"return\":{},\"id\":-1}\n",
    GREETING AGREED "nonsense\n",
};

START_TEST(qmp_leaves_a_monitor_that_breaks_the_protocol)
{
    open_qmp();
    RUN_UNTIL(monitor);
    say(breaches[_i]);
    RUN_UNTIL(!monitor);
    connect_ready(); /* and gives it another chance */
}
END_TEST

static const char *const talks[] = {"{\"event\":\"A\"}\n", "\n", "\r\n   \n"};

START_TEST(qmp_leaves_a_monitor_that_talks_without_end)
{
    unsigned told = 0;
    open_qmp();
    connect_ready();
    while (monitor && told++ < 100 * QMP_MESSAGES_BURST) {
        struct adit_view event = adit_view_str(talks[_i]);
        (void)net_stream_write(monitor, &event, 1); /* at last nobody takes it */
        (void)uv_run(&uv, UV_RUN_NOWAIT);
    }
    ck_assert(!monitor);
    if (_i == 0)
        ck_assert_uint_ge(strlen(events) / 3, QMP_MESSAGES_BURST / 2);
    ck_assert_uint_le(strlen(events) / 3, 2 * QMP_MESSAGES_BURST);
}
END_TEST

START_TEST(qmp_may_be_closed_by_what_it_tells)
{
    is_closing_at_event = true;
    open_qmp();
    connect_ready();
    say("{\"event\":\"A\"}\n{\"event\":\"B\"}\n");
    RUN_UNTIL(!monitor);
    ck_assert_ptr_null(qmp);
    ck_assert_str_eq(events, "A ;");
}
END_TEST

START_TEST(qmp_may_be_closed_at_any_time)
{
    open_qmp();
    if (_i >= 1)
        RUN_UNTIL(monitor);
    if (_i >= 2) {
        say(GREETING);
        RUN_UNTIL(has_heard("qmp_capabilities"));
    }
    if (_i >= 3) {
        net_stream_close(monitor);
        monitor = NULL;
        (void)uv_run(&uv, UV_RUN_NOWAIT);
    }
    qmp_close(qmp);
    qmp = NULL;
    if (monitor)
        RUN_UNTIL(!monitor);
}
END_TEST

SUITE_MAIN_WITH(
    "qmp", .fixtures = {{setup, teardown}},
    TESTS(qmp_agrees_and_then_takes_commands_and_tells_events,
          qmp_connects_again_when_the_monitor_went, qmp_finds_a_monitor_that_comes_later,
          qmp_may_be_closed_by_what_it_tells),
    LOOPS({qmp_leaves_a_monitor_that_breaks_the_protocol, sizeof(breaches) / sizeof(breaches[0])},
          {qmp_leaves_a_monitor_that_talks_without_end, sizeof(talks) / sizeof(talks[0])},
          {qmp_may_be_closed_at_any_time, 4}))
