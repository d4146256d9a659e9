/* SPDX-License-Identifier: Apache-2.0 */
/* Logs of sandboxes: lines of hostile guests, files, answers, and what is removed. */
#include "broker/node/journal.h"

#include "tests/unit/suite.h"
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"

/* ---- lines ---- */

/* The line that @said becomes, as a document. */
static json_t *console_line(struct adit_view said)
{
    struct adit_buf out;
    struct journal_entry e;
    adit_buf_init(&out, JOURNAL_ENTRY_CAP);
    ck_assert_int_eq(journal_entry_append_console(&out, 1795000000123, said), 0);
    struct adit_view rest = adit_buf_view(&out);
    ck_assert(journal_entry_next(&rest, &e));
    ck_assert_uint_eq(rest.len, 0);
    ck_assert_int_eq(e.at_ms, 1795000000123);
    json_t *doc = json_loadb(e.json.ptr, e.json.len, 0, NULL);
    ck_assert_ptr_nonnull(doc);
    ck_assert_str_eq(json_string_value(json_object_get(doc, "level")),
                     adit_log_level_name(e.level));
    adit_buf_fini(&out);
    return doc;
}

static void is_member(const json_t *doc, const char *key, const char *value)
{
    const char *got = json_string_value(json_object_get(doc, key));
    ck_assert_msg(got && strcmp(got, value) == 0, "%s is %s, not %s", key, got, value);
}

START_TEST(journal_entry_takes_what_envd_says_apart)
{
    json_t *doc = console_line((struct adit_view)ADIT_VIEW(
        "{\"time\":\"x\",\"level\":\"warn\",\"program\":\"envd\",\"event\":\"request\",\"n\":12,"
        "\"ok\":true,\"req\":\"abc\",\"deep\":{\"a\":1},\"teamID\":\"other\",\"sandboxID\":"
        "\"x\"}"));
    is_member(doc, "level", "warn");
    is_member(doc, "logger", "envd");
    is_member(doc, "message", "request");
    is_member(doc, "n", "12");
    is_member(doc, "ok", "true");
    is_member(doc, "req", "abc");
    ck_assert_uint_eq(json_object_size(doc), 6);
    json_decref(doc);
    doc = console_line((struct adit_view)ADIT_VIEW(
        "2026-11-21T07:08:09.123Z error envd listening version=1 pid=1"));
    is_member(doc, "level", "error");
    is_member(doc, "logger", "envd");
    is_member(doc, "message", "listening version=1 pid=1");
    json_decref(doc);
}
END_TEST

START_TEST(journal_entry_makes_hostile_lines_harmless)
{
    json_t *doc = console_line((struct adit_view)ADIT_VIEW("\x1b[2J\x00\xff\xc2\x9b\ta\"\\\n{"));
    is_member(doc, "level", "info");
    is_member(doc, "logger", "console");
    is_member(doc, "message",
              "\xef\xbf\xbd[2J\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd a\"\\\xef\xbf\xbd{");
    json_decref(doc);
    doc = console_line(
        (struct adit_view)ADIT_VIEW("{\"level\":\"info\",\"event\":\"\\u001b\\u0000\"}"));
    json_decref(doc);
    doc = console_line((struct adit_view)ADIT_VIEW("{\"level\":7,\"message\":\"x\"}"));
    is_member(doc, "logger", "console"); /* no object of that form: text */
    json_decref(doc);
}
END_TEST

START_TEST(journal_entry_bounds_what_one_line_holds)
{
    size_t len = 64 * 1024;
    char *text = malloc(len);
    for (int i = 0; i < 3; i++) {
        memset(text, "a\"\x01"[i], len);
        json_t *doc = console_line(adit_view_mem(text, len));
        ck_assert_uint_le(json_string_length(json_object_get(doc, "message")),
                          JOURNAL_ENTRY_MESSAGE_CAP + 3);
        json_decref(doc);
    }
    /* an object with more members than are taken, each as long as can be */
    struct adit_buf object;
    adit_buf_init(&object, 1 << 20);
    memset(text, '\'', 1000);
    ck_assert_int_eq(adit_buf_append_str(&object, "{\"level\":\"info\",\"event\":\"e\""), 0);
    for (int i = 0; i < 40; i++)
        ck_assert_int_eq(adit_buf_appendf(&object, ",\"%.900s%d\":\"%.1000s\"", text, i, text), 0);
    ck_assert_int_eq(adit_buf_append_char(&object, '}'), 0);
    json_t *doc = console_line(adit_buf_view(&object));
    ck_assert_uint_le(json_object_size(doc), 3 + JOURNAL_ENTRY_FIELDS_MAX);
    json_decref(doc);
    adit_buf_fini(&object);
    free(text);
}
END_TEST

