/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pipes and terminals of children.
 *
 * Theory of operation
 *
 * What:  opens both ends and gives the child's end to the user, so that a program that opens
 * /dev/stdout or its own terminal by name is let in. The terminal comes from the guest's devpts;
 * its other end is opened through the master (TIOCGPTPEER), never by a path. The master is
 * duplicated, since the loop watches one descriptor for reading and another for writing. Failure:
 * nothing stays open.
 */
#include "envd/process/stdio_fds.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

static const struct stdio_fds no_fds = {{-1, -1, -1}, -1, {-1, -1}};

static void close_fd(int *fd)
{
    if (*fd >= 0)
        (void)close(*fd); /* pipes and terminals have nothing to flush */
    *fd = -1;
}

static void close_child(struct stdio_fds *f)
{
    if (f->child[1] == f->child[0])
        f->child[1] = f->child[2] = -1;
    for (int i = 0; i < 3; i++)
        close_fd(&f->child[i]);
}

void stdio_fds_close(struct stdio_fds *f)
{
    close_child(f);
    close_fd(&f->input);
    close_fd(&f->output[0]);
    close_fd(&f->output[1]);
}

static int open_pipe(const struct user_entry *user, int *ours, int *childs, bool child_reads)
{
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0)
        return errno;
    *childs = ends[child_reads ? 0 : 1];
    *ours = ends[child_reads ? 1 : 0];
    int ignored = fchown(*childs, user->uid, user->gid); /* only opening it by name needs it */
    (void)ignored;
    return fcntl(*ours, F_SETFL, O_NONBLOCK) == 0 ? 0 : errno;
}

/* A root file system may lack /dev/null; a pipe that nobody writes to reads the same. */
static int open_null(int *out)
{
    *out = open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (*out >= 0)
        return 0;
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0)
        return errno;
    (void)close(ends[1]);
    *out = ends[0];
    return 0;
}

int stdio_fds_pipes(const struct user_entry *user, bool with_stdin, struct stdio_fds *out,
                    struct adit_err *err)
{
    *out = no_fds;
    int failed =
        with_stdin ? open_pipe(user, &out->input, &out->child[0], true) : open_null(&out->child[0]);
    for (int i = 0; i < 2 && failed == 0; i++)
        failed = open_pipe(user, &out->output[i], &out->child[i + 1], false);
    if (failed == 0)
        return ADIT_OK;
    stdio_fds_close(out);
    return adit_err_sys(err, failed, "pipe");
}

static unsigned short terminal_cells(uint32_t n)
{
    return n > UINT16_MAX ? UINT16_MAX : (unsigned short)n;
}

int stdio_fds_resize(int pty_fd, uint32_t cols, uint32_t rows, struct adit_err *err)
{
    struct winsize size = {.ws_row = terminal_cells(rows), .ws_col = terminal_cells(cols)};
    if (ioctl(pty_fd, TIOCSWINSZ, &size) != 0)
        return adit_err_sys(err, errno, "set terminal size");
    return ADIT_OK;
}

static int open_terminal(const struct user_entry *user, struct stdio_fds *out)
{
    int unlock = 0;
    int master = open("/dev/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK);
    if (master < 0)
        return errno;
    out->output[0] = master;
    if (ioctl(master, TIOCSPTLCK, &unlock) != 0)
        return errno;
    int childs = ioctl(master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (childs < 0)
        return errno;
    out->child[0] = out->child[1] = out->child[2] = childs;
    int ignored = fchown(childs, user->uid, (gid_t)-1); /* as for pipes */
    (void)ignored;
    out->input = fcntl(master, F_DUPFD_CLOEXEC, 3);
    return out->input >= 0 ? 0 : errno;
}

int stdio_fds_pty(const struct user_entry *user, uint32_t cols, uint32_t rows,
                  struct stdio_fds *out, struct adit_err *err)
{
    *out = no_fds;
    int failed = open_terminal(user, out);
    int code = failed == 0 ? stdio_fds_resize(out->output[0], cols, rows, err)
                           : adit_err_sys(err, failed, "open terminal");
    if (code != ADIT_OK)
        stdio_fds_close(out);
    return code;
}
