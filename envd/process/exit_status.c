/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The words for the end of a process.
 *
 * Theory of operation
 *
 * What:   the table of signal names is that of the reference, which clients print and some compare;
 * strsignal(3) has other words. A signal without a name is called by its number.
 */
#include "envd/process/exit_status.h"

#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>

static const char *const signal_names[] = {
    [SIGHUP] = "hangup",
    [SIGINT] = "interrupt",
    [SIGQUIT] = "quit",
    [SIGILL] = "illegal instruction",
    [SIGTRAP] = "trace/breakpoint trap",
    [SIGABRT] = "aborted",
    [SIGBUS] = "bus error",
    [SIGFPE] = "floating point exception",
    [SIGKILL] = "killed",
    [SIGUSR1] = "user defined signal 1",
    [SIGSEGV] = "segmentation fault",
    [SIGUSR2] = "user defined signal 2",
    [SIGPIPE] = "broken pipe",
    [SIGALRM] = "alarm clock",
    [SIGTERM] = "terminated",
};

static void signal_text(int wait_status, char *out)
{
    int number = WTERMSIG(wait_status);
    const char *dumped = WCOREDUMP(wait_status) ? " (core dumped)" : "";
    size_t cnt = sizeof(signal_names) / sizeof(signal_names[0]);
    if ((size_t)number < cnt && signal_names[number])
        (void)snprintf(out, EXIT_STATUS_TEXT_CAP, "signal: %s%s", signal_names[number], dumped);
    else
        (void)snprintf(out, EXIT_STATUS_TEXT_CAP, "signal: signal %d%s", number, dumped);
}

void exit_status_of(int wait_status, struct exit_status *out)
{
    out->exited = WIFEXITED(wait_status);
    if (!out->exited) {
        out->code = -1;
        signal_text(wait_status, out->text);
        return;
    }
    out->code = WEXITSTATUS(wait_status);
    (void)snprintf(out->text, sizeof out->text, "exit status %d", out->code);
}
