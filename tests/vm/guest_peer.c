/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The other end of the tests of vsock-device: /init of a small guest, with a service on each of a
 * row of vsock ports. It prints "READY" on the console when all of them listen.
 *
 * A service gets a connection and a thread, and does one thing:
 *   echo     sends back what comes
 *   sink     reads to the end, then says "<bytes> <crc32>\n"
 *   source   reads "<bytes>\n", sends as many pseudo-random bytes, then their crc32 (4 bytes, LE)
 *   talker   sends "bye\n" and its end, then reads to the end and prints how much
 *   stuck    never reads
 *   slow     reads 4 KiB every 5 ms, then says as sink does
 *   fickle   reads one byte, closes
 *   rebind   reads "<times>\n", takes the driver off its device and back that often
 *   caller   reads "<port>\n", connects to that port of the host and says the error's name
 *   order    reads "reboot\n" or "panic\n" and does it
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/vm_sockets.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
#include <zlib.h>

#define CHUNK 65536
#define STACK (256 * 1024)
#define BACKLOG 1024

/* ---- bytes ---- */

static int send_all(int fd, const void *p, size_t len)
{
    for (const char *from = p; len > 0;) {
        ssize_t n = write(fd, from, len);
        if (n <= 0)
            return -1;
        from += n;
        len -= (size_t)n;
    }
    return 0;
}

/* "<number>\n"; 0 when it is none. */
static unsigned long long read_number(int fd)
{
    char line[32];
    size_t len = 0;
    while (len < sizeof(line) - 1 && read(fd, line + len, 1) == 1 && line[len] != '\n')
        len++;
    line[len] = '\0';
    return strtoull(line, NULL, 10);
}

static void nap_ms(long ms)
{
    struct timespec t = {ms / 1000, ms % 1000 * 1000000};
    nanosleep(&t, NULL);
}

/* ---- services ---- */

static void echo(int fd)
{
    static __thread char buf[CHUNK];
    ssize_t n;
    while ((n = read(fd, buf, sizeof(buf))) > 0)
        if (send_all(fd, buf, (size_t)n))
            return;
}

static void swallow(int fd, size_t piece, long pause_ms)
{
    char buf[CHUNK], line[64];
    unsigned long crc = 0;
    unsigned long long sum = 0;
    ssize_t n;
    while ((n = read(fd, buf, piece)) > 0) {
        crc = crc32(crc, (const unsigned char *)buf, (unsigned)n);
        sum += (unsigned long long)n;
        if (pause_ms)
            nap_ms(pause_ms);
    }
    int len = snprintf(line, sizeof(line), "%llu %08lx\n", sum, crc);
    (void)send_all(fd, line, (size_t)len);
}

static void sink(int fd)
{
    swallow(fd, CHUNK, 0);
}

static void slow(int fd)
{
    swallow(fd, 4096, 5);
}

static void source(int fd)
{
    uint64_t state = (uint64_t)fd * 0x9e3779b97f4a7c15u + 1, words[CHUNK / 8];
    unsigned long crc = 0;
    for (unsigned long long left = read_number(fd); left > 0;) {
        size_t len = left < CHUNK ? (size_t)left : CHUNK;
        for (size_t i = 0; i < CHUNK / 8; i++) {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            words[i] = state;
        }
        crc = crc32(crc, (const unsigned char *)words, (unsigned)len);
        if (send_all(fd, words, len))
            return;
        left -= len;
    }
    uint32_t end = (uint32_t)crc;
    (void)send_all(fd, &end, sizeof(end));
}

static void talker(int fd)
{
    char buf[CHUNK];
    unsigned long long sum = 0;
    ssize_t n;
    (void)send_all(fd, "bye\n", 4);
    (void)shutdown(fd, SHUT_WR);
    while ((n = read(fd, buf, sizeof(buf))) > 0)
        sum += (unsigned long long)n;
    printf("TALKER %llu\n", sum);
}

static void stuck(int fd)
{
    struct timespec forever = {1 << 30, 0};
    (void)fd;
    nanosleep(&forever, NULL);
}

static void fickle(int fd)
{
    char byte;
    (void)!read(fd, &byte, 1);
}

static int write_file(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    int rc = fd < 0 || write(fd, text, strlen(text)) < 0 ? -1 : 0;
    if (fd >= 0)
        close(fd);
    return rc;
}

#define DRIVER "/sys/bus/virtio/drivers/vmw_vsock_virtio_transport"

