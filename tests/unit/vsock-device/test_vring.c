/* SPDX-License-Identifier: Apache-2.0 */
/* Split rings: what a driver may offer, every way in which it may break them, and notifications. */
#include "vsock-device/vring.h"

#include <pthread.h>
#include <stdint.h>

#include "tests/unit/suite.h"
#include "tests/unit/vsock-device/guest_ring.h"

#define SIZE 8u
#define ALL_FEATURES (VRING_F_INDIRECT_DESC | VRING_F_EVENT_IDX)

static struct guest_ring g;
static struct vring_chain chain;

static void start(uint64_t features, enum vring_direction direction)
{
    guest_init(&g, SIZE, features, direction);
    ck_assert_int_eq(guest_enable(&g, NULL), ADIT_OK);
}

static void expect_pop(uint16_t head, unsigned cnt, size_t len)
{
    struct adit_err err = ADIT_ERR_INIT;
    ck_assert_msg(vring_pop(&g.ring, &chain, &err) == 1, "%s", err.msg);
    ck_assert_uint_eq(chain.head, head);
    ck_assert_uint_eq(chain.cnt, cnt);
    ck_assert_uint_eq(chain.len, len);
}

static void expect_breach(const char *why)
{
    struct adit_err err = ADIT_ERR_INIT;
    ck_assert_int_eq(vring_pop(&g.ring, &chain, &err), ADIT_ERR_PROTOCOL);
    ck_assert_str_eq(err.msg, why);
}

/* ---- set-up -------------------------------------------------------------------------------- */

static const struct {
    const char *why;
    uint32_t size;
    uint64_t desc, avail, used;
    uint64_t features;
} bad_setups[] = {
    {"a ring of 0 entries is not a power of two up to 1024", 0, 0, 0, 0, VRING_F_VERSION_1},
    {"a ring of 3 entries is not a power of two up to 1024", 3, 0, 0, 0, VRING_F_VERSION_1},
    {"a ring of 2048 entries is not a power of two up to 1024", 2048, 0, 0, 0, VRING_F_VERSION_1},
    {"a ring without VIRTIO_F_VERSION_1", 8, 0, 0, 0, 0},
    {"the descriptor table at 0x8 is misaligned", 8, 8, 0, 0, VRING_F_VERSION_1},
    {"the available ring at 0x1 is misaligned", 8, 0, 1, 0, VRING_F_VERSION_1},
    {"the used ring at 0x2 is misaligned", 8, 0, 0, 2, VRING_F_VERSION_1},
    /* a part of the table, of the entries, of the event index only */
    {"the descriptor table at 0xff90 is not within memory", 8, GUEST_MEM - 7 * 16, 0, 0,
     VRING_F_VERSION_1},
    {"the available ring at 0xffec is not within memory", 8, 0, GUEST_MEM - 20, 0,
     VRING_F_VERSION_1},
    {"the used ring at 0xffbc is not within memory", 8, 0, 0, GUEST_MEM - 68, VRING_F_VERSION_1},
    {"the used ring at 0xfffffffffffffffc is not within memory", 8, 0, 0, UINT64_MAX - 3,
     VRING_F_VERSION_1},
};

START_TEST(vring_refuses_a_setup)
{
    struct adit_err err = ADIT_ERR_INIT;
    guest_init(&g, SIZE, 0, VRING_FROM_GUEST);
    /* The front end's addresses are made to be those of the table above. */
    g.table.regions[0].user_addr = 0;
    g.setup.size = bad_setups[_i].size;
    g.setup.desc = bad_setups[_i].desc;
    g.setup.avail = bad_setups[_i].avail;
    g.setup.used = bad_setups[_i].used;
    g.setup.features = bad_setups[_i].features;
    ck_assert_int_eq(guest_enable(&g, &err), ADIT_ERR_PROTOCOL);
    ck_assert_str_eq(err.msg, bad_setups[_i].why);
    ck_assert(!vring_is_enabled(&g.ring));
    guest_fini(&g);
}
END_TEST

