/* SPDX-License-Identifier: Apache-2.0 */
/* Calls of process.Process on a live envd. */
#ifndef ADIT_TESTS_UNIT_ENVD_LIVE_PROCESS_H
#define ADIT_TESTS_UNIT_ENVD_LIVE_PROCESS_H

#include "live_envd.h"

static inline void setup(void)
{
    live_start();
}

static inline void teardown(void)
{
    live_stop();
}

static inline int has(const char *text, const char *part)
{
    return strstr(text, part) != NULL;
}

static inline void signal_pid(uint32_t pid, Process__Signal number, struct live_reply *r)
{
    Process__ProcessSelector selector;
    Process__SendSignalRequest m;
    live_selector(&selector, pid);
    process__send_signal_request__init(&m);
    m.process = &selector;
    m.signal = number;
    live_unary("SendSignal", &m.base, r);
}

static inline struct live_conn connect_pid(uint32_t pid)
{
    Process__ProcessSelector selector;
    Process__ConnectRequest m;
    live_selector(&selector, pid);
    process__connect_request__init(&m);
    m.process = &selector;
    return live_stream("Connect", "", &m.base);
}

static inline void send_input(uint32_t pid, bool to_pty, const char *text, struct live_reply *r)
{
    Process__ProcessSelector selector;
    Process__ProcessInput input;
    Process__SendInputRequest m;
    char *copy = strdup(text);
    live_selector(&selector, pid);
    process__process_input__init(&input);
    input.input_case =
        to_pty ? PROCESS__PROCESS_INPUT__INPUT_PTY : PROCESS__PROCESS_INPUT__INPUT_STDIN;
    input.stdin.data = (uint8_t *)copy;
    input.stdin.len = strlen(text);
    process__send_input_request__init(&m);
    m.process = &selector;
    m.input = &input;
    live_unary("SendInput", &m.base, r);
    free(copy);
}

static inline void close_stdin(uint32_t pid, struct live_reply *r)
{
    Process__ProcessSelector selector;
    Process__CloseStdinRequest m;
    live_selector(&selector, pid);
    process__close_stdin_request__init(&m);
    m.process = &selector;
    live_unary("CloseStdin", &m.base, r);
}

static inline size_t list_cnt(void)
{
    struct live_reply r;
    Process__ListRequest m;
    process__list_request__init(&m);
    live_unary("List", &m.base, &r);
    ck_assert_uint_eq(r.status, 200);
    Process__ListResponse *list =
        process__list_response__unpack(NULL, r.body_len, (const uint8_t *)r.body);
    ck_assert_ptr_nonnull(list);
    size_t cnt = list->n_processes;
    process__list_response__free_unpacked(list, NULL);
    return cnt;
}

/* Start @command with stdin, and take its first event. */
static inline struct live_conn start(struct live_shell *s, const char *headers, struct live_run *r)
{
    memset(r, 0, sizeof *r);
    struct live_conn c = live_shell_start(s, headers);
    ck_assert(live_step(&c, r));
    ck_assert_uint_gt(r->pid, 1);
    return c;
}

#endif
