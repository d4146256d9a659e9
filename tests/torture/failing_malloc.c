/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Preloaded into the broker or the scheduler: its n-th allocation from now fails.
 *
 * Theory of operation
 *
 * What: malloc and its kin count down a number in a file that the test maps as well; at zero one
 * call returns NULL. Counted are calls from the program, from nghttp2 and from protobuf-c. libuv is
 * left out, since it ends the program without memory for its own tables, and so are libc and
 * OpenSSL, whose failures the unit tests make. Of calls in a row from one place, as jansson's are
 * by the hundred, the first ROW_FIRST and every ROW_STEP-th count. Blocks that are allocated are
 * counted for all. Programs that the broker starts, and the launcher that it forks, are left alone.
 */
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define RANGES_MAX 8
#define ROW_FIRST 2
#define ROW_STEP 32

/* @countdown: calls until one fails; 0: none does. @fired: how many did. @live: blocks */
struct shared {
    long countdown, fired, live;
};

static struct shared alone, *shared = &alone;
/* On a page that is empty in every process that this one forks. NULL: not begun */
static bool *is_ours;
static struct {
    uintptr_t begin, end;
} ranges[RANGES_MAX];
static size_t range_cnt;

void *__libc_malloc(size_t n);
void *__libc_calloc(size_t cnt, size_t n);
void *__libc_realloc(void *p, size_t n);
void __libc_free(void *p);
void *malloc(size_t n);
void *calloc(size_t cnt, size_t n);
void *realloc(void *p, size_t n);
void free(void *p);

static bool is_in_range(uintptr_t caller)
{
    for (size_t i = 0; i < range_cnt; i++)
        if (caller >= ranges[i].begin && caller < ranges[i].end)
            return true;
    return false;
}

static bool is_counted(uintptr_t caller)
{
    static uintptr_t last;
    static unsigned in_a_row;
    if (!is_in_range(caller))
        return false;
    if (__atomic_exchange_n(&last, caller, __ATOMIC_RELAXED) != caller)
        __atomic_store_n(&in_a_row, 0, __ATOMIC_RELAXED);
    unsigned row = __atomic_fetch_add(&in_a_row, 1, __ATOMIC_RELAXED);
    return row < ROW_FIRST || row % ROW_STEP == 0;
}

static bool fails(void *caller)
{
    if (!is_ours || !*is_ours || __atomic_load_n(&shared->countdown, __ATOMIC_RELAXED) <= 0 ||
        !is_counted((uintptr_t)caller) ||
        __atomic_sub_fetch(&shared->countdown, 1, __ATOMIC_RELAXED) != 0)
        return false;
    (void)__atomic_add_fetch(&shared->fired, 1, __ATOMIC_RELAXED);
    errno = ENOMEM;
    return true;
}

static void count(long more)
{
    if (is_ours && *is_ours)
        (void)__atomic_add_fetch(&shared->live, more, __ATOMIC_RELAXED);
}

static void *counted(void *p)
{
    count(p != NULL);
    return p;
}

void *malloc(size_t n)
{
    return fails(__builtin_return_address(0)) ? NULL : counted(__libc_malloc(n));
}

void *calloc(size_t cnt, size_t n)
{
    return fails(__builtin_return_address(0)) ? NULL : counted(__libc_calloc(cnt, n));
}

void *realloc(void *p, size_t n)
{
    if (fails(__builtin_return_address(0)))
        return NULL;
    return p ? __libc_realloc(p, n) : counted(__libc_malloc(n));
}

void free(void *p)
{
    count(-(p != NULL));
    __libc_free(p);
}

/* The code of the objects whose calls count; the program itself has no name. */
static int add_ranges(struct dl_phdr_info *info, size_t size, void *data)
{
    (void)size;
    (void)data;
    if (info->dlpi_name[0] && !strstr(info->dlpi_name, "nghttp2") &&
        !strstr(info->dlpi_name, "protobuf-c"))
        return 0;
    for (size_t i = 0; i < info->dlpi_phnum && range_cnt < RANGES_MAX; i++) {
        const ElfW(Phdr) *h = &info->dlpi_phdr[i];
        if (h->p_type != PT_LOAD || !(h->p_flags & PF_X))
            continue;
        ranges[range_cnt].begin = info->dlpi_addr + h->p_vaddr;
        ranges[range_cnt++].end = info->dlpi_addr + h->p_vaddr + h->p_memsz;
    }
    return 0;
}

__attribute__((constructor)) static void begin(void)
{
    const char *path = getenv("ADIT_TORTURE");
    int fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
    if (fd < 0 || strcmp(program_invocation_short_name, "env") == 0)
        return;
    void *map = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    bool *page =
        mmap(NULL, sizeof(*page), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    (void)close(fd);
    (void)unsetenv("LD_PRELOAD");
    if (map == MAP_FAILED || page == MAP_FAILED || madvise(page, sizeof(*page), MADV_WIPEONFORK))
        abort(); /* the test would test nothing */
    (void)dl_iterate_phdr(add_ranges, NULL);
    shared = map;
    is_ours = page;
    *is_ours = true;
}
