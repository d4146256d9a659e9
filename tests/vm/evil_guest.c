/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A guest that keeps no rule: a program on the bare virtual machine, without a kernel, that drives
 * the vsock device by itself over virtio-mmio. QEMU starts it as it starts a kernel (PVH), in
 * 32-bit mode without paging, so that its pointers are guest addresses. "rdinit=<name>" of the
 * command line names the case; on the serial line it prints "READY" before the evil is done and
 * "DONE" after it.
 *
 * Cases of three kinds: breaks of rings, by which the device ends; packets that a device survives,
 * after which this guest answers every request with "hello" (serve); and connections that it
 * spoils.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef volatile uint32_t reg;

/* ---- the machine ---- */

/* The entry, which QEMU finds by the note; ebx points to what it has to say. */
__asm__(".pushsection .note.Xen, \"a\", @note\n"
        ".long 4, 4, 18\n.asciz \"Xen\"\n.long entry\n.popsection\n"
        ".globl entry\nentry:\n"
        "mov $stack_end, %esp\npush %ebx\ncall evil\n1: hlt\njmp 1b\n"
        ".bss\n.balign 16\n.skip 65536\nstack_end:\n.text\n");

static void out_byte(char c)
{
    __asm__ volatile("outb %0, %1" ::"a"(c), "Nd"((uint16_t)0x3f8));
}

static void say(const char *s)
{
    while (*s)
        out_byte(*s++);
    out_byte('\n');
}

void *memset(void *p, int c, size_t n)
{
    for (uint8_t *at = p; n > 0; n--)
        *at++ = (uint8_t)c;
    return p;
}

void *memcpy(void *to, const void *from, size_t n)
{
    const uint8_t *s = from;
    for (uint8_t *at = to; n > 0; n--)
        *at++ = *s++;
    return to;
}

static void barrier(void)
{
    __sync_synchronize();
}

static void halt(void)
{
    for (;;)
        __asm__ volatile("cli; hlt");
}

/* ---- rings ---- */

#define SIZE 16u
#define BUFFER 4140u
#define MEMORY (64u << 20) /* test_evil_guest.py gives as much */

enum { RX, TX, EVENT, RINGS };
enum { NEXT = 1, WRITE = 2, INDIRECT = 4 };
enum { F_INDIRECT = 1u << 28, F_EVENT_IDX = 1u << 29 };

struct desc {
    uint64_t addr;
    uint32_t len;
    uint16_t flags, next;
};

static struct ring {
    struct desc desc[SIZE] __attribute__((aligned(16)));
    struct {
        uint16_t flags, idx, ring[SIZE], event;
    } avail __attribute__((aligned(4)));
    volatile struct {
        uint16_t flags, idx;
        struct {
            uint32_t id, len;
        } ring[SIZE];
        uint16_t event;
    } used __attribute__((aligned(4)));
    uint16_t seen;
} rings[RINGS] __attribute__((aligned(4096)));

static uint8_t buffers[SIZE][BUFFER];
static struct desc table[SIZE + 1] __attribute__((aligned(16)));
static uint8_t *mmio;

static reg *at(unsigned offset)
{
    return (reg *)(mmio + offset);
}

static uint32_t address(const volatile void *p)
{
    return (uint32_t)(uintptr_t)p;
}

static void find_device(void)
{
    for (uint32_t base = 0xfeb00000; base < 0xfeb00000 + 32 * 0x200; base += 0x200) {
        mmio = (uint8_t *)(uintptr_t)base;
        if (*at(0) == 0x74726976 && *at(8) == 19)
            return;
    }
    say("NO DEVICE");
    halt();
}

static void set_address(unsigned offset, uint64_t value)
{
    *at(offset) = (uint32_t)value;
    *at(offset + 4) = (uint32_t)(value >> 32);
}

static void negotiate(uint32_t features)
{
    *at(0x70) = 0;
    *at(0x70) = 1 | 2;
    *at(0x24) = 0;
    *at(0x20) = features;
    *at(0x24) = 1;
    *at(0x20) = 1; /* VERSION_1 */
    *at(0x70) = 1 | 2 | 8;
}

static void add_ring(unsigned i, uint64_t used)
{
    *at(0x30) = i;
    *at(0x38) = SIZE;
    set_address(0x80, address(rings[i].desc));
    set_address(0x90, address(&rings[i].avail));
    set_address(0xa0, used);
    *at(0x44) = 1;
}