START_TEST(vring_fits_the_end_of_memory_to_the_byte)
{
    guest_init(&g, SIZE, 0, VRING_FROM_GUEST);
    g.setup.desc = GUEST_USER + GUEST_MEM - SIZE * 16;
    ck_assert_int_eq(guest_enable(&g, NULL), ADIT_OK);
    (void)vring_disable(&g.ring);
    g.setup.desc = GUEST_USER;
    g.setup.avail = GUEST_USER + GUEST_MEM - (6 + SIZE * 2);
    ck_assert_int_eq(guest_enable(&g, NULL), ADIT_OK);
    (void)vring_disable(&g.ring);
    g.setup.avail = GUEST_USER + GUEST_AVAIL;
    g.setup.used = GUEST_USER + GUEST_MEM - (8 + SIZE * 8);
    ck_assert_int_eq(guest_enable(&g, NULL), ADIT_OK);
    guest_fini(&g);
}
END_TEST

START_TEST(vring_in_use_is_not_set_up_again)
{
    struct adit_err err = ADIT_ERR_INIT;
    start(0, VRING_FROM_GUEST);
    g.setup.size = VRING_SIZE_MAX;
    ck_assert_int_eq(guest_enable(&g, &err), ADIT_ERR_PROTOCOL);
    ck_assert_str_eq(err.msg, "a ring in use is set up again");
    ck_assert_uint_eq(g.ring.setup.size, SIZE);
    guest_fini(&g);
}
END_TEST

START_TEST(vring_that_is_not_enabled_does_nothing)
{
    struct vring off = {0};
    ck_assert_int_eq(vring_pop(&off, &chain, NULL), 0);
    ck_assert(!vring_await(&off));
    ck_assert(!vring_should_notify(&off));
    vring_suppress_kicks(&off);
    ck_assert_int_eq(vring_remap(&off, NULL), ADIT_OK);
    ck_assert_uint_eq(vring_disable(&off), 0);
}
END_TEST

START_TEST(vring_goes_on_where_it_was_stopped)
{
    start(0, VRING_FROM_GUEST);
    guest_put(&g, 0, GUEST_FREE, 10, 0, 0);
    guest_offer(&g, 0);
    guest_offer(&g, 0);
    expect_pop(0, 1, 10);
    vring_push(&g.ring, &chain, 0);
    g.setup.base = vring_disable(&g.ring);
    ck_assert_uint_eq(g.setup.base, 1);
    ck_assert_int_eq(guest_enable(&g, NULL), ADIT_OK);
    expect_pop(0, 1, 10);
    vring_push(&g.ring, &chain, 0);
    ck_assert_uint_eq(guest_used(&g)[1], 2);
    guest_fini(&g);
}
END_TEST

START_TEST(vring_follows_its_memory_when_that_moves)
{
    start(0, VRING_FROM_GUEST);
    uint8_t *moved = aligned_alloc(4096, GUEST_MEM);
    ck_assert_ptr_nonnull(moved);
    guest_put(&g, 0, GUEST_FREE, 10, 0, 0);
    guest_offer(&g, 0);
    memcpy(moved, g.mem, GUEST_MEM);
    memset(g.mem, 0xff, GUEST_MEM);
    struct guestmem_region region = {GUEST_ADDR, GUEST_USER, GUEST_MEM, moved};
    ck_assert_int_eq(guestmem_set(&g.table, &region, 1, NULL), ADIT_OK);
    ck_assert_int_eq(vring_remap(&g.ring, NULL), ADIT_OK);
    expect_pop(0, 1, 10);
    ck_assert_ptr_eq(chain.iov[0].iov_base, moved + GUEST_FREE);

    region.user_addr += GUEST_MEM;
    ck_assert_int_eq(guestmem_set(&g.table, &region, 1, NULL), ADIT_OK);
    ck_assert_int_eq(vring_remap(&g.ring, NULL), ADIT_ERR_PROTOCOL);
    ck_assert(!vring_is_enabled(&g.ring));
    free(moved);
    guest_fini(&g);
}
END_TEST

/* ---- chains -------------------------------------------------------------------------------- */

