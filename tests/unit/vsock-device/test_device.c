/* SPDX-License-Identifier: Apache-2.0 */
/* The whole device in a process of its own; this file is its VMM, its guest's driver, its client.
 */
#include "vsock-device/device.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/log.h"
#include "tests/unit/suite.h"
#include "vsock-device/vhost_user.h"
#include "vsock-device/vsock_packet.h"

#define CID 3
#define PORT 80
#define RX 0
#define TX 1
#define PATIENCE_MS 20000
/* A ring's part of guest memory, and what lies where in it. */
#define PART 0x10000u
#define DESC 0x0u
#define AVAIL 0x1000u
#define USED 0x2000u
#define BUFFERS 0x4000u
#define BUFFER 0x1000u
#define SIZE 8
#define MEMORY (2 * PART)
#define GUEST_ADDR 0x100000ull
#define USER_ADDR 0x7f0000000000ull
#define DESC_WRITE 2

struct desc {
    uint64_t addr;
    uint32_t len;
    uint16_t flags, next;
};

static int vmm_fd, memory_fd, kick_fd[2], call_fd[2];
static uint8_t *memory;
static uint16_t made_available[2], seen_used[2];
static struct sockaddr_un address;
static pid_t device;

/* ---- the device ---- */

static void run_device(int vhost_fd, int listen_fd)
{
    struct device *d;
    struct adit_err err = ADIT_ERR_INIT;
    adit_log_init("device", ADIT_LOG_ERROR, false);
    int rc = device_new(vhost_fd, listen_fd, CID, 1, &d, &err);
    if (rc)
        exit(100);
    rc = device_run(d, &err);
    device_free(d);
    exit(-rc); /* not _exit(): a sanitizer looks for leaks */
}

/* Return: the error's number, 0: the device left in order. */
static int device_end(void)
{
    int status;
    ck_assert_int_eq(waitpid(device, &status, 0), device);
    ck_assert(WIFEXITED(status));
    device = 0;
    return -WEXITSTATUS(status);
}

/* ---- the VMM ---- */

static void tell(uint32_t request, const void *p, uint32_t len, int fd)
{
    uint8_t bytes[VHOST_USER_MESSAGE_MAX];
    const uint32_t head[] = {request, 1, len};
    union {
        struct cmsghdr head;
        char room[CMSG_SPACE(sizeof(int))];
    } control = {.head = {CMSG_LEN(sizeof(int)), SOL_SOCKET, SCM_RIGHTS}};
    struct iovec iov = {bytes, sizeof(head) + len};
    struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1};
    memcpy(bytes, head, sizeof(head));
    if (len > 0)
        memcpy(bytes + sizeof(head), p, len);
    if (fd >= 0) {
        memcpy(CMSG_DATA(&control.head), &fd, sizeof(fd));
        m.msg_control = &control;
        m.msg_controllen = sizeof(control);
    }
    ck_assert_int_eq(sendmsg(vmm_fd, &m, MSG_NOSIGNAL), (ssize_t)iov.iov_len);
}

static void tell_number(uint32_t request, uint64_t n, int fd)
{
    tell(request, &n, sizeof(n), fd);
}

static void tell_ring(uint32_t request, uint32_t ring, uint32_t number)
{
    const uint32_t m[] = {ring, number};
    tell(request, m, sizeof(m), -1);
}

/* The number of the answer. */
static uint64_t answered(void)
{
    uint64_t bytes[4];
    struct pollfd p = {vmm_fd, POLLIN, 0};
    ck_assert_int_eq(poll(&p, 1, PATIENCE_MS), 1);
    ck_assert_int_eq(recv(vmm_fd, bytes, sizeof(bytes), 0), 20);
    uint64_t n;
    memcpy(&n, (uint8_t *)bytes + 12, sizeof(n));
    return n;
}

/* All that was told is done. */
static void settle(void)
{
    tell(VHOST_USER_GET_FEATURES, NULL, 0, -1);
    ck_assert_uint_eq(answered(), VHOST_USER_FEATURES);
}

