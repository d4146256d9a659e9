/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Configuration from one table per program.
 *
 * Theory of operation
 *
 * A row gives name, type, default, bounds, help and where in the program's struct the value goes.
 * From the table come: flags (--name VALUE, --name=VALUE; booleans --name / --no-name), environment
 * (<PREFIX>_<NAME> in upper case, "-" as "_"), the file ("name = value" lines, # comments) and
 * --help. Order: default, file, environment, flag. An unknown key or a value out of range is
 * refused with the key's name. Booleans are true or false. Sizes take B, KiB, MiB, GiB; durations
 * ms, s, m, h, d; only 0 goes without a unit. No value holds control characters.
 */
#ifndef ADIT_BASE_CONF_H
#define ADIT_BASE_CONF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "base/view.h"

/* Largest configuration file. */
#define ADIT_CONF_FILE_CAP (256 * 1024)

enum adit_conf_type {
    ADIT_CONF_STRING,   /* char *, heap, freed by adit_conf_fini; "" allowed */
    ADIT_CONF_BOOL,     /* bool */
    ADIT_CONF_UINT,     /* uint64_t */
    ADIT_CONF_SIZE,     /* uint64_t, bytes */
    ADIT_CONF_DURATION, /* uint64_t, milliseconds */
};

struct adit_conf_row {
    const char *name; /* lower-case, words joined by "-"; NULL ends the table */
    enum adit_conf_type type;
    size_t offset;            /* offsetof(struct <program>_conf, field) */
    const char *default_text; /* in the syntax of the file; NULL: "" or 0 */
    uint64_t min, max;        /* UINT, SIZE, DURATION; strings: length; max 0: no maximum */
    const char *help;         /* one line */
};

struct adit_conf_spec {
    const char *program;    /* "broker" */
    const char *usage;      /* lines printed before the options by --help */
    const char *env_prefix; /* "ADIT_BROKER" */
    const char *file;       /* default file, read when it exists; --config FILE replaces it */
    const struct adit_conf_row *rows;
};

/*
 * Read everything into @target (zeroed by this function first). argv[1..] flags are parsed until
 * the first word that is not a flag or "--"; *rest is the index of that word. --help, --version and
 * --help-mdoc (for the man pages) are reported by *info = 'h', 'v' or 'm' (0 otherwise): the caller
 * calls adit_conf_inform() and exits 0.
 * Errors: ADIT_ERR_BAD_INPUT with the key's name. On failure nothing is owned by @target.
 */
ADIT_MUST_CHECK int adit_conf_load(const struct adit_conf_spec *spec, int argc, char **argv,
                                   void *target, int *rest, int *info, struct adit_err *err);
void adit_conf_fini(const struct adit_conf_spec *spec, void *target);
/* The parts of adit_conf_load() that do no I/O: the defaults into @target, whatever it held before;
 * the text of a file over them. Errors as above; @target stays valid and is owned in any case. */
ADIT_MUST_CHECK int adit_conf_defaults(const struct adit_conf_spec *spec, void *target,
                                       struct adit_err *err);
ADIT_MUST_CHECK int adit_conf_parse_text(const struct adit_conf_spec *spec, struct adit_view text,
                                         void *target, struct adit_err *err);
/* The --help text / the effective values, one "name = value" a line. */
void adit_conf_print_help(const struct adit_conf_spec *spec, FILE *out);
void adit_conf_print_values(const struct adit_conf_spec *spec, const void *target, FILE *out);
/* The effective values as log lines, for the start of a program. Secrets are never values: options
 * name the files that hold them. Without memory nothing is logged. */
void adit_conf_log(const struct adit_conf_spec *spec, const void *target);
/* The options as a man page section (mdoc .Bl list). */
void adit_conf_print_mdoc(const struct adit_conf_spec *spec, FILE *out);
/* What *info asks for, on standard output. */
void adit_conf_inform(const struct adit_conf_spec *spec, int info, const char *version);

#endif
