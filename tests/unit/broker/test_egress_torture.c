/* SPDX-License-Identifier: Apache-2.0 */
/* Every allocation between a guest's dial and its connection fails once; the host goes on. */
#include "../failing_malloc.h"

#include "egress_tls.h"

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
static bool carries_word(int program, int destination)
{
    char word[4];
    (void)send(program, "word", sizeof(word), MSG_NOSIGNAL); /* seen by what comes */
    wait_readable(destination);
    return read(destination, word, sizeof(word)) == sizeof(word);
}

/* ---- TLS on both sides ---- */

#define GET "GET / HTTP/1.1\r\nHost: api.test\r\n"

static struct cert_pair root, pair;
static char authority[EGRESS_AUTHORITY_CAP];

/* Return: whether it may go on. */
static bool has_more(SSL *ssl, int result)
{
    int reason = SSL_get_error(ssl, result);
    return result > 0 || reason == SSL_ERROR_WANT_READ;
}

/* What either end can do now. Return: false once one of them has failed or ended. */
static bool step(SSL *program, SSL *at_server, struct adit_buf *seen, bool *has_asked)
{
    char bytes[256];
    ERR_clear_error();
    if (!has_more(program, SSL_do_handshake(program)) ||
        !has_more(at_server, SSL_do_handshake(at_server)))
        return false;
    if (SSL_is_init_finished(program) && !*has_asked) {
        *has_asked = true;
        tls_send(program, GET "\r\n");
    }
    int n = SSL_is_init_finished(at_server) ? SSL_read(at_server, bytes, sizeof(bytes)) : 0;
    if (n > 0)
        ck_assert_int_eq(adit_buf_append(seen, bytes, (size_t)n), ADIT_OK);
    return n > 0 || !SSL_is_init_finished(at_server) || has_more(at_server, n);
}

/* Return: whether the request gets through, and then it has its header. */
static bool carries_secret(int program_fd, int destination)
{
    static const char expected[] = GET "X-Key: s3cret\r\n\r\n";
    SSL *program = tls_program(program_fd, "api.test", authority);
    SSL *at_server = tls_server(destination, &pair);
    struct pollfd p[] = {{.fd = program_fd, .events = POLLIN},
                         {.fd = destination, .events = POLLIN}};
    struct adit_buf seen;
    bool has_asked = false, goes_on = true;
    adit_buf_init(&seen, sizeof(expected));
    SSL_set_accept_state(at_server);
    for (int i = 0; i < 2; i++)
        ck_assert_int_eq(fcntl(p[i].fd, F_SETFL, fcntl(p[i].fd, F_GETFL) | O_NONBLOCK), 0);
    while (goes_on && seen.len < sizeof(expected) - 1) {
        ck_assert_msg(poll(p, 2, GUEST_WAIT_MS) > 0, "nothing comes");
        goes_on = step(program, at_server, &seen, &has_asked);
    }
    if (goes_on)
        ck_assert(adit_view_eq_str(adit_buf_view(&seen), expected));
    adit_buf_fini(&seen);
    SSL_free(program);
    SSL_free(at_server);
    return goes_on;
}

/* ---- a dial ---- */

/* Answer channels until the dial is over. Return: whether it was joined. */
static bool follow(bool (*carries)(int program, int destination), int *destination)
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

static void begin(struct tls_context *trust, const char *network)
{
    /* libuv aborts without memory */
    ck_assert_int_eq(
        uv_replace_allocator(__libc_malloc, __libc_realloc, __libc_calloc, __libc_free), 0);
    failing_malloc_spares = true; /* the host's thread is what is tried */
    server = server_open(&port);
    g = (struct guest){.take_trust = trust, .authority = trust ? authority : NULL};
    guest_start(&g, "127.0.0.1", network, false);
    guest_open(&g);
}

/* Return: whether the @n-th allocation was reached. */
static bool dial_once(bool (*carries)(int program, int destination), long n)
{
    int destination = -1;
    struct adit_buf bytes = dial_bytes(1);
    struct adit_view v = adit_buf_view(&bytes);
    failing_malloc.countdown = n;
    ck_assert_int_eq(send(g.control, v.ptr, v.len, MSG_NOSIGNAL), (ssize_t)v.len);
    bool is_joined = follow(carries, &destination);
    bool has_failed = failing_malloc.countdown == 0;
    failing_malloc.countdown = 0;
    ck_assert(is_joined || has_failed);
    if (destination >= 0)
        (void)close(destination);
    adit_buf_fini(&bytes);
    come_again();
    return has_failed;
}

static void end(void)
{
    guest_stop(&g);
    (void)close(server);
}

START_TEST(egress_goes_on_after_every_failed_allocation)
{
    long n = 1;
    begin(NULL, "{\"allowOut\":[\"127.0.0.1\"]}");
    while (dial_once(carries_word, n))
        n++;
    ck_assert_int_gt(n, 10);
    end();
}
END_TEST

/* OpenSSL makes thousands: all of the first thirty fail, and ever fewer of the others. Each time
 * the sandbox's policy is new, and so is the certificate. */
START_TEST(egress_goes_on_when_tls_finds_no_memory)
{
    long n = 1, first = 0;
    root = tls_pair(NULL, "");
    pair = tls_pair(&root, "api.test");
    ck_assert_int_eq(egress_authority_make(authority, NULL), ADIT_OK);
    begin(tls_trust(&root), TLS_RULES);
    while (dial_once(carries_secret, n)) {
        ck_assert_int_eq(egress_update(g.sandbox, policy_of(&g, TLS_RULES), NULL), ADIT_OK);
        first = n == 1 ? failing_malloc.live : first;
        n += n < 30 ? 1 : n / 6;
    }
    ck_assert_int_gt(n, 5000);
    /* one connection is some three hundred blocks */
    ck_assert_int_lt(labs(failing_malloc.live - first), 1500);
    end();
    cert_pair_fini(&pair);
    cert_pair_fini(&root);
}
END_TEST

SUITE_MAIN("egress_torture", egress_goes_on_after_every_failed_allocation,
           egress_goes_on_when_tls_finds_no_memory)

#else

int main(void)
{
    suite_skip("test_egress_torture", FAILING_MALLOC_NEEDS);
    return EXIT_SUCCESS;
}

#endif