static void tell_memory(uint64_t len)
{
    const uint64_t table[] = {1, GUEST_ADDR, len, USER_ADDR, 0};
    tell(VHOST_USER_SET_MEM_TABLE, table, sizeof(table), memory_fd);
}

static void start_ring(uint32_t i, uint32_t base)
{
    const uint64_t at = USER_ADDR + i * PART;
    const uint64_t addr[] = {i, at + DESC, at + USED, at + AVAIL, 0};
    tell_ring(VHOST_USER_SET_VRING_NUM, i, SIZE);
    tell_ring(VHOST_USER_SET_VRING_BASE, i, base);
    tell(VHOST_USER_SET_VRING_ADDR, addr, sizeof(addr), -1);
    tell_number(VHOST_USER_SET_VRING_KICK, i, kick_fd[i]);
    tell_number(VHOST_USER_SET_VRING_CALL, i, call_fd[i]);
}

static void start_rings(const uint32_t base[2])
{
    tell_number(VHOST_USER_SET_FEATURES, VHOST_USER_F_PROTOCOL | VRING_F_VERSION_1, -1);
    tell_number(VHOST_USER_SET_PROTOCOL_FEATURES, VHOST_USER_PROTOCOL_FEATURES, -1);
    tell_memory(MEMORY);
    for (uint32_t i = 0; i < 2; i++)
        start_ring(i, base[i]);
    for (uint32_t i = 0; i < 2; i++)
        tell_ring(VHOST_USER_SET_VRING_ENABLE, i, 1);
    settle();
}

static void stop_rings(uint32_t base[2])
{
    for (uint32_t i = 0; i < 2; i++)
        tell_ring(VHOST_USER_SET_VRING_ENABLE, i, 0);
    for (uint32_t i = 0; i < 2; i++) {
        tell_ring(VHOST_USER_GET_VRING_BASE, i, 0);
        base[i] = (uint32_t)(answered() >> 32);
    }
}

/* ---- the driver ---- */

static uint8_t *at(unsigned ring, uint32_t offset)
{
    return memory + ring * PART + offset;
}

static void kick(unsigned ring)
{
    ck_assert_int_eq(eventfd_write(kick_fd[ring], 1), 0);
}

static void offer(unsigned ring, uint16_t i, uint32_t len)
{
    uint16_t *avail = (uint16_t *)at(ring, AVAIL);
    struct desc *d = (struct desc *)at(ring, DESC);
    d[i] = (struct desc){GUEST_ADDR + ring * PART + BUFFERS + i * BUFFER, len,
                         ring == RX ? DESC_WRITE : 0, 0};
    avail[2 + made_available[ring]++ % SIZE] = i;
    __atomic_store_n(&avail[1], made_available[ring], __ATOMIC_RELEASE);
}

static void begin_driver(void)
{
    memset(memory, 0, MEMORY);
    for (unsigned i = 0; i < 2; i++)
        made_available[i] = seen_used[i] = 0;
    for (uint16_t i = 0; i < SIZE; i++)
        offer(RX, i, BUFFER);
}

static uint32_t wait_used(unsigned ring)
{
    uint16_t *used = (uint16_t *)at(ring, USED);
    eventfd_t told;
    while (__atomic_load_n(&used[1], __ATOMIC_ACQUIRE) == seen_used[ring]) {
        struct pollfd p = {call_fd[ring], POLLIN, 0};
        ck_assert_int_eq(poll(&p, 1, PATIENCE_MS), 1);
        ck_assert_int_eq(eventfd_read(call_fd[ring], &told), 0);
    }
    uint32_t head;
    memcpy(&head, at(ring, USED) + 4 + 8 * (seen_used[ring]++ % SIZE), sizeof(head));
    return head;
}