static void start(uint32_t features)
{
    negotiate(features);
    for (unsigned i = 0; i < RINGS; i++)
        add_ring(i, address(&rings[i].used));
    *at(0x70) = 1 | 2 | 8 | 4;
}

static void kick(unsigned ring)
{
    barrier();
    *at(0x50) = ring;
}

static void offer(unsigned ring, uint16_t head)
{
    struct ring *r = &rings[ring];
    r->avail.ring[r->avail.idx % SIZE] = head;
    barrier();
    r->avail.idx++;
}

static void put(unsigned ring, unsigned i, uint64_t addr, uint32_t len, uint16_t flags,
                uint16_t next)
{
    rings[ring].desc[i] = (struct desc){addr, len, flags, next};
}

/* ---- packets ---- */

enum { REQUEST = 1, RESPONSE, RST, SHUTDOWN, RW, CREDIT_UPDATE, CREDIT_REQUEST };

struct packet {
    uint64_t src_cid, dst_cid;
    uint32_t src_port, dst_port;
    uint32_t len;
    uint16_t type, op;
    uint32_t flags;
    uint32_t buf_alloc, fwd_cnt;
    uint8_t data[4096];
} __attribute__((packed));

#define HEADER 44u

static struct packet out, last; /* last: the latest that came */
static unsigned resets;

static void offer_buffers(uint32_t len)
{
    for (uint16_t i = 0; i < SIZE; i++) {
        put(RX, i, address(buffers[i]), len, WRITE, 0);
        offer(RX, i);
    }
    kick(RX);
}

/* Take what came, and offer its buffer again. */
static bool receive(void)
{
    struct ring *r = &rings[RX];
    if (r->used.idx == r->seen)
        return false;
    uint16_t i = (uint16_t)r->used.ring[r->seen++ % SIZE].id;
    memcpy(&last, buffers[i], HEADER);
    resets += last.op == RST;
    offer(RX, i);
    kick(RX);
    return true;
}

static void await_sent(void)
{
    while (rings[TX].used.idx != rings[TX].avail.idx)
        (void)receive();
}

static void send_bytes(uint32_t len)
{
    put(TX, 0, address(&out), len, 0, 0);
    offer(TX, 0);
    kick(TX);
    await_sent();
}

static void send(void)
{
    send_bytes(HEADER + out.len);
}

/* A packet on the connection of the packet that came last. */
static void answer(uint16_t op, uint32_t len)
{
    out.src_cid = last.dst_cid;
    out.dst_cid = last.src_cid;
    out.src_port = last.dst_port;
    out.dst_port = last.src_port;
    out.type = 1;
    out.op = op;
    out.len = len;
    out.flags = 0;
    out.buf_alloc = 1 << 20;
    out.fwd_cnt = 0;
}

static void send_op(uint16_t op)
{
    answer(op, 0);
    send();
}

static void await_op(uint16_t op)
{
    do
        while (!receive())
            ;
    while (last.op != op);
}

/* A guest again that is as it should be. */
static void serve(void)
{
    say("DONE");
    for (;;) {
        while (!receive())
            ;
        if (last.op == REQUEST) {
            send_op(RESPONSE);
            answer(RW, 6);
            memcpy(out.data, "hello\n", 6);
            send();
        } else if (last.op == SHUTDOWN) {
            send_op(RST);
        }
    }
}

/* ---- rings that are broken: the device ends ---- */

static void offer_evil(uint16_t head)
{
    say("READY");
    offer(TX, head);
    kick(TX);
    say("DONE");
    halt();
}

static void loop(void)
{
    put(TX, 0, address(&out), 1, NEXT, 1);
    put(TX, 1, address(&out), 1, NEXT, 0);
    offer_evil(0);
}

static void beyond(void)
{
    put(TX, 0, address(&out), 1, NEXT, 0xffff);
    offer_evil(0);
}

static void head_beyond(void)
{
    offer_evil(SIZE);
}

static void offer_table(uint32_t len, uint16_t flags)
{
    put(TX, 0, address(table), len, INDIRECT | flags, 1);
    offer_evil(0);
}

static void indirect_long(void)
{
    for (unsigned i = 0; i <= SIZE; i++)
        table[i] = (struct desc){address(&out), 1, i < SIZE ? NEXT : 0, (uint16_t)(i + 1)};
    offer_table(sizeof(table), 0);
}

static void indirect_nested(void)
{
    table[0] = (struct desc){address(table), sizeof(struct desc), INDIRECT, 0};
    offer_table(sizeof(struct desc), 0);
}

