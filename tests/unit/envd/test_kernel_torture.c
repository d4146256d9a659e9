/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every allocation that serving a cell makes fails once, in one envd that goes on living: with a
 * kernel that is there, and with one that has to be started. Whatever comes of that cell, the next
 * one is served, and in the end envd holds as many blocks of memory as before.
 */
#include "live_envd.h"
#include "live_failures.h"

#if FAILING_MALLOC

/* More allocations than one request makes; the test asserts it. */
#define FAILURES_MAX 400

#define REQUEST(target, body_len, body)                                                            \
    "CONNECT 49999\nPOST " target " HTTP/1.1\r\nHost: envd\r\nConnection: close\r\n"               \
    "Content-Length: " #body_len "\r\n\r\n" body

/* Each ends with what the whole answer has in it. */
static const struct request {
    const char *text, *answer;
} cell =
    {REQUEST(
         "/execute", 70,
         "{\"code\":\"echo $((6 * 7))\",\"language\":\"bash\",\"env_vars\":{\"NAME\":\"val\"}}"),
     "end_of_execution"},
  death = {REQUEST("/execute", 41, "{\"code\":\"kill -9 $$\" , \"language\":\"bash\"}"),
           "end_of_execution"},
  context = {REQUEST("/contexts", 32, "{\"language\":\"bash\",\"cwd\":\"/tmp\"}"),
             "\"cwd\":\"/tmp\""};

/* Return: whether its answer came whole. @out: what came. */
static bool ask(const struct request *r, char *out, size_t cap)
{
    struct live_conn c = live_dial();
    (void)send(c.fd, r->text, strlen(r->text), MSG_NOSIGNAL); /* a refusal is one of the outcomes */
    bool came = live_read_until(&c, r->answer, out, cap);
    live_hang_up(&c);
    return came;
}

/* A kernel that could not be heard ends a little later, and may take one more cell with it. */
static void expect_cell(void)
{
    char out[4096];
    bool is_served = false;
    for (int i = 0; i < 3 && !is_served; i++)
        is_served = ask(&cell, out, sizeof out) && strstr(out, "\"text\":\"42\\n\"");
    ck_assert_msg(is_served, "%s", out);
}

static void call(const char *method, const char *target, struct live_reply *reply)
{
    struct live_conn c = live_channel(CHANNEL_PORT_KERNEL);
    live_call(&c, method, target, "", "", reply);
    ck_assert_uint_eq(reply->status, 200);
    live_hang_up(&c);
}

/* Also those of which no answer told. */
static void remove_contexts(void)
{
    static const char end[] = "\",\"language\":\"bash\",\"cwd\":\"/tmp\"";
    struct live_reply list, reply;
    char target[64];
    call("GET", "/contexts", &list);
    for (const char *at = list.body; (at = strstr(at, end)); at++) {
        (void)snprintf(target, sizeof target, "/contexts/%.36s", at - 36);
        call("DELETE", target, &reply);
    }
}

/* @prepare: before each try, or NULL. */
static void torture(const struct request *r, const struct request *prepare)
{
    char out[4096];
    long n = 0, fired;
    expect_cell();
    expect_cell(); /* also makes what is made once */
    long before = live_fail_nth(0);
    do {
        if (prepare)
            ck_assert(ask(prepare, out, sizeof out));
        fired = live_failures->fired;
        (void)live_fail_nth(++n);
        bool came = ask(r, out, sizeof out);
        (void)live_fail_nth(0);
        remove_contexts();
        expect_cell();
        ck_assert(came || live_failures->fired != fired);
        ck_assert_int_lt(n, FAILURES_MAX);
    } while (live_failures->fired != fired);
    ck_assert_int_gt(n, 3);
    live_expect_blocks(before);
}

START_TEST(kernel_survives_every_failed_allocation_of_a_cell)
{
    torture(&cell, NULL);
}
END_TEST

START_TEST(kernel_survives_every_failed_allocation_of_a_cell_that_starts_it)
{
    torture(&cell, &death);
}
END_TEST

START_TEST(kernel_survives_every_failed_allocation_of_a_context)
{
    torture(&context, NULL);
}
END_TEST

static void setup(void)
{
    live_failures_share();
    live_start();
    expect_cell(); /* envd hears signals */
}

static void teardown(void)
{
    live_stop();
}

SUITE_MAIN_WITH("kernel_torture", .fixtures = {{setup, teardown}},
                TESTS(kernel_survives_every_failed_allocation_of_a_cell,
                      kernel_survives_every_failed_allocation_of_a_cell_that_starts_it,
                      kernel_survives_every_failed_allocation_of_a_context))

#else

int main(void)
{
    suite_skip("test_kernel_torture", FAILING_MALLOC_NEEDS);
    return EXIT_SUCCESS;
}

#endif