/* The next packet for the guest; its payload in @text, as a string. */
static struct vsock_packet hear(char text[64])
{
    struct vsock_packet p;
    uint32_t i = wait_used(RX);
    const uint8_t *bytes = at(RX, BUFFERS + i * BUFFER);
    vsock_packet_parse(bytes, &p);
    ck_assert_uint_lt(p.len, 64);
    memcpy(text, bytes + VSOCK_PACKET_HEADER_LEN, p.len);
    text[p.len] = '\0';
    offer(RX, (uint16_t)i, BUFFER);
    kick(RX);
    return p;
}

static void say(const struct vsock_packet *to, uint16_t op, const char *text)
{
    struct vsock_packet p = {.src_cid = CID,
                             .dst_cid = VSOCK_CID_HOST,
                             .src_port = to->dst_port,
                             .dst_port = to->src_port,
                             .len = (uint32_t)strlen(text),
                             .type = VSOCK_TYPE_STREAM,
                             .op = op,
                             .buf_alloc = 65536};
    uint16_t i = (uint16_t)(made_available[TX] % SIZE);
    uint8_t *bytes = at(TX, BUFFERS + i * BUFFER);
    vsock_packet_format(&p, bytes);
    memcpy(bytes + VSOCK_PACKET_HEADER_LEN, text, p.len);
    offer(TX, i, VSOCK_PACKET_HEADER_LEN + p.len);
    kick(TX);
    ck_assert_uint_eq(wait_used(TX), i);
}

/* ---- the client ---- */

static int dial(void)
{
    struct timeval patience = {PATIENCE_MS / 1000, 0};
    char line[32];
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)); /* it can */
    ck_assert_int_eq(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    int len = snprintf(line, sizeof(line), "CONNECT %d\n", PORT);
    ck_assert_int_eq(send(fd, line, (size_t)len, MSG_NOSIGNAL), len);
    return fd;
}

static void check_heard(int fd, const char *wanted)
{
    char text[64] = "";
    ssize_t n = recv(fd, text, sizeof(text) - 1, 0);
    ck_assert_int_eq(n, (ssize_t)strlen(wanted));
    ck_assert_str_eq(text, wanted);
}

static int open_channel(struct vsock_packet *request)
{
    char text[64];
    int fd = dial();
    *request = hear(text);
    ck_assert_uint_eq(request->op, VSOCK_OP_REQUEST);
    ck_assert_uint_eq(request->dst_port, PORT);
    ck_assert_uint_eq(request->dst_cid, CID);
    say(request, VSOCK_OP_RESPONSE, "");
    (void)snprintf(text, sizeof(text), "OK %u\n", request->src_port);
    check_heard(fd, text);
    return fd;
}

static void check_channel(int fd, const struct vsock_packet *request)
{
    char text[64];
    ck_assert_int_eq(send(fd, "ping", 4, MSG_NOSIGNAL), 4);
    struct vsock_packet p = hear(text);
    ck_assert_uint_eq(p.op, VSOCK_OP_RW);
    ck_assert_str_eq(text, "ping");
    say(request, VSOCK_OP_RW, "pong");
    check_heard(fd, "pong");
}

/* ---- life ---- */

static void setup(void)
{
    int pair[2], listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    address = (struct sockaddr_un){.sun_family = AF_UNIX};
    (void)snprintf(address.sun_path, sizeof(address.sun_path), "/tmp/adit-device-%d", getpid());
    ck_assert_int_eq(bind(listen_fd, (struct sockaddr *)&address, sizeof(address)), 0);
    ck_assert_int_eq(listen(listen_fd, 16), 0);
    memory_fd = memfd_create("guest", MFD_CLOEXEC);
    ck_assert_int_eq(ftruncate(memory_fd, MEMORY), 0);
    memory = mmap(NULL, MEMORY, PROT_READ | PROT_WRITE, MAP_SHARED, memory_fd, 0);
    ck_assert_ptr_ne(memory, MAP_FAILED);
    for (int i = 0; i < 2; i++) {
        kick_fd[i] = eventfd(0, EFD_CLOEXEC);
        call_fd[i] = eventfd(0, EFD_CLOEXEC);
    }
    device = fork();
    if (device == 0) {
        (void)close(pair[0]); /* or the VMM never leaves */
        run_device(pair[1], listen_fd);
    }
    (void)close(pair[1]);
    (void)close(listen_fd);
    vmm_fd = pair[0];
    begin_driver();
}