static void indirect_outside(void)
{
    put(TX, 0, MEMORY - 16, 32, INDIRECT, 0);
    offer_evil(0);
}

static void empty(void)
{
    put(TX, 0, address(&out), 0, 0, 0);
    offer_evil(0);
}

static void outside(void)
{
    put(TX, 0, MEMORY - 1, 2, 0, 0);
    offer_evil(0);
}

static void wrapping(void)
{
    put(TX, 0, UINT64_MAX, 0xffffffff, 0, 0);
    offer_evil(0);
}

static void of_the_device(void)
{
    put(TX, 0, address(mmio), 44, 0, 0);
    offer_evil(0);
}

static void mixed(void)
{
    put(TX, 0, address(&out), HEADER, NEXT, 1);
    put(TX, 1, address(&out), HEADER, WRITE, 0);
    offer_evil(0);
}

static void jump(void)
{
    rings[TX].avail.idx += SIZE;
    offer_evil(0);
}

static void short_packet(void)
{
    put(TX, 0, address(&out), HEADER - 1, 0, 0);
    offer_evil(0);
}

static void long_packet(void)
{
    answer(RW, 0xffffffff);
    put(TX, 0, address(&out), sizeof(out), 0, 0);
    offer_evil(0);
}

static void no_room(void)
{
    offer_buffers(HEADER);
    /* A packet of nobody, so that there is something to put into them. */
    answer(REQUEST, 0);
    out.src_cid = 3;
    out.dst_cid = 2;
    put(TX, 0, address(&out), HEADER, 0, 0);
    offer_evil(0);
}

/* While the device walks, what it walks over changes. It may or may not be seen. */
static void flipping(void)
{
    volatile struct desc *d = rings[TX].desc;
    put(TX, 0, address(&out), HEADER, 0, 0);
    say("READY");
    for (unsigned i = 0; i < 20000; i++) {
        offer(TX, 0);
        kick(TX);
        for (unsigned k = 0; k < 20; k++) {
            d->len = 0xffffffff;
            d->addr = UINT64_MAX - 3;
            d->flags = NEXT | INDIRECT;
            d->flags = 0;
            d->addr = address(&out);
            d->len = HEADER;
        }
    }
    say("DONE");
    halt();
}

/* ---- packets that a device survives ---- */

static void stray(uint16_t op, uint16_t type)
{
    answer(op, 0);
    out.src_cid = 3;
    out.dst_cid = 2;
    out.type = type;
    send();
}

static void foreign(void)
{
    say("READY");
    offer_buffers(BUFFER);
    for (uint64_t cid = 0; cid < 200; cid++) {
        answer(REQUEST, 0);
        out.src_cid = cid == 3 ? UINT64_MAX : cid;
        out.dst_cid = 2;
        send();
        answer(REQUEST, 0);
        out.src_cid = 3;
        out.dst_cid = cid == 2 ? UINT64_MAX : cid;
        send();
    }
    if (resets)
        say("ANSWERED");
    serve();
}

static void unknown(void)
{
    say("READY");
    offer_buffers(BUFFER);
    for (uint16_t i = 0; i < 50; i++) {
        stray(i == RST ? 0xffff : i, 1);
        stray(REQUEST, i == 1 ? 0xffff : i);
    }
    while (resets < 100)
        (void)receive();
    serve();
}

static void flood(void)
{
    say("READY");
    for (unsigned i = 0; i < 30000; i++) /* nobody reads the answers */
        stray(REQUEST, 1);
    offer_buffers(BUFFER);
    serve();
}

static void kicks(void)
{
    say("READY");
    offer_buffers(BUFFER);
    for (unsigned i = 0; i < 50000; i++)
        kick(i % 3);
    serve();
}

static void restarts(void)
{
    say("READY");
    for (unsigned i = 0; i < 50; i++) {
        *at(0x70) = 0; /* a ring in use that is wiped is a broken one */
        memset(rings, 0, sizeof(rings));
        start(i % 2 ? F_INDIRECT | F_EVENT_IDX : 0);
        offer_buffers(BUFFER);
        stray(REQUEST, 1);
    }
    serve();
}

static void never_reading(void)
{
    say("READY");
    for (unsigned i = 0; i < 100; i++)
        stray(CREDIT_REQUEST, 1);
    say("DONE");
    halt();
}

/* ---- connections that are spoilt: each time the next one is a good one ---- */

static void await_request(void)
{
    say("READY");
    offer_buffers(BUFFER);
    await_op(REQUEST);
}

static void data_first(void)
{
    await_request();
    answer(RW, 100);
    send();
    serve();
}