START_TEST(vring_pops_chains_in_order)
{
    start(0, VRING_FROM_GUEST);
    ck_assert_int_eq(vring_pop(&g.ring, &chain, NULL), 0);
    guest_put(&g, 5, GUEST_FREE, 44, GUEST_NEXT, 2);
    guest_put(&g, 2, GUEST_FREE + 100, 1000, GUEST_NEXT, 7);
    guest_put(&g, 7, GUEST_MEM - 1, 1, 0, 0);
    guest_put(&g, 1, 0, GUEST_MEM, 0, 0);
    guest_offer(&g, 5);
    guest_offer(&g, 1);
    expect_pop(5, 3, 1045);
    ck_assert_ptr_eq(chain.iov[0].iov_base, g.mem + GUEST_FREE);
    ck_assert_ptr_eq(chain.iov[1].iov_base, g.mem + GUEST_FREE + 100);
    ck_assert_uint_eq(chain.iov[1].iov_len, 1000);
    ck_assert_ptr_eq(chain.iov[2].iov_base, g.mem + GUEST_MEM - 1);
    expect_pop(1, 1, GUEST_MEM);
    ck_assert_int_eq(vring_pop(&g.ring, &chain, NULL), 0);
    vring_unpop(&g.ring);
    expect_pop(1, 1, GUEST_MEM);
    guest_fini(&g);
}
END_TEST

START_TEST(vring_pops_a_chain_of_all_entries)
{
    start(0, VRING_TO_GUEST);
    for (unsigned i = 0; i < SIZE; i++)
        guest_put(&g, i, GUEST_FREE + i, 1,
                  (uint16_t)(GUEST_WRITE | (i + 1 < SIZE ? GUEST_NEXT : 0)), (uint16_t)(i + 1));
    guest_offer(&g, 0);
    expect_pop(0, SIZE, SIZE);
    guest_fini(&g);
}
END_TEST

/* Entries of the indirect table at @offset. */
static void put_indirect(unsigned offset, unsigned i, uint64_t at, uint32_t len, uint16_t flags,
                         uint16_t next)
{
    struct guest_desc d = {GUEST_ADDR + at, len, flags, next};
    memcpy(g.mem + offset + i * sizeof(d), &d, sizeof(d));
}

START_TEST(vring_pops_an_indirect_chain)
{
    start(ALL_FEATURES, VRING_FROM_GUEST);
    /* Behind a buffer; at an odd address; WRITE on the reference says nothing. */
    guest_put(&g, 0, GUEST_FREE, 5, GUEST_NEXT, 1);
    guest_put(&g, 1, GUEST_INDIRECT + 1, 3 * 16, GUEST_TABLE | GUEST_WRITE, 0);
    put_indirect(GUEST_INDIRECT + 1, 0, GUEST_FREE, 6, GUEST_NEXT, 2);
    put_indirect(GUEST_INDIRECT + 1, 2, GUEST_FREE, 7, GUEST_NEXT, 1);
    put_indirect(GUEST_INDIRECT + 1, 1, GUEST_FREE, 8, 0, 9);
    guest_offer(&g, 0);
    expect_pop(0, 4, 5 + 6 + 7 + 8);
    ck_assert_uint_eq(chain.iov[3].iov_len, 8);
    guest_fini(&g);
}
END_TEST

static void no_more_available_than_entries(void)
{
    guest_avail(&g)[1] = SIZE + 1;
}

static void index_behind(void)
{
    guest_avail(&g)[1] = UINT16_MAX;
}

static void head_beyond(void)
{
    guest_offer(&g, SIZE);
}

static void next_beyond(void)
{
    guest_put(&g, 0, GUEST_FREE, 1, GUEST_NEXT, SIZE);
    guest_offer(&g, 0);
}

static void loop_of_one(void)
{
    guest_put(&g, 3, GUEST_FREE, 1, GUEST_NEXT, 3);
    guest_offer(&g, 3);
}

static void loop_of_two(void)
{
    guest_put(&g, 0, GUEST_FREE, 1, GUEST_NEXT, 1);
    guest_put(&g, 1, GUEST_FREE, 1, GUEST_NEXT, 0);
    guest_offer(&g, 0);
}

static void buffer_empty(void)
{
    guest_put(&g, 0, GUEST_FREE, 0, 0, 0);
    guest_offer(&g, 0);
}

static void buffer_before_memory(void)
{
    guest_put(&g, 0, (uint64_t)-1, 2, 0, 0);
    guest_offer(&g, 0);
}

static void buffer_over_the_end(void)
{
    guest_put(&g, 0, GUEST_MEM - 1, 2, 0, 0);
    guest_offer(&g, 0);
}