static void teardown(void)
{
    (void)close(vmm_fd);
    if (device)
        ck_assert_int_eq(device_end(), 0);
    (void)unlink(address.sun_path);
}

static const uint32_t from_0[2] = {0, 0};

/* ---- tests ---- */

START_TEST(device_carries_bytes_between_client_and_guest)
{
    struct vsock_packet request;
    char text[64];
    start_rings(from_0);
    int fd = open_channel(&request);
    for (int i = 0; i < 3 * SIZE; i++)
        check_channel(fd, &request);
    (void)close(fd);
    ck_assert_uint_eq(hear(text).op, VSOCK_OP_SHUTDOWN);
}
END_TEST

START_TEST(device_takes_requests_from_before_the_driver_runs)
{
    struct vsock_packet request;
    char text[64];
    settle();
    int fd = dial();
    start_rings(from_0);
    request = hear(text);
    ck_assert_uint_eq(request.op, VSOCK_OP_REQUEST);
    say(&request, VSOCK_OP_RESPONSE, "");
    (void)close(fd);
}
END_TEST

START_TEST(device_goes_on_with_its_channels_when_a_stopped_machine_does)
{
    struct vsock_packet request;
    uint32_t base[2];
    start_rings(from_0);
    int fd = open_channel(&request);
    check_channel(fd, &request);
    stop_rings(base);
    ck_assert_uint_eq(base[TX], made_available[TX]);
    ck_assert_int_eq(send(fd, "ping", 4, MSG_NOSIGNAL), 4); /* meanwhile */
    start_rings(base);
    char text[64];
    ck_assert_uint_eq(hear(text).op, VSOCK_OP_RW);
    ck_assert_str_eq(text, "ping");
    check_channel(fd, &request);
    (void)close(fd);
}
END_TEST

START_TEST(device_closes_channels_that_a_new_driver_does_not_know)
{
    struct vsock_packet request;
    uint32_t base[2];
    start_rings(from_0);
    int fd = open_channel(&request);
    stop_rings(base);
    begin_driver();
    start_rings(from_0);
    char byte;
    ck_assert_int_eq(recv(fd, &byte, 1, 0), 0);
    (void)close(fd);
    fd = open_channel(&request);
    check_channel(fd, &request);
    (void)close(fd);
}
END_TEST

START_TEST(device_finds_its_rings_in_memory_that_is_mapped_anew)
{
    struct vsock_packet request;
    start_rings(from_0);
    int fd = open_channel(&request);
    tell_memory(MEMORY);
    settle();
    check_channel(fd, &request);
    (void)close(fd);
}
END_TEST

static bool is_marked(const uint8_t *log, uint64_t offset)
{
    uint64_t page = (GUEST_ADDR + offset) / VHOST_USER_PAGE;
    return log[page / 8] & 1u << page % 8;
}

START_TEST(device_marks_the_pages_that_it_writes)
{
    struct vsock_packet request;
    char text[64];
    const uint64_t log_at[] = {VHOST_USER_PAGE, 0};
    int log_fd = memfd_create("log", MFD_CLOEXEC);
    ck_assert_int_eq(ftruncate(log_fd, VHOST_USER_PAGE), 0);
    uint8_t *log = mmap(NULL, VHOST_USER_PAGE, PROT_READ, MAP_SHARED, log_fd, 0);
    start_rings(from_0);
    int fd = open_channel(&request);
    tell(VHOST_USER_SET_LOG_BASE, log_at, sizeof(log_at), log_fd);
    ck_assert_uint_eq(answered(), 0);
    for (size_t i = 0; i < VHOST_USER_PAGE; i++)
        ck_assert_uint_eq(log[i], 0);
    tell_number(VHOST_USER_SET_FEATURES,
                VHOST_USER_F_PROTOCOL | VRING_F_VERSION_1 | VHOST_USER_F_LOG_ALL, -1);
    settle();
    ck_assert_int_eq(send(fd, "ping", 4, MSG_NOSIGNAL), 4);
    uint16_t i = seen_used[RX] % SIZE;
    ck_assert_uint_eq(hear(text).op, VSOCK_OP_RW);
    ck_assert(is_marked(log, BUFFERS + i * BUFFER));
    ck_assert(is_marked(log, USED));
    ck_assert(!is_marked(log, DESC));
    ck_assert(!is_marked(log, BUFFERS + (i + 1u) % SIZE * BUFFER));
    ck_assert(!is_marked(log, PART + BUFFERS));
    (void)close(fd);
    (void)close(log_fd);
}
END_TEST