static void fwd_beyond(void)
{
    await_request();
    send_op(RESPONSE);
    answer(CREDIT_UPDATE, 0);
    out.fwd_cnt = 1000;
    send();
    serve();
}

static void over_credit(void)
{
    await_request();
    send_op(RESPONSE);
    for (unsigned i = 0; i < 1000; i++) { /* the host does not read */
        answer(RW, 4096);
        send();
    }
    serve();
}

static void data_after_end(void)
{
    await_request();
    send_op(RESPONSE);
    answer(SHUTDOWN, 0);
    out.flags = 0xfffffffe; /* will not send, and what nobody knows */
    send();
    answer(RW, 100);
    send();
    serve();
}

static void no_credit(void)
{
    await_request();
    send_op(RESPONSE);
    answer(CREDIT_UPDATE, 0);
    out.buf_alloc = 0;
    send();
    serve();
}

static void resets_everywhere(void)
{
    await_request();
    for (unsigned i = 0; i < 100; i++)
        send_op(RST);
    say("REFUSED");
    await_op(REQUEST);
    send_op(RESPONSE);
    for (unsigned i = 0; i < 100; i++)
        send_op(RST);
    serve();
}

/* ---- which ---- */

static void code_as_used_ring(void)
{
    negotiate(0);
    add_ring(RX, address(&rings[RX].used));
    add_ring(EVENT, address(&rings[EVENT].used));
    add_ring(TX, address(say) & ~3u);
    *at(0x70) = 1 | 2 | 8 | 4;
    say("READY");
    put(TX, 0, address(&out), HEADER, 0, 0);
    for (unsigned i = 0; i < SIZE; i++)
        offer(TX, 0);
    kick(TX);
    for (volatile unsigned i = 0; i < 1000; i++)
        say("DONE"); /* until it is overwritten */
    halt();
}

static void ring_outside(void)
{
    negotiate(0);
    for (unsigned i = 0; i < RINGS; i++)
        add_ring(i, MEMORY - 8);
    say("READY");
    *at(0x70) = 1 | 2 | 8 | 4;
    kick(TX);
    say("DONE");
    halt();
}

static void not_negotiated(void)
{
    memset(rings, 0, sizeof(rings));
    start(0);
    offer_table(sizeof(struct desc), 0);
}

static void table_with_next(void)
{
    offer_table(sizeof(struct desc), NEXT);
}

static const struct {
    const char *name;
    void (*run)(void);
} cases[] = {
    {"loop", loop},
    {"beyond", beyond},
    {"head_beyond", head_beyond},
    {"indirect_long", indirect_long},
    {"indirect_nested", indirect_nested},
    {"indirect_outside", indirect_outside},
    {"indirect_not_negotiated", not_negotiated},
    {"indirect_with_next", table_with_next},
    {"empty", empty},
    {"outside", outside},
    {"wrapping", wrapping},
    {"of_the_device", of_the_device},
    {"mixed", mixed},
    {"jump", jump},
    {"short_packet", short_packet},
    {"long_packet", long_packet},
    {"no_room", no_room},
    {"flipping", flipping},
    {"code_as_used_ring", code_as_used_ring},
    {"ring_outside", ring_outside},
    {"foreign", foreign},
    {"unknown", unknown},
    {"flood", flood},
    {"kicks", kicks},
    {"restarts", restarts},
    {"never_reading", never_reading},
    {"data_first", data_first},
    {"fwd_beyond", fwd_beyond},
    {"over_credit", over_credit},
    {"data_after_end", data_after_end},
    {"no_credit", no_credit},
    {"resets_everywhere", resets_everywhere},
};

/* Whether the command line has "rdinit=<name>" as a word of its own. */
static bool is_named(const char *line, const char *name)
{
    static const char key[] = "rdinit=";
    for (; *line; line++) {
        const char *a = line, *b = key;
        while (*b && *a == *b)
            a++, b++;
        for (b = *b ? "?" : name; *b && *a == *b;)
            a++, b++;
        if (!*b && (*a == ' ' || *a == '\0'))
            return true;
    }
    return false;
}

void evil(const uint32_t *start_info);
void evil(const uint32_t *start_info)
{
    const char *line = (const char *)(uintptr_t)start_info[6]; /* hvm_start_info.cmdline_paddr */
    find_device();
    start(F_INDIRECT | F_EVENT_IDX);
    for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        if (is_named(line, cases[i].name))
            cases[i].run();
    say("NO CASE");
    halt();
}