static void buffer_that_wraps(void)
{
    *guest_desc(&g, 0) = (struct guest_desc){UINT64_MAX, UINT32_MAX, 0, 0};
    guest_offer(&g, 0);
}

static void buffer_of_null(void)
{
    *guest_desc(&g, 0) = (struct guest_desc){0, 16, 0, 0};
    guest_offer(&g, 0);
}

static void writable_only(void)
{
    guest_put(&g, 0, GUEST_FREE, 1, GUEST_WRITE, 0);
    guest_offer(&g, 0);
}

static void writable_after_readable(void)
{
    guest_put(&g, 0, GUEST_FREE, 1, GUEST_NEXT, 1);
    guest_put(&g, 1, GUEST_FREE, 1, GUEST_WRITE, 0);
    guest_offer(&g, 0);
}

static void readable_after_writable(void)
{
    guest_put(&g, 0, GUEST_FREE, 1, GUEST_NEXT | GUEST_WRITE, 1);
    guest_put(&g, 1, GUEST_FREE, 1, 0, 0);
    guest_offer(&g, 0);
}

/* Offers an indirect table of @len bytes at @offset. */
static void offer_indirect(uint64_t offset, uint32_t len, uint16_t flags)
{
    guest_put(&g, 0, offset, len, (uint16_t)(GUEST_TABLE | flags), 1);
    guest_offer(&g, 0);
}

static void indirect_in_indirect(void)
{
    put_indirect(GUEST_INDIRECT, 0, GUEST_INDIRECT, 16, GUEST_TABLE, 0);
    offer_indirect(GUEST_INDIRECT, 16, 0);
}

static void indirect_with_next(void)
{
    offer_indirect(GUEST_INDIRECT, 16, GUEST_NEXT);
}

static void indirect_cut(void)
{
    offer_indirect(GUEST_INDIRECT, 31, 0);
}

static void indirect_empty(void)
{
    offer_indirect(GUEST_INDIRECT, 0, 0);
}

static void indirect_over_the_end(void)
{
    offer_indirect(GUEST_MEM - 16, 32, 0);
}

static void indirect_huge(void)
{
    offer_indirect(GUEST_INDIRECT, UINT32_MAX - 15, 0);
}

static void indirect_next_beyond(void)
{
    put_indirect(GUEST_INDIRECT, 0, GUEST_FREE, 1, GUEST_NEXT, 2);
    put_indirect(GUEST_INDIRECT, 2, GUEST_FREE, 1, 0, 0);
    offer_indirect(GUEST_INDIRECT, 2 * 16, 0);
}

static void indirect_loop(void)
{
    put_indirect(GUEST_INDIRECT, 0, GUEST_FREE, 1, GUEST_NEXT, 0);
    offer_indirect(GUEST_INDIRECT, 16, 0);
}

static void indirect_longer_than_the_ring(void)
{
    for (unsigned i = 0; i <= SIZE; i++)
        put_indirect(GUEST_INDIRECT, i, GUEST_FREE, 1, i < SIZE ? GUEST_NEXT : 0,
                     (uint16_t)(i + 1));
    offer_indirect(GUEST_INDIRECT, (SIZE + 1) * 16, 0);
}

#define CHAIN "descriptor chain 0: "

static const struct {
    void (*make)(void);
    const char *why;
} breaches[] = {
    {no_more_available_than_entries, "9 chains available in a ring of 8"},
    {index_behind, "65535 chains available in a ring of 8"},
    {head_beyond, "descriptor chain 8: a descriptor beyond its table"},
    {next_beyond, CHAIN "a descriptor beyond its table"},
    {loop_of_one, "descriptor chain 3: longer than the ring, or a loop"},
    {loop_of_two, CHAIN "longer than the ring, or a loop"},
    {buffer_empty, CHAIN "a buffer that is empty or not within memory"},
    {buffer_before_memory, CHAIN "a buffer that is empty or not within memory"},
    {buffer_over_the_end, CHAIN "a buffer that is empty or not within memory"},
    {buffer_that_wraps, CHAIN "a buffer that is empty or not within memory"},
    {buffer_of_null, CHAIN "a buffer that is empty or not within memory"},
    {writable_only, CHAIN "a buffer of the wrong direction"},
    {writable_after_readable, CHAIN "a buffer of the wrong direction"},
    {readable_after_writable, CHAIN "a buffer of the wrong direction"},
    {indirect_in_indirect, CHAIN "an indirect table within an indirect table"},
    {indirect_with_next, CHAIN "an indirect table that is not the last descriptor"},
    {indirect_cut, CHAIN "an indirect table that ends within a descriptor"},
    {indirect_empty, CHAIN "an indirect table that is not within memory"},
    {indirect_over_the_end, CHAIN "an indirect table that is not within memory"},
    {indirect_huge, CHAIN "an indirect table that is not within memory"},
    {indirect_next_beyond, CHAIN "a descriptor beyond its table"},
    {indirect_loop, CHAIN "longer than the ring, or a loop"},
    {indirect_longer_than_the_ring, CHAIN "longer than the ring, or a loop"},
};