START_TEST(device_without_interrupts_serves_a_driver_that_looks_by_itself)
{
    start_rings(from_0);
    tell_number(VHOST_USER_SET_VRING_CALL, RX | 0x100, -1);
    settle();
    int fd = dial();
    uint16_t *used = (uint16_t *)at(RX, USED);
    while (__atomic_load_n(&used[1], __ATOMIC_ACQUIRE) == 0)
        (void)poll(NULL, 0, 1);
    (void)close(fd);
}
END_TEST

START_TEST(device_ends_with_a_guest_that_breaks_a_ring)
{
    start_rings(from_0);
    uint16_t *avail = (uint16_t *)at(TX, AVAIL);
    __atomic_store_n(&avail[1], SIZE + 1, __ATOMIC_RELEASE);
    kick(TX);
    ck_assert_int_eq(device_end(), ADIT_ERR_PROTOCOL);
}
END_TEST

START_TEST(device_ends_with_a_guest_that_sends_no_packet)
{
    start_rings(from_0);
    offer(TX, 0, VSOCK_PACKET_HEADER_LEN - 1);
    kick(TX);
    ck_assert_int_eq(device_end(), ADIT_ERR_PROTOCOL);
}
END_TEST

START_TEST(device_ends_with_memory_that_is_not_there)
{
    tell_memory(MEMORY + 1);
    ck_assert_int_eq(device_end(), ADIT_ERR_PROTOCOL);
}
END_TEST

START_TEST(device_ends_with_rings_that_are_not_in_memory)
{
    tell_number(VHOST_USER_SET_FEATURES, VHOST_USER_F_PROTOCOL | VRING_F_VERSION_1, -1);
    tell_memory(PART);
    start_ring(TX, 0);
    tell_ring(VHOST_USER_SET_VRING_ENABLE, TX, 1);
    ck_assert_int_eq(device_end(), ADIT_ERR_PROTOCOL);
}
END_TEST

START_TEST(device_ends_with_a_log_that_is_too_short)
{
    const uint64_t log_at[] = {1, 0};
    start_rings(from_0);
    tell_number(VHOST_USER_SET_FEATURES,
                VHOST_USER_F_PROTOCOL | VRING_F_VERSION_1 | VHOST_USER_F_LOG_ALL, -1);
    tell(VHOST_USER_SET_LOG_BASE, log_at, sizeof(log_at), memory_fd);
    ck_assert_int_eq(device_end(), ADIT_ERR_PROTOCOL);
}
END_TEST

SUITE_MAIN_WITH("device", .fixtures = {{setup, teardown}},
                TESTS(device_carries_bytes_between_client_and_guest,
                      device_takes_requests_from_before_the_driver_runs,
                      device_goes_on_with_its_channels_when_a_stopped_machine_does,
                      device_closes_channels_that_a_new_driver_does_not_know,
                      device_finds_its_rings_in_memory_that_is_mapped_anew,
                      device_marks_the_pages_that_it_writes,
                      device_without_interrupts_serves_a_driver_that_looks_by_itself,
                      device_ends_with_a_guest_that_breaks_a_ring,
                      device_ends_with_a_guest_that_sends_no_packet,
                      device_ends_with_memory_that_is_not_there,
                      device_ends_with_rings_that_are_not_in_memory,
                      device_ends_with_a_log_that_is_too_short))
