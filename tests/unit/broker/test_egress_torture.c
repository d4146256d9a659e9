/* SPDX-License-Identifier: Apache-2.0 */
/* Every allocation between a guest's dial and its connection fails once; the host goes on. */
#include "../failing_malloc.h"

#include "egress_guest.h"

#if FAILING_MALLOC

static struct guest g;
static int server;
static uint16_t port;

static struct adit_buf dial_bytes(uint32_t id)
{
    struct adit_buf out;
    Control__Dial dial;
    Control__GuestFrame f = CONTROL__GUEST_FRAME__INIT;
    uint8_t address[] = {127, 0, 0, 1};
    control__dial__init(&dial);
    dial.id = id;
    dial.address = (ProtobufCBinaryData){sizeof(address), address};
    dial.port = port;
    f.body_case = CONTROL__GUEST_FRAME__BODY_DIAL;
    f.dial = &dial;
    adit_buf_init(&out, 1024);
    ck_assert_int_eq(control_append_guest(&out, &f), ADIT_OK);
    return out;
}

/* Return: the channel that the host opens, or -1 for another, or one that it gives up. */
static int accept_line(const char *expected)
{
    char line[64];
    int fd = server_accept(g.listener);
    if (try_line(fd, line, sizeof(line)) && strcmp(line, expected) == 0 &&
        send(fd, "OK 1\n", 5, MSG_NOSIGNAL) == 5)
        return fd;
    (void)close(fd);
    return -1;
}

/* Return: whether the host goes on. */
static bool greet(int program)
{
    char line[64];
    return try_line(program, line, sizeof(line)) && strcmp(line, "1\n") == 0 &&
           send(program, "OK\n", 3, MSG_NOSIGNAL) == 3;
}

/* Return: whether bytes get through. */
static bool carries(int program, int destination)
{
    char word[4];
    (void)send(program, "word", sizeof(word), MSG_NOSIGNAL); /* seen by what comes */
    wait_readable(destination);
    return read(destination, word, sizeof(word)) == sizeof(word);
}

/* Answer channels until the dial is over. Return: whether it was joined. */
static bool follow(int *destination)
{
    struct pollfd p[3] = {{.fd = g.control, .events = POLLIN},
                          {.fd = g.listener, .events = POLLIN},
                          {.fd = server, .events = POLLIN}};
    for (;;) {
        ck_assert_msg(poll(p, 3, GUEST_WAIT_MS) > 0, "nothing comes");
        if (p[2].revents) {
            *destination = server_accept(server);
            p[2].fd = -1;
            p[2].revents = 0;
        } else if (p[0].revents) {
            return false;
        } else if (p[1].revents) {
            int program = accept_line("CONNECT 1026\n");
            bool is_joined = program >= 0 && greet(program) && carries(program, *destination);
            (void)close(program); /* or it is none */
            if (is_joined)
                return true;
        }
    }
}

/* What was begun before and given up is passed over. */
static void come_again(void)
{
    int fd = -1;
    guest_hang_up(&g);
    while (fd < 0)
        fd = accept_line("CONNECT 1025\n");
    guest_open_on(&g, fd);
}

START_TEST(egress_goes_on_after_every_failed_allocation)
{
    long n = 0;
    bool has_failed = true;
    /* libuv aborts without memory */
    ck_assert_int_eq(
        uv_replace_allocator(__libc_malloc, __libc_realloc, __libc_calloc, __libc_free), 0);
    failing_malloc_spares = true; /* the host's thread is what is tried */
    server = server_open(&port);
    guest_start(&g, "127.0.0.1", "{\"allowOut\":[\"127.0.0.1\"]}", false);
    guest_open(&g);
    for (; has_failed; n++) {
        int destination = -1;
        struct adit_buf bytes = dial_bytes(1);
        struct adit_view v = adit_buf_view(&bytes);
        failing_malloc.countdown = n + 1;
        ck_assert_int_eq(send(g.control, v.ptr, v.len, MSG_NOSIGNAL), (ssize_t)v.len);
        bool is_joined = follow(&destination);
        has_failed = failing_malloc.countdown == 0;
        failing_malloc.countdown = 0;
        ck_assert(is_joined || has_failed);
        if (destination >= 0)
            (void)close(destination);
        adit_buf_fini(&bytes);
        come_again();
    }
    ck_assert_int_gt(n, 10);
    guest_stop(&g);
    (void)close(server);
}
END_TEST

SUITE_MAIN("egress_torture", egress_goes_on_after_every_failed_allocation)

#else

int main(void)
{
    suite_skip("test_egress_torture", FAILING_MALLOC_NEEDS);
    return EXIT_SUCCESS;
}

#endif