START_TEST(journal_entry_passes_over_what_is_torn)
{
    struct adit_view rest =
        ADIT_VIEW("{\"adit-log\":1}\n12 i {\"a\":1}\n-1 i {}\n13 x {}\n14 i no\n"
                  "\n15 \n99999999999999999999 i {}\n16 e {\"b\":2}\n17 i {\"c");
    struct journal_entry e;
    ck_assert(journal_entry_next(&rest, &e));
    ck_assert_int_eq(e.at_ms, 12);
    ck_assert(journal_entry_next(&rest, &e));
    ck_assert_int_eq(e.at_ms, 16);
    ck_assert_int_eq(e.level, ADIT_LOG_ERROR);
    ck_assert(!journal_entry_next(&rest, &e));
}
END_TEST

/* ---- files ---- */

struct disk {
    char dir[64];
    int fd;
    struct adit_buf text;
};

static void open_disk(struct disk *d)
{
    strcpy(d->dir, "/tmp/adit-journal-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(d->dir));
    d->fd = open(d->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    ck_assert_int_ge(d->fd, 0);
    adit_buf_init(&d->text, JOURNAL_FILE_TEXT_CAP);
}

static void close_disk(struct disk *d)
{
    adit_buf_fini(&d->text);
    close(d->fd);
    int tmp = open("/tmp", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    ck_assert_int_eq(adit_file_remove_tree(tmp, d->dir + strlen("/tmp/"), NULL), 0);
    close(tmp);
}

/* One line at each of the times @from to @to - 1, of a level that goes round. */
static void append(const struct disk *d, const char *id, int64_t from, int64_t to)
{
    struct adit_buf lines;
    char message[32];
    adit_buf_init(&lines, 8u << 20);
    for (int64_t at = from; at < to; at++) {
        (void)snprintf(message, sizeof(message), "line %lld", (long long)at);
        ck_assert_int_eq(journal_entry_append(&lines, at, (enum adit_log_level)(at % 4), "test",
                                              adit_view_str(message), NULL),
                         0);
    }
    ck_assert_int_eq(journal_file_append(d->fd, id, "red", adit_buf_view(&lines), NULL), 0);
    adit_buf_fini(&lines);
}

/* The "logs" of an answer. */
static json_t *ask(struct disk *d, const struct journal_query *q)
{
    adit_buf_clear(&d->text);
    ck_assert_int_eq(journal_file_read(d->fd, "ia", "red", q, &d->text, NULL), 0);
    json_t *doc = json_loadb(adit_buf_view(&d->text).ptr, d->text.len, 0, NULL);
    ck_assert_ptr_nonnull(doc);
    json_t *logs = json_incref(json_object_get(doc, "logs"));
    ck_assert(json_is_array(logs));
    if (!q->is_v2)
        ck_assert_uint_eq(json_array_size(json_object_get(doc, "logEntries")),
                          json_array_size(logs));
    json_decref(doc);
    return logs;
}

/* Times of the answer, first and last, and how many. */
static void expect(struct disk *d, struct journal_query q, size_t cnt, int64_t first, int64_t last)
{
    char want[ADIT_CLOCK_RFC3339_CAP];
    json_t *logs = ask(d, &q);
    ck_assert_uint_eq(json_array_size(logs), cnt);
    adit_clock_format_rfc3339(first * 1000000, want);
    if (cnt)
        is_member(json_array_get(logs, 0), "timestamp", want);
    adit_clock_format_rfc3339(last * 1000000, want);
    if (cnt)
        is_member(json_array_get(logs, cnt - 1), "timestamp", want);
    json_decref(logs);
}

START_TEST(journal_file_answers_every_form_of_question)
{
    struct disk d;
    open_disk(&d);
    append(&d, "ia", 100, 200);
    struct journal_query v1 = {.from_ms = -1, .limit = 1000, .is_newest = true};
    struct journal_query v2 = {.from_ms = -1, .limit = 1000, .is_v2 = true};
    expect(&d, v1, 100, 100, 199);
    v1.limit = 10;
    expect(&d, v1, 10, 190, 199); /* without a start: the newest */
    v1.from_ms = 150;
    expect(&d, v1, 10, 150, 159);
    v1.from_ms = 200;
    expect(&d, v1, 0, 0, 0);
    v1.limit = 0;
    v1.from_ms = -1;
    expect(&d, v1, 0, 0, 0);
    expect(&d, v2, 100, 100, 199);
    v2.limit = 10;
    expect(&d, v2, 10, 100, 109);
    v2.is_backward = true;
    expect(&d, v2, 10, 199, 190);
    v2.from_ms = 150;
    expect(&d, v2, 10, 150, 141);
    v2.min_level = ADIT_LOG_ERROR;
    expect(&d, v2, 10, 147, 111);
    v2.min_level = ADIT_LOG_DEBUG;
    strcpy(v2.search, "line 12");
    expect(&d, v2, 10, 129, 120);
    strcpy(v2.search, "no such line");
    expect(&d, v2, 0, 0, 0);
    close_disk(&d);
}
END_TEST

START_TEST(journal_file_lines_have_the_form_that_clients_parse)
{
    struct disk d;
    struct adit_buf lines;
    struct journal_field fields[] = {{"reason", "time\"out"}, {NULL, NULL}};
    open_disk(&d);
    adit_buf_init(&lines, JOURNAL_ENTRY_CAP);
    ck_assert_int_eq(journal_entry_append(&lines, 1795000000123, ADIT_LOG_WARN, "sandbox",
                                          adit_view_str("ended"), fields),
                     0);
    ck_assert_int_eq(journal_file_append(d.fd, "ia", "red", adit_buf_view(&lines), NULL), 0);
    struct journal_query q = {.from_ms = -1, .limit = 10};
    json_t *logs = ask(&d, &q);
    is_member(json_array_get(logs, 0), "timestamp", "2026-11-18T11:06:40.123Z");
    is_member(json_array_get(logs, 0), "line",
              "{\"level\":\"warn\",\"logger\":\"sandbox\",\"message\":\"ended\","
              "\"reason\":\"time\\\"out\"}");
    json_decref(logs);
    q.is_v2 = true;
    logs = ask(&d, &q);
    const json_t *entry = json_array_get(logs, 0);
    is_member(entry, "message", "ended");
    is_member(entry, "level", "warn");
    is_member(json_object_get(entry, "fields"), "reason", "time\"out");
    is_member(json_object_get(entry, "fields"), "logger", "sandbox");
    json_decref(logs);
    adit_buf_fini(&lines);
    close_disk(&d);
}
END_TEST

START_TEST(journal_file_rolls_over_and_keeps_two_files)
{
    struct disk d;
    struct stat now, older;
    open_disk(&d);
    for (int64_t at = 0; at < 60000; at += 1000)
        append(&d, "ia", at, at + 1000);
    ck_assert_int_eq(fstatat(d.fd, "ia.log", &now, 0), 0);
    ck_assert_int_eq(fstatat(d.fd, "ia.log.1", &older, 0), 0);
    ck_assert_int_le(now.st_size, JOURNAL_FILE_CAP);
    ck_assert_int_le(older.st_size, JOURNAL_FILE_CAP);
    ck_assert_int_ne(faccessat(d.fd, "ia.log.2", F_OK, 0), 0);
    expect(&d, (struct journal_query){.from_ms = -1, .limit = 5, .is_newest = true}, 5, 59995,
           59999);
    expect(&d, (struct journal_query){.from_ms = 59000, .limit = 1000}, 1000, 59000, 59999);
    close_disk(&d);
}
END_TEST

/* A writer that rolls over all the time, and never gets further ahead than files are kept. */
struct writer {
    struct disk *disk;
    atomic_llong seen;
};
#define BLOCK_LINES 100
#define BLOCKS 100

static void *write_blocks(void *arg)
{
    struct writer *w = arg;
    struct adit_buf lines;
    char message[1500];
    memset(message, 'a', sizeof(message));
    adit_buf_init(&lines, JOURNAL_FILE_CAP);
    for (int64_t at = 1; at <= BLOCKS * BLOCK_LINES; at++) {
        while (at > atomic_load(&w->seen) + 4 * BLOCK_LINES)
            (void)sched_yield();
        ck_assert_int_eq(journal_entry_append(&lines, at, ADIT_LOG_INFO, "test",
                                              adit_view_mem(message, sizeof(message)), NULL),
                         0);
        if (at % BLOCK_LINES)
            continue;
        ck_assert_int_eq(journal_file_append(w->disk->fd, "ia", "red", adit_buf_view(&lines), NULL),
                         0);
        adit_buf_clear(&lines);
    }
    adit_buf_fini(&lines);
    return NULL;
}

START_TEST(journal_file_read_while_it_rolls_over_misses_nothing)
{
    struct disk d;
    struct writer w = {.disk = &d};
    pthread_t thread;
    open_disk(&d);
    append(&d, "ia", 0, 1);
    ck_assert_int_eq(pthread_create(&thread, NULL, write_blocks, &w), 0);
    for (int64_t next = 1; next <= BLOCKS * BLOCK_LINES;) {
        struct journal_query q = {.from_ms = next, .limit = 1000, .is_v2 = true};
        char want[ADIT_CLOCK_RFC3339_CAP];
        json_t *logs = ask(&d, &q);
        adit_clock_format_rfc3339(next * 1000000, want);
        if (json_array_size(logs))
            is_member(json_array_get(logs, 0), "timestamp", want);
        next += (int64_t)json_array_size(logs);
        atomic_store(&w.seen, next);
        json_decref(logs);
    }
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
    close_disk(&d);
}
END_TEST

START_TEST(journal_file_closes_a_torn_line)
{
    struct disk d;
    open_disk(&d);
    append(&d, "ia", 1, 3);
    int fd = openat(d.fd, "ia.log", O_WRONLY | O_APPEND | O_CLOEXEC);
    ck_assert_int_eq(write(fd, "3 i {\"lev", 9), 9);
    close(fd);
    append(&d, "ia", 4, 5);
    expect(&d, (struct journal_query){.from_ms = -1, .limit = 10}, 3, 1, 4);
    close_disk(&d);
}
END_TEST

START_TEST(journal_file_of_another_team_is_not_there)
{
    struct disk d;
    struct journal_query q = {.from_ms = -1, .limit = 10};
    open_disk(&d);
    append(&d, "ia", 1, 3);
    ck_assert_int_eq(journal_file_read(d.fd, "ia", "blue", &q, &d.text, NULL), ADIT_ERR_NOT_FOUND);
    ck_assert_int_eq(journal_file_read(d.fd, "ib", "red", &q, &d.text, NULL), ADIT_ERR_NOT_FOUND);
    int fd = openat(d.fd, "ic.log", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    ck_assert_int_eq(write(fd, "1 i {}\n", 7), 7); /* says of nobody that it is his */
    close(fd);
    ck_assert_int_eq(journal_file_read(d.fd, "ic", "red", &q, &d.text, NULL), ADIT_ERR_NOT_FOUND);
    close_disk(&d);
}
END_TEST

START_TEST(journal_file_answer_is_bounded_in_bytes)
{
    struct disk d;
    struct adit_buf lines;
    char message[JOURNAL_ENTRY_MESSAGE_CAP];
    open_disk(&d);
    adit_buf_init(&lines, JOURNAL_FILE_CAP);
    memset(message, '"', sizeof(message));
    for (int64_t at = 0; at < 2 * 240; at++) {
        ck_assert_int_eq(journal_entry_append(&lines, at, ADIT_LOG_INFO, "test",
                                              adit_view_mem(message, sizeof(message)), NULL),
                         0);
        if (at % 240 == 239) {
            ck_assert_int_eq(journal_file_append(d.fd, "ia", "red", adit_buf_view(&lines), NULL),
                             0);
            adit_buf_clear(&lines);
        }
    }
    json_t *first = ask(&d, &(struct journal_query){.from_ms = 0, .limit = 1000});
    ck_assert_uint_gt(json_array_size(first), 0);
    ck_assert_uint_lt(json_array_size(first), 480); /* the next question goes on */
    json_decref(first);
    adit_buf_fini(&lines);
    close_disk(&d);
}
END_TEST

/* ---- the sweep ---- */

static bool lives(const void *user, const char *id)
{
    return strcmp(user, id) == 0;
}

static void set_age(const struct disk *d, const char *name, int64_t age_s)
{
    struct timespec t = {adit_clock_wall_ns() / 1000000000 - age_s, 0};
    struct timespec times[2] = {t, t};
    ck_assert_int_eq(utimensat(d->fd, name, times, 0), 0);
}

static bool is_there(const struct disk *d, const char *name)
{
    return faccessat(d->fd, name, F_OK, 0) == 0;
}

START_TEST(journal_sweep_removes_what_is_old_and_what_is_too_much)
{
    struct disk d;
    uint64_t left;
    open_disk(&d);
    append(&d, "iold", 1, 9);
    append(&d, "ilive", 1, 9);
    append(&d, "inew", 1, 9);
    append(&d, "inewer", 1, 9);
    set_age(&d, "iold.log", 100);
    set_age(&d, "ilive.log", 200);
    set_age(&d, "inew.log", 20);
    set_age(&d, "inewer.log", 10);
    ck_assert_int_eq(close(openat(d.fd, "not ours", O_CREAT | O_WRONLY, 0600)), 0);
    ck_assert_int_eq(journal_file_sweep(d.fd, 50000, UINT64_MAX, lives, "ilive", &left, NULL), 0);
    ck_assert(!is_there(&d, "iold.log"));
    ck_assert(is_there(&d, "ilive.log") && is_there(&d, "inew.log") && is_there(&d, "not ours"));
    uint64_t each = left / 3;
    ck_assert_int_eq(journal_file_sweep(d.fd, 50000, 2 * each, lives, "ilive", &left, NULL), 0);
    ck_assert(!is_there(&d, "inew.log") && is_there(&d, "inewer.log"));
    ck_assert_uint_le(left, 2 * each);
    ck_assert_int_eq(journal_file_sweep(d.fd, 50000, 0, lives, "ilive", &left, NULL), 0);
    ck_assert(!is_there(&d, "ilive.log") && is_there(&d, "not ours"));
    ck_assert_uint_eq(left, 0);
    close_disk(&d);
}
END_TEST

/* ---- the journal ---- */

struct world {
    uv_loop_t uv;
    struct net_loop net;
    char dir[64];
    struct journal *journal;
    unsigned told;
    size_t lines;
    int code;
};

static int64_t frozen(void)
{
    return INT64_C(1795248000000000000);
}

static void open_world(struct world *w)
{
    memset(w, 0, sizeof(*w));
    strcpy(w->dir, "/tmp/adit-journal-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(w->dir));
    ck_assert_int_eq(uv_loop_init(&w->uv), 0);
    ck_assert_int_eq(net_loop_init(&w->net, &w->uv, NULL), 0);
    struct journal_conf conf = {&w->net, w->dir, 3600000, 1 << 30};
    ck_assert_int_eq(journal_open(&conf, &w->journal, NULL), 0);
}

static void close_world(struct world *w)
{
    journal_close(w->journal);
    net_loop_close(&w->net);
    ck_assert_int_eq(uv_run(&w->uv, UV_RUN_DEFAULT), 0);
    journal_free(w->journal);
    ck_assert_int_eq(uv_loop_close(&w->uv), 0);
    int tmp = open("/tmp", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    ck_assert_int_eq(adit_file_remove_tree(tmp, w->dir + strlen("/tmp/"), NULL), 0);
    close(tmp);
}

static void on_read(void *user, struct adit_view text, const struct adit_err *err)
{
    struct world *w = user;
    w->told++;
    w->code = err ? err->code : 0;
    if (err)
        return;
    json_t *doc = json_loadb(text.ptr, text.len, 0, NULL);
    w->lines = json_array_size(json_object_get(doc, "logs"));
    json_decref(doc);
}

static void read_found(struct world *w, int64_t from_ms, const char *search)
{
    struct journal_query q = {.from_ms = from_ms, .limit = 1000};
    (void)snprintf(q.search, sizeof(q.search), "%s", search);
    unsigned before = w->told;
    ck_assert_int_eq(journal_read(w->journal, "ia", "red", &q, on_read, w), 0);
    while (w->told == before)
        (void)uv_run(&w->uv, UV_RUN_ONCE);
}

static void read_log(struct world *w, int64_t from_ms)
{
    read_found(w, from_ms, "");
}

static void read_until(struct world *w, size_t lines)
{
    do
        read_log(w, -1);
    while (w->lines < lines);
    ck_assert_uint_eq(w->lines, lines);
}

START_TEST(journal_gives_each_line_a_time_of_its_own)
{
    struct world w;
    open_world(&w);
    adit_clock_set(NULL, frozen);
    struct journal_log *log = journal_log_open(w.journal, "ia", "red");
    for (int i = 0; i < 100; i++)
        journal_log_add(log, ADIT_LOG_INFO, "again", NULL);
    journal_log_close(log);
    read_until(&w, 100);
    read_log(&w, frozen() / 1000000 + 40); /* from the 41st on */
    ck_assert_uint_eq(w.lines, 60);
    adit_clock_set(NULL, NULL);
    close_world(&w);
}
END_TEST

START_TEST(journal_counts_what_finds_no_room_and_says_so)
{
    struct world w;
    char line[1000];
    open_world(&w);
    memset(line, 'a', sizeof(line));
    struct journal_log *log = journal_log_open(w.journal, "ia", "red");
    for (int i = 0; i < 1000; i++) /* the loop does not run: nothing is written meanwhile */
        journal_log_add_console(log, adit_view_mem(line, sizeof(line)));
    const struct journal_stats *stats = journal_stats(w.journal);
    ck_assert_uint_eq(stats->lines + stats->dropped, 1000);
    ck_assert_uint_gt(stats->dropped, 700);
    size_t taken = (size_t)stats->lines;
    read_until(&w, taken);
    journal_log_add(log, ADIT_LOG_INFO, "later", NULL);
    journal_log_close(log);
    read_until(&w, taken + 2); /* how many are missing, and the line */
    close_world(&w);
}
END_TEST

START_TEST(journal_survives_a_directory_that_takes_nothing)
{
    struct world w;
    char path[96];
    open_world(&w);
    (void)snprintf(path, sizeof(path), "%s/logs/ia.log", w.dir);
    ck_assert_int_eq(mkdir(path, 0700), 0); /* in the place of the file */
    struct journal_log *log = journal_log_open(w.journal, "ia", "red");
    journal_log_add(log, ADIT_LOG_INFO, "lost", NULL);
    journal_log_add(log, ADIT_LOG_INFO, "lost", NULL);
    journal_log_add(log, ADIT_LOG_INFO, "lost", NULL);
    while (journal_stats(w.journal)->failed_writes < 2) /* what came meanwhile is one more */
        (void)uv_run(&w.uv, UV_RUN_ONCE);
    ck_assert_int_eq(rmdir(path), 0);
    journal_log_add(log, ADIT_LOG_INFO, "kept", NULL);
    journal_log_close(log);
    read_until(&w, 2); /* with the line that says so */
    read_found(&w, -1, "3 lines are missing here");
    ck_assert_uint_eq(w.lines, 1);
    close_world(&w);
}
END_TEST

START_TEST(journal_of_nobody_takes_nothing)
{
    struct world w;
    open_world(&w);
    journal_log_add(NULL, ADIT_LOG_INFO, "x", NULL);
    journal_log_add_console(NULL, adit_view_str("x"));
    journal_log_add_dropped(NULL, 1);
    journal_log_close(NULL);
    read_log(&w, -1);
    ck_assert_int_eq(w.code, ADIT_ERR_NOT_FOUND);
    close_world(&w);
}
END_TEST

SUITE_MAIN("journal", journal_entry_takes_what_envd_says_apart,
           journal_entry_makes_hostile_lines_harmless, journal_entry_bounds_what_one_line_holds,
           journal_entry_passes_over_what_is_torn, journal_file_answers_every_form_of_question,
           journal_file_lines_have_the_form_that_clients_parse,
           journal_file_rolls_over_and_keeps_two_files,
           journal_file_read_while_it_rolls_over_misses_nothing, journal_file_closes_a_torn_line,
           journal_file_of_another_team_is_not_there, journal_file_answer_is_bounded_in_bytes,
           journal_sweep_removes_what_is_old_and_what_is_too_much,
           journal_gives_each_line_a_time_of_its_own, journal_counts_what_finds_no_room_and_says_so,
           journal_survives_a_directory_that_takes_nothing, journal_of_nobody_takes_nothing)
