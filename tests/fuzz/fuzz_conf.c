/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The text of a configuration file.
 * Oracles: values stay in their bounds; what was read, printed and read again is the same.
 */
#include "oracle.h"

#include "base/conf.h"

struct target {
    char *name;
    bool on;
    uint64_t port, size, wait;
};

static const struct adit_conf_row rows[] = {
    {"name", ADIT_CONF_STRING, offsetof(struct target, name), "adit", 0, 64, "name"},
    {"on", ADIT_CONF_BOOL, offsetof(struct target, on), "true", 0, 0, "switch"},
    {"port", ADIT_CONF_UINT, offsetof(struct target, port), "80", 1, 65535, "port"},
    {"size", ADIT_CONF_SIZE, offsetof(struct target, size), "4KiB", 0, 0, "size"},
    {"wait", ADIT_CONF_DURATION, offsetof(struct target, wait), "1s", 1, 86400000, "time"},
    {0},
};

static const struct adit_conf_spec spec = {.program = "prog", .usage = "prog", .rows = rows};

static char *values_of(const struct target *t, size_t *len)
{
    char *text;
    FILE *out = open_memstream(&text, len);
    ORACLE(out);
    adit_conf_print_values(&spec, t, out);
    ORACLE(fclose(out) == 0);
    return text;
}

static void check_round_trip(const struct target *t)
{
    struct target again;
    size_t len, again_len;
    char *text = values_of(t, &len);

    ORACLE(adit_conf_defaults(&spec, &again, NULL) == 0);
    ORACLE(adit_conf_parse_text(&spec, adit_view_mem(text, len), &again, NULL) == 0);
    char *again_text = values_of(&again, &again_len);
    ORACLE(len == again_len && memcmp(text, again_text, len) == 0);
    ORACLE(again.size == t->size && again.wait == t->wait);
    free(text);
    free(again_text);
    adit_conf_fini(&spec, &again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct target t;
    struct adit_err err = ADIT_ERR_INIT;

    ORACLE(adit_conf_defaults(&spec, &t, &err) == 0);
    int rc = adit_conf_parse_text(&spec, adit_view_mem(data, size), &t, &err);
    ORACLE(rc == err.code);
    ORACLE((rc == 0) == (err.msg[0] == '\0'));
    ORACLE(t.port >= 1 && t.port <= 65535 && t.wait >= 1 && t.wait <= 86400000);
    ORACLE(t.name && strlen(t.name) <= 64);
    if (rc == 0)
        check_round_trip(&t);
    adit_conf_fini(&spec, &t);
    return 0;
}
