/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The table of languages.
 *
 * Theory of operation
 *
 * What: everything that differs between languages is a row here and a program in programs/. The
 * programs are in envd itself, compressed (Makefile); the command line of a kernel has only a few
 * words that read the program from the channel. So nothing has to be in an image but the runtime.
 */
#include "envd/kernel/kernel_language.h"

#include <stdio.h>
#include <unistd.h>

#include "envd/kernel/kernel_message.h"
#include "net/gzip.h"

#define PATH_CAP 4096

/* The program's bytes, between two labels. */
#define EMBED(name, file)                                                                          \
    __asm__(".pushsection .rodata." #name "\n" #name ":\n.incbin \"build/gen/kernel/" file         \
            ".gz\"\n" #name "_end:\n.popsection\n");                                               \
    extern const char name[] __attribute__((visibility("hidden")));                                \
    extern const char name##_end[] __attribute__((visibility("hidden")))

EMBED(kernel_python, "python.py");

/* The channel leaves 3, where a cell would find it at once and its children inherit it. */
static const char python_boot[] =
    "import fcntl,os;d=fcntl.fcntl(3,1030,200);os.close(3);s=open(d,'rb',closefd=False);"
    "exec(compile(s.read(int(s.readline()[2:])),'<kernel>','exec'),"
    "{'__name__':'adit_kernel','channel_fd':d,'channel_source':s})";
static const char *const python_options[] = {"-c", NULL};

const struct kernel_language kernel_languages[] = {
    {"python", "python3", "python3", python_options, python_boot, kernel_python, kernel_python_end,
     true},
};
const size_t kernel_language_cnt = sizeof kernel_languages / sizeof kernel_languages[0];

static const struct {
    const char *alias, *name;
} aliases[] = {{"js", "javascript"}, {"ts", "typescript"}};

const struct kernel_language *kernel_language_find(struct adit_view name)
{
    name = adit_view_trim(name);
    for (size_t i = 0; i < sizeof aliases / sizeof aliases[0]; i++)
        if (adit_view_ieq_str(name, aliases[i].alias))
            name = adit_view_str(aliases[i].name);
    for (size_t i = 0; i < kernel_language_cnt; i++)
        if (adit_view_ieq_str(name, kernel_languages[i].name))
            return &kernel_languages[i];
    return NULL;
}

bool kernel_language_is_installed(const struct kernel_language *l, const char *path)
{
    char file[PATH_CAP];
    struct adit_view rest = adit_view_str(path), dir;
    for (bool more = true; more;) {
        more = adit_view_split(rest, ':', &dir, &rest);
        int len = snprintf(file, sizeof file, "%.*s/%s", ADIT_VIEW_ARG(dir), l->runtime);
        if (len > 0 && (size_t)len < sizeof file && access(file, X_OK) == 0)
            return true;
    }
    return false;
}

int kernel_language_put_source(const struct kernel_language *l, struct adit_buf *out,
                               struct adit_err *err)
{
    struct adit_buf source;
    adit_buf_init(&source, KERNEL_LANGUAGE_SOURCE_MAX);
    struct adit_view packed = adit_view_mem(l->source, (size_t)(l->source_end - l->source));
    int code = gzip_decode_all(packed, KERNEL_LANGUAGE_SOURCE_MAX, &source, err);
    if (code == ADIT_OK &&
        kernel_message_put(out, KERNEL_ORDER_SOURCE, adit_buf_view(&source)) != ADIT_OK)
        code = adit_err_set(err, ADIT_ERR_NO_MEMORY, "out of memory");
    adit_buf_fini(&source);
    return code;
}