START_TEST(vring_names_the_breach)
{
    start(ALL_FEATURES, VRING_FROM_GUEST);
    breaches[_i].make();
    expect_breach(breaches[_i].why);
    expect_breach(breaches[_i].why); /* it does not go past it */
    guest_fini(&g);
}
END_TEST

START_TEST(vring_to_the_guest_refuses_readable_buffers)
{
    start(ALL_FEATURES, VRING_TO_GUEST);
    readable_after_writable();
    expect_breach(CHAIN "a buffer of the wrong direction");
    guest_fini(&g);
}
END_TEST

START_TEST(vring_without_the_feature_refuses_indirect_tables)
{
    start(VRING_F_EVENT_IDX, VRING_FROM_GUEST);
    indirect_longer_than_the_ring();
    expect_breach(CHAIN "an indirect table that was not negotiated");
    guest_fini(&g);
}
END_TEST

START_TEST(vring_refuses_a_chain_of_more_than_four_gib)
{
    /* Memory that is never touched: two buffers of it make 4 GiB. */
    start(0, VRING_FROM_GUEST);
    struct guestmem_region regions[] = {g.table.regions[0], {1ull << 32, 1, 1ull << 31, g.mem}};
    ck_assert_int_eq(guestmem_set(&g.table, regions, 2, NULL), ADIT_OK);
    *guest_desc(&g, 0) = (struct guest_desc){1ull << 32, 1u << 31, GUEST_NEXT, 1};
    *guest_desc(&g, 1) = (struct guest_desc){1ull << 32, (1u << 31) - 1, 0, 1};
    guest_offer(&g, 0);
    expect_pop(0, 2, UINT32_MAX);
    guest_desc(&g, 1)->len++;
    guest_offer(&g, 0);
    expect_breach(CHAIN "more than 4 GiB");
    guest_fini(&g);
}
END_TEST

/* ---- giving back --------------------------------------------------------------------------- */

START_TEST(vring_push_tells_head_and_length)
{
    uint32_t head, len;
    start(0, VRING_TO_GUEST);
    guest_put(&g, 6, GUEST_FREE, 100, GUEST_WRITE, 0);
    guest_offer(&g, 6);
    expect_pop(6, 1, 100);
    ck_assert(!guest_take(&g, &head, &len));
    vring_push(&g.ring, &chain, 77);
    ck_assert(guest_take(&g, &head, &len));
    ck_assert_uint_eq(head, 6);
    ck_assert_uint_eq(len, 77);
    guest_fini(&g);
}
END_TEST

START_TEST(vring_marks_what_it_writes)
{
    uint8_t log[(GUEST_ADDR + GUEST_MEM) / GUESTMEM_LOG_PAGE / 8] = {0};
    const uint8_t *pages = log + GUEST_ADDR / GUESTMEM_LOG_PAGE / 8; /* 8 of these to a byte */
    start(VRING_F_EVENT_IDX, VRING_TO_GUEST);
    guest_put(&g, 0, GUEST_FREE, 4096, GUEST_WRITE | GUEST_NEXT, 1);
    guest_put(&g, 1, GUEST_FREE + 3 * 4096, 4096, GUEST_WRITE | GUEST_NEXT, 2);
    guest_put(&g, 2, GUEST_FREE + 5 * 4096, 4096, GUEST_WRITE, 0);
    guest_offer(&g, 0);
    ck_assert_int_eq(guestmem_set_log(&g.table, log, sizeof(log), NULL), ADIT_OK);
    expect_pop(0, 3, 3 * 4096);
    ck_assert_uint_eq(pages[0] | pages[1], 0);
    vring_push(&g.ring, &chain, 4097);
    ck_assert_uint_eq(pages[0], 1 << 2 | 1 << 4 | 1 << 7); /* the used ring and two buffers */
    ck_assert_uint_eq(pages[1], 0);
    memset(log, 0, sizeof(log));
    (void)vring_await(&g.ring);
    ck_assert_uint_eq(pages[0], 1 << 2);
    guest_fini(&g);
}
END_TEST