/* The device's name is that of the link among the driver's files: virtio0, virtio1, … */
static void rebind(int fd)
{
    static char name[32];
    unsigned long long times = read_number(fd);
    close(fd);
    for (int i = 0; !name[0] && i < 16; i++) {
        char path[128];
        struct stat st;
        snprintf(path, sizeof(path), DRIVER "/virtio%d", i);
        if (lstat(path, &st) == 0)
            snprintf(name, sizeof(name), "virtio%d", i);
    }
    for (; times > 0; times--) {
        if (write_file(DRIVER "/unbind", name) || write_file(DRIVER "/bind", name))
            printf("REBIND FAILED %s\n", strerror(errno));
    }
    printf("REBOUND\n");
}

static void caller(int fd)
{
    struct sockaddr_vm host = {
        .svm_family = AF_VSOCK, .svm_cid = VMADDR_CID_HOST, .svm_port = (unsigned)read_number(fd)};
    int out = socket(AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int rc = connect(out, (struct sockaddr *)&host, sizeof(host));
    const char *word = rc ? strerrorname_np(errno) : "CONNECTED";
    (void)send_all(fd, word, strlen(word));
    close(out);
}

static void order(int fd)
{
    char word[16] = "";
    if (read(fd, word, sizeof(word) - 1) > 0 && strncmp(word, "panic", 5) == 0)
        (void)write_file("/proc/sysrq-trigger", "c");
    reboot(RB_AUTOBOOT);
}

/* ---- ports ---- */

static const struct service {
    unsigned port;
    void (*serve)(int fd);
} services[] = {
    {5000, echo}, {5001, sink},   {5002, source}, {5003, talker}, {5004, stuck},
    {5005, slow}, {5006, fickle}, {5007, rebind}, {5008, caller}, {5009, order},
};

struct work {
    const struct service *service;
    int fd;
};

static pthread_attr_t small;

static void *serve_one(void *p)
{
    struct work w = *(struct work *)p;
    free(p);
    w.service->serve(w.fd);
    close(w.fd);
    return NULL;
}

static void *accept_all(void *p)
{
    struct work *listener = p;
    for (;;) {
        pthread_t thread;
        struct work *w = malloc(sizeof(*w));
        *w = (struct work){listener->service, accept4(listener->fd, NULL, NULL, SOCK_CLOEXEC)};
        if (w->fd >= 0 && pthread_create(&thread, &small, serve_one, w) == 0)
            continue;
        printf("ACCEPT %s\n", strerror(errno));
        if (w->fd >= 0)
            close(w->fd);
        free(w);
        nap_ms(100);
    }
    return NULL;
}

static void listen_to(const struct service *s)
{
    struct sockaddr_vm a = {.svm_family = AF_VSOCK, .svm_cid = VMADDR_CID_ANY, .svm_port = s->port};
    pthread_t thread;
    struct work *w = malloc(sizeof(*w));
    *w = (struct work){s, socket(AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC, 0)};
    if (w->fd < 0 || bind(w->fd, (struct sockaddr *)&a, sizeof(a)) || listen(w->fd, BACKLOG) ||
        pthread_create(&thread, &small, accept_all, w))
        printf("FAILED port %u: %s\n", s->port, strerror(errno));
}

/* ---- init ---- */

static void load_modules(void)
{
    char name[128], path[192];
    FILE *order_file = fopen("/modules/order", "re");
    while (order_file && fgets(name, sizeof(name), order_file)) {
        name[strcspn(name, "\n")] = '\0';
        snprintf(path, sizeof(path), "/modules/%s", name);
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd < 0 || syscall(SYS_finit_module, fd, "", 0))
            printf("MODULE %s: %s\n", name, strerror(errno));
        close(fd);
    }
    if (order_file)
        fclose(order_file);
}

/* The images' root has no device nodes. */
static void open_console(void)
{
    mkdir("/dev", 0755);
    mount("dev", "/dev", "devtmpfs", 0, "");
    int fd = open("/dev/console", O_RDWR);
    for (int i = 0; i < 3; i++)
        dup2(fd, i);
    setlinebuf(stdout);
}

int main(void)
{
    const struct rlimit files = {4096, 4096};
    open_console();
    signal(SIGPIPE, SIG_IGN);
    setrlimit(RLIMIT_NOFILE, &files);
    mkdir("/sys", 0755);
    mkdir("/proc", 0755);
    mount("sys", "/sys", "sysfs", 0, "");
    mount("proc", "/proc", "proc", 0, "");
    load_modules();
    pthread_attr_init(&small);
    pthread_attr_setstacksize(&small, STACK);
    pthread_attr_setdetachstate(&small, PTHREAD_CREATE_DETACHED);
    for (size_t i = 0; i < sizeof(services) / sizeof(services[0]); i++)
        listen_to(&services[i]);
    printf("READY\n");
    for (;;)
        pause();
}
