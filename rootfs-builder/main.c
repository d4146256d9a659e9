/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rootfs-builder: makes what sandboxes start from.
 *
 * Theory of operation
 *
 * What:    one command a call, by its name, from the table below; each has its own options.
 * Failure: the message says what failed; exit status 1, or 2 for wrong usage.
 */
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "base/conf.h"
#include "rootfs-builder/debian.h"
#include "rootfs-builder/guest.h"
#include "rootfs-builder/image.h"
#include "rootfs-builder/oci_image.h"

static const struct builder_command *const commands[] = {
    &debian_command, &oci_command, &kernel_command, &initramfs_command, &image_command};
#define COMMAND_CNT (sizeof(commands) / sizeof(commands[0]))

static struct adit_conf_spec spec_of(const struct builder_command *command)
{
    return (struct adit_conf_spec){.program = "rootfs-builder",
                                   .usage = command->usage,
                                   .env_prefix = "ADIT_BUILDER",
                                   .rows = command->rows};
}

static const struct builder_command *find(const char *name)
{
    for (size_t i = 0; i < COMMAND_CNT; i++)
        if (strcmp(commands[i]->name, name) == 0)
            return commands[i];
    return NULL;
}

static void print_usage(FILE *out)
{
    for (size_t i = 0; i < COMMAND_CNT; i++)
        fputs(commands[i]->usage, out);
}

/* The options of all commands, as sections of the man page. */
static void print_mdoc(void)
{
    for (size_t i = 0; i < COMMAND_CNT; i++) {
        struct adit_conf_spec spec = spec_of(commands[i]);
        printf(".Ss %s\n", commands[i]->name);
        adit_conf_print_mdoc(&spec, stdout);
    }
}

/* A call without a command: a question about the program, or wrong usage. */
static int inform(const char *word)
{
    bool is_help = strcmp(word, "--help") == 0;
    if (strcmp(word, "--version") == 0) {
        printf("rootfs-builder %s\n", ADIT_VERSION);
    } else if (strcmp(word, "--help-mdoc") == 0) {
        print_mdoc();
    } else {
        print_usage(is_help ? stdout : stderr);
        return is_help ? 0 : 2;
    }
    return 0;
}

static int run(const struct builder_command *command, int argc, char **argv)
{
    struct adit_conf_spec spec = spec_of(command);
    struct builder_conf conf = {.alias = NULL};
    struct adit_err err = ADIT_ERR_INIT;
    int rest = 0, info = 0;
    int rc = adit_conf_load(&spec, argc, argv, &conf, &rest, &info, &err);
    if (rc) {
        fprintf(stderr, "rootfs-builder: %s\n", err.msg);
        return 2;
    }
    if (info)
        adit_conf_inform(&spec, info, ADIT_VERSION);
    else
        rc = command->run(&conf, argv + rest, &err);
    if (rc)
        fprintf(stderr, "rootfs-builder: %s\n", err.msg);
    adit_conf_fini(&spec, &conf);
    return rc == ADIT_ERR_BAD_INPUT ? 2 : rc != 0;
}

int main(int argc, char **argv)
{
    const char *word = argc > 1 ? argv[1] : "";
    const struct builder_command *command = find(word);
    (void)signal(SIGPIPE, SIG_IGN); /* always valid */
    return command ? run(command, argc - 1, argv + 1) : inform(word);
}