START_TEST(vring_indices_wrap)
{
    uint32_t head = 0, len, wrong = 0;
    start(ALL_FEATURES, VRING_FROM_GUEST);
    for (unsigned i = 0; i < SIZE; i++)
        guest_put(&g, i, GUEST_FREE + i, 1 + i, 0, 0);
    for (unsigned i = 0; i < 3 * 65536 / 2; i++) {
        guest_offer(&g, (uint16_t)(i % SIZE));
        wrong += vring_pop(&g.ring, &chain, NULL) != 1 || chain.len != 1 + i % SIZE;
        vring_push(&g.ring, &chain, 0);
        wrong += !guest_take(&g, &head, &len) || head != i % SIZE;
    }
    ck_assert_uint_eq(wrong, 0);
    ck_assert_int_eq(vring_pop(&g.ring, &chain, NULL), 0);
    guest_fini(&g);
}
END_TEST

/* ---- notifications ------------------------------------------------------------------------- */

static void cycle(void)
{
    guest_offer(&g, 0);
    if (vring_pop(&g.ring, &chain, NULL) != 1)
        ck_abort();
    vring_push(&g.ring, &chain, 0);
}

START_TEST(vring_notifies_by_flag)
{
    start(0, VRING_FROM_GUEST);
    guest_put(&g, 0, GUEST_FREE, 1, 0, 0);
    cycle();
    ck_assert(vring_should_notify(&g.ring));
    ck_assert(!vring_should_notify(&g.ring)); /* nothing new */
    guest_avail(&g)[0] = 1;
    cycle();
    ck_assert(!vring_should_notify(&g.ring));
    guest_avail(&g)[0] = 0;
    cycle();
    ck_assert(vring_should_notify(&g.ring));
    guest_fini(&g);
}
END_TEST

START_TEST(vring_notifies_at_the_event_index)
{
    start(VRING_F_EVENT_IDX, VRING_FROM_GUEST);
    guest_put(&g, 0, GUEST_FREE, 1, 0, 0);
    *guest_used_event(&g) = 1000;
    cycle();
    ck_assert(vring_should_notify(&g.ring)); /* it does not know yet what the guest was told */
    for (unsigned used = 2; used <= 3 * 65536 / 2; used++) {
        bool is_at_event = (uint16_t)(used - 1) == 1000;
        cycle();
        if (vring_should_notify(&g.ring) != is_at_event)
            ck_abort_msg("after %u", used);
    }
    /* Within a batch. */
    *guest_used_event(&g) = (uint16_t)(g.avail_idx + 1);
    cycle();
    cycle();
    cycle();
    ck_assert(vring_should_notify(&g.ring));
    *guest_used_event(&g) = (uint16_t)(g.avail_idx - 1);
    cycle();
    ck_assert(!vring_should_notify(&g.ring));
    guest_fini(&g);
}
END_TEST

START_TEST(vring_asks_for_kicks_by_flag)
{
    start(0, VRING_FROM_GUEST);
    guest_put(&g, 0, GUEST_FREE, 1, 0, 0);
    ck_assert_uint_eq(guest_used(&g)[0], 1);
    ck_assert(!vring_await(&g.ring));
    ck_assert_uint_eq(guest_used(&g)[0], 0);
    vring_suppress_kicks(&g.ring);
    ck_assert_uint_eq(guest_used(&g)[0], 1);
    guest_offer(&g, 0);
    ck_assert(vring_await(&g.ring)); /* it came meanwhile */
    guest_fini(&g);
}
END_TEST

