/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Raw inotify events on watched trees, against a kernel that is made up: the input is a series of
 * events on directories 1 to 15, and says what each look at a path finds. Oracles: no event is lost
 * but by an error; names are relative and clean; feeding whole or record by record tells the same;
 * the kernel's watches are those of the trees, and none is left at the end.
 */
#include "oracle.h"

#include <errno.h>
#include <string.h>
#include <sys/inotify.h>

#include "envd/filesystem/watch_tree.h"

#define WDS 16
#define RECORD_LEN 8
#define RECORDS_MAX 512

static const uint8_t *answers;
static size_t answer_cnt, answer_next;
static bool watched[WDS];

/* What the made up kernel answers next; the same for the same input. */
static unsigned answer(void)
{
    return answer_cnt ? answers[answer_next++ % answer_cnt] : 0;
}

static int add(struct watch_os *os, const char *path, bool is_root)
{
    (void)os;
    ORACLE(path[0] == '/' && !strstr(path, "//"));
    unsigned a = is_root ? 0 : answer();
    static const int failures[] = {-ENOENT, -ENOTDIR, -EACCES, -ENOSPC};
    if (a >= 240)
        return failures[a % 32 == 31 ? 3 : a % 3];
    int wd = is_root ? 1 : 1 + (int)(a % (WDS - 1));
    watched[wd] = true;
    return wd;
}

static void stop(struct watch_os *os, int wd)
{
    (void)os;
    ORACLE(wd > 0 && wd < WDS && watched[wd]);
    watched[wd] = false;
}

/* Up to three names. More would never end: each is looked at in turn. */
static int list(struct watch_os *os, const char *path, enum watch_place place,
                watch_tree_name_fn on_name, void *arg)
{
    static const char *const names[] = {"a", "b", "c"};
    (void)os;
    (void)place;
    ORACLE(path[0] == '/');
    unsigned a = answer();
    bool is_deep = strlen(path) > 40;
    for (unsigned i = 0; i < (a & 3); i++) {
        if (!on_name(arg, names[i], !is_deep && (a >> (2 + i) & 1)))
            break;
    }
    return a > 250 ? -ENOENT : 0;
}

static struct entry *look(struct watch_os *os, const char *path)
{
    (void)os;
    ORACLE(path[0] == '/');
    return NULL;
}

/* A record of the input as the kernel would give it. Return: its length. */
static size_t make_raw(const uint8_t *in, char out[sizeof(struct inotify_event) + 16])
{
    static const char *const names[] = {"", "a", "b", "c", "a", "b", "#12", "\xff"};
    static const uint32_t masks[] = {IN_CREATE,   IN_MODIFY,     IN_DELETE,    IN_DELETE_SELF,
                                     IN_MOVED_TO, IN_MOVED_FROM, IN_MOVE_SELF, IN_ATTRIB,
                                     IN_IGNORED,  IN_UNMOUNT,    IN_MOVED_TO,  IN_MOVED_FROM};
    struct inotify_event e = {.wd = in[0] % WDS, .len = in[1] & 8 ? 16 : 0};
    e.mask = masks[in[2] % 12] | (in[3] & 3 ? IN_ISDIR : 0);
    if (in[3] > 250)
        e.mask |= masks[in[4] % 12];
    if (in[4] == 255 && in[5] == 255)
        e.mask = IN_Q_OVERFLOW;
    e.cookie = in[5] % 4;
    memcpy(out, &e, sizeof e);
    memset(out + sizeof e, 0, 16);
    if (e.len)
        memcpy(out + sizeof e, names[in[1] % 8], strlen(names[in[1] % 8]));
    return sizeof e + e.len;
}

/* All events of a run as one text. */
struct run {
    char text[64 * 1024];
    size_t len;
    int code;
};

static void take_events(struct watch_tree *t, struct run *r)
{
    struct adit_list *it;
    while ((it = adit_list_first(&t->events))) {
        struct watch_event *e = ADIT_CONTAINER_OF(it, struct watch_event, node);
        ORACLE(e->name[0] && e->name[0] != '/' && !strstr(e->name, "//"));
        ORACLE(e->cost >= strlen(e->name) + sizeof *e);
        int n =
            snprintf(r->text + r->len, sizeof r->text - r->len, "%d%s\n", (int)e->type, e->name);
        r->len = r->len + (size_t)n < sizeof r->text ? r->len + (size_t)n : r->len;
        watch_event_free(e);
    }
}

static void check_watches(const struct watch_table *t)
{
    for (int wd = 1; wd < WDS; wd++)
        ORACLE(watched[wd] == !!adit_map_get(&t->by_wd, adit_view_mem(&wd, sizeof wd)));
}

static void run(const uint8_t *data, size_t size, bool is_whole, struct run *r)
{
    static char raw[RECORDS_MAX * (sizeof(struct inotify_event) + 16)];
    struct watch_os os = {add, stop, list, look};
    struct watch_table table = {.room = SIZE_MAX};
    struct watch_tree tree;
    struct adit_err err;
    size_t len = 0, cnt = size / RECORD_LEN < RECORDS_MAX ? size / RECORD_LEN : RECORDS_MAX;

    memset(r, 0, sizeof *r);
    answer_next = 0;
    watch_table_init(&table, &os);
    struct watch_tree_conf conf = {.is_recursive = true};
    if (watch_tree_open(&tree, &table, &conf, "/", &err) == 0) {
        bool is_open = false;
        while (!is_open && watch_tree_step(&tree, &is_open, &err) == 0)
            continue;
        tree.room = 32 * 1024;
        for (size_t i = 0; i < cnt; i++) {
            len += make_raw(data + i * RECORD_LEN, raw + len);
            if (is_whole)
                continue;
            watch_table_feed(&table, adit_view_mem(raw, len));
            check_watches(&table);
            len = 0;
        }
        watch_table_feed(&table, adit_view_mem(raw, len));
        r->code = tree.err.code;
        ORACLE(!r->code || (tree.dir_cnt == 0 && adit_list_empty(&tree.events)));
        take_events(&tree, r);
        watch_tree_close(&tree);
    }
    check_watches(&table);
    ORACLE(table.by_wd.len == 0 && table.by_name.len == 0);
    watch_table_fini(&table);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct run whole, pieces;
    if (size < 2)
        return 0;
    answers = data;
    answer_cnt = size;
    run(data, size, true, &whole);
    run(data, size, false, &pieces);
    ORACLE(whole.code == pieces.code && whole.len == pieces.len &&
           memcmp(whole.text, pieces.text, whole.len) == 0);

    /* The bytes as they are: nothing that is not a record makes an event. */
    struct watch_os os = {add, stop, list, look};
    struct watch_table table;
    watch_table_init(&table, &os);
    watch_table_feed(&table, adit_view_mem(data, size));
    watch_table_fini(&table);
    return 0;
}
