/* SPDX-License-Identifier: Apache-2.0 */
/* Configuration from one table per program. */
/*
 * Theory of operation
 *
 * What     Every source is reduced to (name, text) pairs, and set_text() is the only place where
 * text becomes a value. So a value has one syntax and one set of bounds wherever it comes from.
 * Order    The flags are walked twice: once for --config, --help and --version, and, after file and
 *          environment, once for the values. Later sources replace what earlier ones set.
 * Limits   A file has at most ADIT_CONF_FILE_CAP bytes; what a value may be is in its row.
 * Trust    The file, the environment and the flags are the operator's; they are still checked
 * whole: an unknown name in any of them is refused, also in the environment under the prefix.
 * Ownership Strings in the target are heap copies, freed by adit_conf_fini().
 * Failure  The first bad name or value ends the load; nothing is half-applied for the caller.
 */
#include "base/conf.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/file.h"
#include "base/log.h"

#define NAME_CAP 64

#define LOG_FIELDS 8 /* a line holds so many paths */

struct unit {
    const char *name;
    uint64_t factor;
};

/* From the smallest; printing takes the largest that divides. */
static const struct unit size_units[] = {
    {"B", 1}, {"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {NULL, 0}};
static const struct unit time_units[] = {{"ms", 1},      {"s", 1000},     {"m", 60000},
                                         {"h", 3600000}, {"d", 86400000}, {NULL, 0}};

/* Return: NULL for types that have no units. */
static const struct unit *units_of(enum adit_conf_type type)
{
    switch (type) {
    case ADIT_CONF_SIZE:
        return size_units;
    case ADIT_CONF_DURATION:
        return time_units;
    default:
        return NULL;
    }
}

static const char *type_word(enum adit_conf_type type)
{
    switch (type) {
    case ADIT_CONF_STRING:
        return "TEXT";
    case ADIT_CONF_SIZE:
        return "SIZE";
    case ADIT_CONF_DURATION:
        return "TIME";
    default:
        return "N";
    }
}

static const struct adit_conf_row *find_row(const struct adit_conf_spec *spec,
                                            struct adit_view name)
{
    for (const struct adit_conf_row *row = spec->rows; row->name; row++) {
        if (adit_view_eq_str(name, row->name))
            return row;
    }
    return NULL;
}

static void *field_of(void *target, const struct adit_conf_row *row)
{
    return (char *)target + row->offset;
}

static const void *const_field_of(const void *target, const struct adit_conf_row *row)
{
    return (const char *)target + row->offset;
}

/* ---- text to values ---- */

static bool has_control(struct adit_view v)
{
    for (size_t i = 0; i < v.len; i++) {
        unsigned char c = (unsigned char)v.ptr[i];
        if ((c < 0x20 && c != '\t') || c == 0x7F)
            return true;
    }
    return false;
}

static int set_string(const struct adit_conf_row *row, struct adit_view text, char **field,
                      struct adit_err *err)
{
    if (has_control(text))
        return adit_err_set(err, ADIT_ERR_BAD_INPUT, "%s: holds a control character", row->name);
    if (text.len < row->min || (row->max && text.len > row->max))
        return adit_err_set(err, ADIT_ERR_BAD_INPUT,
                            "%s: length is not from %" PRIu64 " to %" PRIu64, row->name, row->min,
                            row->max);
    char *copy = adit_view_dup(text);
    if (!copy)
        return adit_err_set(err, ADIT_ERR_NO_MEMORY, "%s: out of memory", row->name);
    free(*field);
    *field = copy;
    return 0;
}

static int set_bool(const struct adit_conf_row *row, struct adit_view text, bool *field,
                    struct adit_err *err)
{
    bool is_true = adit_view_eq_str(text, "true");
    if (!is_true && !adit_view_eq_str(text, "false"))
        return adit_err_set(err, ADIT_ERR_BAD_INPUT, "%s: is neither true nor false", row->name);
    *field = is_true;
    return 0;
}

/* Digits with one of @units behind them (0 may go without), or digits alone when @units is NULL. */
static bool parse_number(struct adit_view text, const struct unit *units, uint64_t *out)
{
    size_t digits = 0;
    while (digits < text.len && text.ptr[digits] >= '0' && text.ptr[digits] <= '9')
        digits++;
    struct adit_view suffix = adit_view_mem(text.ptr + digits, text.len - digits);
    if (adit_view_u64(adit_view_mem(text.ptr, digits), UINT64_MAX, out))
        return false;
    if (suffix.len == 0 && (!units || *out == 0))
        return true;
    for (; units && units->name; units++) {
        if (adit_view_eq_str(suffix, units->name))
            return !__builtin_mul_overflow(*out, units->factor, out);
    }
    return false;
}

static void print_number(FILE *out, uint64_t n, const struct unit *units)
{
    const struct unit *best = units;
    for (; n && units && units->name; units++) {
        if (n % units->factor == 0)
            best = units;
    }
    if (n == 0 || !best)
        fprintf(out, "%" PRIu64, n);
    else
        fprintf(out, "%" PRIu64 "%s", n / best->factor, best->name);
}

static int set_number(const struct adit_conf_row *row, struct adit_view text, uint64_t *field,
                      struct adit_err *err)
{
    uint64_t n;
    const char *wanted = row->type == ADIT_CONF_SIZE       ? "a number with B, KiB, MiB or GiB"
                         : row->type == ADIT_CONF_DURATION ? "a number with ms, s, m, h or d"
                                                           : "a decimal number";
    if (!parse_number(text, units_of(row->type), &n))
        return adit_err_set(err, ADIT_ERR_BAD_INPUT, "%s: is not %s", row->name, wanted);
    if (n < row->min)
        return adit_err_set(err, ADIT_ERR_BAD_INPUT, "%s: is below %" PRIu64, row->name, row->min);
    if (row->max && n > row->max)
        return adit_err_set(err, ADIT_ERR_BAD_INPUT, "%s: is above %" PRIu64, row->name, row->max);
    *field = n;
    return 0;
}

static int set_text(const struct adit_conf_row *row, struct adit_view text, void *target,
                    struct adit_err *err)
{
    void *field = field_of(target, row);
    switch (row->type) {
    case ADIT_CONF_STRING:
        return set_string(row, text, field, err);
    case ADIT_CONF_BOOL:
        return set_bool(row, text, field, err);
    default:
        return set_number(row, text, field, err);
    }
}

/* ---- sources ---- */

static void zero(const struct adit_conf_spec *spec, void *target)
{
    for (const struct adit_conf_row *row = spec->rows; row->name; row++) {
        void *field = field_of(target, row);
        if (row->type == ADIT_CONF_STRING)
            *(char **)field = NULL;
        else if (row->type == ADIT_CONF_BOOL)
            *(bool *)field = false;
        else
            *(uint64_t *)field = 0;
    }
}

/* A default is not held against the row's bounds when it is absent: "" and 0 then mean "not set".
 */
int adit_conf_defaults(const struct adit_conf_spec *spec, void *target, struct adit_err *err)
{
    zero(spec, target);
    for (const struct adit_conf_row *row = spec->rows; row->name; row++) {
        struct adit_conf_row unbound = *row;
        unbound.min = 0;
        int rc = 0;
        if (row->default_text)
            rc = set_text(row, adit_view_str(row->default_text), target, err);
        else if (row->type == ADIT_CONF_STRING)
            rc = set_text(&unbound, adit_view_str(""), target, err);
        if (rc)
            return adit_err_wrap(err, "default"), rc;
    }
    return 0;
}

static int set_line(const struct adit_conf_spec *spec, struct adit_view line, void *target,
                    struct adit_err *err)
{
    struct adit_view name, text;
    line = adit_view_trim(line);
    if (line.len == 0 || line.ptr[0] == '#')
        return 0;
    if (!adit_view_split(line, '=', &name, &text))
        return adit_err_set(err, ADIT_ERR_BAD_INPUT, "is not \"name = value\"");
    const struct adit_conf_row *row = find_row(spec, adit_view_trim(name));
    if (!row)
        return adit_err_set(err, ADIT_ERR_BAD_INPUT, "unknown name %.*s",
                            name.len < NAME_CAP ? (int)name.len : NAME_CAP, name.ptr);
    return set_text(row, adit_view_trim(text), target, err);
}

int adit_conf_parse_text(const struct adit_conf_spec *spec, struct adit_view text, void *target,
                         struct adit_err *err)
{
    for (unsigned number = 1; text.len; number++) {
        struct adit_view line;
        (void)adit_view_split(text, '\n', &line, &text); /* the last line may lack its end */
        int rc = set_line(spec, line, target, err);
        if (rc)
            return adit_err_wrap(err, "line %u", number), rc;
    }
    return 0;
}

/* @path: given by --config, and must exist; NULL: the default, which may be missing. */
static int load_file(const struct adit_conf_spec *spec, const char *path, void *target,
                     struct adit_err *err)
{
    const char *from = path ? path : spec->file;
    if (!from || (!path && access(from, F_OK) && errno == ENOENT))
        return 0;
    struct adit_buf text;
    adit_buf_init(&text, ADIT_CONF_FILE_CAP);
    int rc = adit_file_read(AT_FDCWD, from, &text, err);
    if (!rc) {
        rc = adit_conf_parse_text(spec, adit_buf_view(&text), target, err);
        if (rc)
            adit_err_wrap(err, "%s", from);
    }
    adit_buf_fini(&text);
    return rc;
}

/* "LISTEN_PORT" as "listen-port". Return: false when it is no upper-case name. */
static bool name_of_env(struct adit_view key, char out[NAME_CAP])
{
    if (key.len >= NAME_CAP)
        return false;
    for (size_t i = 0; i < key.len; i++) {
        char c = key.ptr[i];
        if (c >= 'A' && c <= 'Z')
            out[i] = (char)(c | 0x20);
        else if (c >= '0' && c <= '9')
            out[i] = c;
        else if (c == '_')
            out[i] = '-';
        else
            return false;
    }
    out[key.len] = '\0';
    return true;
}

static int load_env(const struct adit_conf_spec *spec, void *target, struct adit_err *err)
{
    size_t prefix_len = spec->env_prefix ? strlen(spec->env_prefix) : 0;
    for (char **var = environ; prefix_len && var && *var; var++) {
        struct adit_view all = adit_view_str(*var), key, text;
        if (!adit_view_has_prefix(all, spec->env_prefix) || (*var)[prefix_len] != '_')
            continue;
        (void)adit_view_split(all, '=', &key, &text); /* an entry without "=" has an empty value */
        char name[NAME_CAP];
        key = adit_view_mem(key.ptr + prefix_len + 1, key.len - prefix_len - 1);
        const struct adit_conf_row *row =
            name_of_env(key, name) ? find_row(spec, adit_view_str(name)) : NULL;
        int rc =
            row ? set_text(row, text, target, err)
                : adit_err_set(err, ADIT_ERR_BAD_INPUT, "unknown name %s_%.*s", spec->env_prefix,
                               (int)(key.len < NAME_CAP ? key.len : NAME_CAP), key.ptr);
        if (rc)
            return adit_err_wrap(err, "environment"), rc;
    }
    return 0;
}

/*
 * One flag of the command line.
 * @row:   what it sets; NULL for those that every program has, which @own names by its letter:
 *         'c' config, 'h' help, 'v' version, 'm' help for the man page
 * @words: how many words of argv it took
 */
struct flag {
    const struct adit_conf_row *row;
    char own;
    struct adit_view text;
    int words;
};

static bool find_flag(const struct adit_conf_spec *spec, struct adit_view name, struct flag *f,
                      bool *negated)
{
    static const struct {
        const char *name;
        char letter;
    } own[] = {{"config", 'c'}, {"help", 'h'}, {"version", 'v'}, {"help-mdoc", 'm'}};
    *negated = false;
    f->own = 0;
    f->row = find_row(spec, name);
    if (!f->row && adit_view_has_prefix(name, "no-")) {
        f->row = find_row(spec, adit_view_mem(name.ptr + 3, name.len - 3));
        *negated = true;
        return f->row && f->row->type == ADIT_CONF_BOOL;
    }
    for (size_t i = 0; !f->row && !f->own && i < sizeof own / sizeof own[0]; i++)
        f->own = adit_view_eq_str(name, own[i].name) ? own[i].letter : 0;
    return f->row || f->own;
}

/* @word is argv[at] and begins with "--"; @next is the one behind it, or NULL. */
static int parse_flag(const struct adit_conf_spec *spec, const char *word, const char *next,
                      struct flag *f, struct adit_err *err)
{
    struct adit_view name;
    bool negated;
    bool has_text = adit_view_split(adit_view_str(word + 2), '=', &name, &f->text);
    if (!find_flag(spec, name, f, &negated))
        return adit_err_set(err, ADIT_ERR_BAD_INPUT, "unknown flag %.100s", word);

    bool is_switch = f->row ? f->row->type == ADIT_CONF_BOOL : f->own != 'c';
    f->words = 1;
    if (is_switch) {
        f->text = adit_view_str(negated ? "false" : "true");
        return has_text ? adit_err_set(err, ADIT_ERR_BAD_INPUT, "%.100s: takes no value", word) : 0;
    }
    if (!has_text) {
        if (!next)
            return adit_err_set(err, ADIT_ERR_BAD_INPUT, "%.100s: wants a value", word);
        f->text = adit_view_str(next);
        f->words = 2;
    }
    return 0;
}

/* What the first walk over the flags finds. The path lies in argv. */
struct own_flags {
    const char *config;
    int info;
};

/* Walk over the flags: with @own for the program's own ones, else setting values in @target. */
static int walk_flags(const struct adit_conf_spec *spec, int argc, char **argv, void *target,
                      struct own_flags *own, int *rest, struct adit_err *err)
{
    int at = 1;
    while (at < argc && argv[at][0] == '-' && argv[at][1]) {
        struct flag f;
        if (strcmp(argv[at], "--") == 0) {
            at++;
            break;
        }
        if (argv[at][1] != '-')
            return adit_err_set(err, ADIT_ERR_BAD_INPUT, "unknown flag %.100s", argv[at]);
        int rc = parse_flag(spec, argv[at], at + 1 < argc ? argv[at + 1] : NULL, &f, err);
        if (!rc && !own && f.row)
            rc = set_text(f.row, f.text, target, err);
        if (rc)
            return rc;
        if (own && f.own == 'c')
            own->config = f.text.ptr;
        else if (own && f.own && !own->info)
            own->info = (unsigned char)f.own;
        at += f.words;
    }
    *rest = at < argc ? at : argc;
    return 0;
}

static int load_all(const struct adit_conf_spec *spec, int argc, char **argv, void *target,
                    struct own_flags *own, int *rest, struct adit_err *err)
{
    int rc = adit_conf_defaults(spec, target, err);
    if (!rc)
        rc = walk_flags(spec, argc, argv, target, own, rest, err);
    if (rc || own->info)
        return rc;
    rc = load_file(spec, own->config, target, err);
    if (!rc)
        rc = load_env(spec, target, err);
    if (!rc)
        rc = walk_flags(spec, argc, argv, target, NULL, rest, err);
    return rc;
}

int adit_conf_load(const struct adit_conf_spec *spec, int argc, char **argv, void *target,
                   int *rest, int *info, struct adit_err *err)
{
    struct own_flags own = {NULL, 0};
    int rc = load_all(spec, argc, argv, target, &own, rest, err);
    *info = own.info;
    if (rc)
        adit_conf_fini(spec, target);
    return rc;
}

void adit_conf_fini(const struct adit_conf_spec *spec, void *target)
{
    for (const struct adit_conf_row *row = spec->rows; row->name; row++) {
        if (row->type == ADIT_CONF_STRING)
            free(*(char **)field_of(target, row));
    }
    zero(spec, target);
}

/* ---- printing ---- */

void adit_conf_print_help(const struct adit_conf_spec *spec, FILE *out)
{
    fprintf(out, "%s\nOptions:\n", spec->usage);
    for (const struct adit_conf_row *row = spec->rows; row->name; row++) {
        if (row->type == ADIT_CONF_BOOL)
            fprintf(out, "  --[no-]%s\n", row->name);
        else
            fprintf(out, "  --%s %s\n", row->name, type_word(row->type));
        fprintf(out, "        %s", row->help);
        if (row->default_text && row->default_text[0])
            fprintf(out, " (default %s)", row->default_text);
        fputc('\n', out);
    }
    fprintf(out, "  --config FILE\n        read this file");
    if (spec->file)
        fprintf(out, " instead of %s", spec->file);
    fprintf(out, "\n  --help\n        print this text\n  --version\n        print the version\n");
    if (spec->env_prefix)
        fprintf(out, "Each option can also be set as %s_NAME in the environment.\n",
                spec->env_prefix);
}

static void print_value(const struct adit_conf_row *row, const void *field, FILE *out)
{
    if (row->type == ADIT_CONF_STRING)
        fputs(*(char *const *)field ? *(char *const *)field : "", out);
    else if (row->type == ADIT_CONF_BOOL)
        fputs(*(const bool *)field ? "true" : "false", out);
    else
        print_number(out, *(const uint64_t *)field, units_of(row->type));
}

void adit_conf_print_values(const struct adit_conf_spec *spec, const void *target, FILE *out)
{
    for (const struct adit_conf_row *row = spec->rows; row->name; row++) {
        fprintf(out, "%s = ", row->name);
        print_value(row, const_field_of(target, row), out);
        fputc('\n', out);
    }
}

/* Each value on its line in @text becomes a field; LOG_FIELDS of them a log line. */
static void log_values(const struct adit_conf_spec *spec, struct adit_view text)
{
    struct adit_log_field fields[LOG_FIELDS + 1];
    struct adit_view line;
    size_t n = 0;
    for (const struct adit_conf_row *row = spec->rows; row->name; row++) {
        (void)adit_view_split(text, '\n', &line, &text);
        size_t skip = strlen(row->name) + strlen(" = ");
        fields[n++] = LOG_V(row->name, adit_view_mem(line.ptr + skip, line.len - skip));
        if (n < LOG_FIELDS && row[1].name)
            continue;
        fields[n] = (struct adit_log_field){0};
        adit_log_fields(ADIT_LOG_INFO, "configuration", fields);
        n = 0;
    }
}

void adit_conf_log(const struct adit_conf_spec *spec, const void *target)
{
    char *text = NULL;
    size_t len = 0;
    FILE *out = adit_log_enabled(ADIT_LOG_INFO) ? open_memstream(&text, &len) : NULL;
    if (!out)
        return;
    adit_conf_print_values(spec, target, out);
    if (fclose(out) == 0) /* else there was no memory for all of it */
        log_values(spec, adit_view_mem(text, len));
    free(text);
}

/* Text that roff(7) would read as a request or an escape is kept from that. */
static void print_roff(const char *text, FILE *out)
{
    if (*text == '.' || *text == '\'')
        fputs("\\&", out);
    for (; *text; text++) {
        if (*text == '\\')
            fputs("\\e", out);
        else
            fputc(*text, out);
    }
}

void adit_conf_print_mdoc(const struct adit_conf_spec *spec, FILE *out)
{
    fputs(".Bl -tag -width Ds\n", out);
    for (const struct adit_conf_row *row = spec->rows; row->name; row++) {
        if (row->type == ADIT_CONF_BOOL)
            fprintf(out, ".It Fl -%s , Fl -no-%s\n", row->name, row->name);
        else
            fprintf(out, ".It Fl -%s Ar %s\n", row->name, type_word(row->type));
        print_roff(row->help, out);
        fputs(".\n", out);
        if (row->default_text && row->default_text[0]) {
            fputs("The default is ", out);
            print_roff(row->default_text, out);
            fputs(".\n", out);
        }
    }
    fputs(".El\n", out);
}

void adit_conf_inform(const struct adit_conf_spec *spec, int info, const char *version)
{
    if (info == 'h')
        adit_conf_print_help(spec, stdout);
    else if (info == 'm')
        adit_conf_print_mdoc(spec, stdout);
    else
        printf("%s %s\n", spec->program, version);
}