START_TEST(vring_asks_for_kicks_by_event_index)
{
    start(VRING_F_EVENT_IDX, VRING_FROM_GUEST);
    guest_put(&g, 0, GUEST_FREE, 1, 0, 0);
    cycle();
    cycle();
    ck_assert_uint_eq(*guest_avail_event(&g), 0);
    ck_assert(!vring_await(&g.ring));
    ck_assert_uint_eq(*guest_avail_event(&g), 2);
    vring_suppress_kicks(&g.ring);
    ck_assert_uint_eq(guest_used(&g)[0], 0);
    guest_offer(&g, 0);
    ck_assert(vring_await(&g.ring));
    guest_fini(&g);
}
END_TEST

/* ---- a guest that changes its mind --------------------------------------------------------- */

static bool is_flipping = true;

static void *flip(void *unused)
{
    static const struct guest_desc descs[] = {
        {GUEST_ADDR + GUEST_FREE, 16, 0, 0},
        {GUEST_ADDR + GUEST_FREE, UINT32_MAX, 0, 0},
        {UINT64_MAX - 8, 16, GUEST_NEXT, UINT16_MAX},
        {GUEST_ADDR + GUEST_INDIRECT, 16 * SIZE, GUEST_TABLE, 0},
    };
    (void)unused;
    for (unsigned i = 0; __atomic_load_n(&is_flipping, __ATOMIC_RELAXED); i++) {
        struct guest_desc d = descs[i % 4];
        __atomic_store_n(&guest_desc(&g, 0)->addr, d.addr, __ATOMIC_RELAXED);
        __atomic_store_n(&guest_desc(&g, 0)->len, d.len, __ATOMIC_RELAXED);
        __atomic_store_n(&guest_desc(&g, 0)->flags, d.flags, __ATOMIC_RELAXED);
        __atomic_store_n(&guest_desc(&g, 0)->next, d.next, __ATOMIC_RELAXED);
    }
    return NULL;
}

START_TEST(vring_judges_and_uses_the_same_copy)
{
    pthread_t thread;
    unsigned popped = 0, refused = 0, outside = 0;
    start(ALL_FEATURES, VRING_FROM_GUEST);
    put_indirect(GUEST_INDIRECT, 0, GUEST_FREE, 8, 0, 0);
    ck_assert_int_eq(pthread_create(&thread, NULL, flip, NULL), 0);
    guest_offer(&g, 0);
    for (unsigned i = 0; i < 20000 || popped == 0 || refused == 0; i++) {
        if (vring_pop(&g.ring, &chain, NULL) < 0) {
            refused++;
            continue;
        }
        popped++;
        for (unsigned k = 0; k < chain.cnt; k++) {
            uint8_t *at = chain.iov[k].iov_base;
            outside += at < g.mem || chain.iov[k].iov_len > (size_t)(g.mem + GUEST_MEM - at);
        }
        vring_unpop(&g.ring);
    }
    __atomic_store_n(&is_flipping, false, __ATOMIC_RELAXED);
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
    ck_assert_uint_eq(outside, 0);
    guest_fini(&g);
}
END_TEST

SUITE_MAIN_WITH("vring",
                TESTS(vring_fits_the_end_of_memory_to_the_byte, vring_in_use_is_not_set_up_again,
                      vring_that_is_not_enabled_does_nothing, vring_goes_on_where_it_was_stopped,
                      vring_follows_its_memory_when_that_moves, vring_pops_chains_in_order,
                      vring_pops_a_chain_of_all_entries, vring_pops_an_indirect_chain,
                      vring_to_the_guest_refuses_readable_buffers,
                      vring_without_the_feature_refuses_indirect_tables,
                      vring_refuses_a_chain_of_more_than_four_gib, vring_push_tells_head_and_length,
                      vring_marks_what_it_writes, vring_indices_wrap, vring_notifies_by_flag,
                      vring_notifies_at_the_event_index, vring_asks_for_kicks_by_flag,
                      vring_asks_for_kicks_by_event_index, vring_judges_and_uses_the_same_copy),
                LOOPS({vring_refuses_a_setup, sizeof(bad_setups) / sizeof(bad_setups[0])},
                      {vring_names_the_breach, sizeof(breaches) / sizeof(breaches[0])}))
