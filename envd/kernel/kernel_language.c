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
    extern const char name[] /* NOLINT(bugprone-macro-parentheses) */ __attribute__((              \
        visibility("hidden")));                                                                    \
    extern const char name##_end[] __attribute__((visibility("hidden")))

EMBED(kernel_python, "python.py");
EMBED(kernel_charts, "charts.py");
EMBED(kernel_plain, "plain.py");
EMBED(kernel_ipython, "ipython.py");
EMBED(kernel_javascript, "javascript.js");
EMBED(kernel_translation, "javascript_translation.js");
EMBED(kernel_bash, "bash.sh");
EMBED(kernel_r, "r.R");
EMBED(kernel_java, "java.java");

/* The channel leaves 3, where a cell would find it at once and its children inherit it. A child
 * compiles: what that needs of memory (2.5 MB) would stay with the kernel. */
static const char python_boot[] =
    "import fcntl,os,marshal\n"
    "d=fcntl.fcntl(3,1030,200);os.close(3);s=open(d,'rb',closefd=False)\n"
    "t=s.read(int(s.readline()[2:]));r,w=os.pipe()\n"
    "if not os.fork():\n"
    " with open(w,'wb') as f:f.write(marshal.dumps(compile(t,'<kernel>','exec')))\n"
    " os._exit(0)\n"
    "os.close(w)\n"
    "with open(r,'rb') as f:c=marshal.load(f)\n"
    "os.wait();del t\n"
    "exec(c,{'__name__':'adit_kernel','channel_fd':d,'channel_source':s})";
static const char *const python_options[] = {"-c", NULL};

/* The program becomes the command line, from which the shell takes it when it begins again. */
static const char bash_boot[] =
    "IFS=' ' read -r -u 3 k n; LC_ALL=C IFS= read -r -d '' -N \"$n\" -u 3 s; "
    "exec \"$BASH\" --noprofile --norc -c \"$s\" 201>&1 202>&2 203<&3 3<&-";
static const char *const bash_options[] = {"--noprofile", "--norc", "-c", NULL};

/* Reads the two texts of the program, each byte by byte up to its length, and leaves the rest to
 * it; its names are its own. Node marks 3 close-on-exec itself. */
#define JAVASCRIPT_BOOT(language)                                                                  \
    "{const fs=require('fs'),b=Buffer.alloc(1),t=()=>{let h='',n=0;"                               \
    "while(fs.readSync(3,b)&&b[0]!=10)h+=b.latin1Slice();const s=Buffer.alloc(+h.slice(2));"       \
    "while(n<s.length)n+=fs.readSync(3,s,n,s.length-n);return s};"                                 \
    "require('vm').runInThisContext(`(function(require,importModule,language){${t()}${t()}})`,"    \
    "{filename:'adit:kernel'})(require,(s,o)=>import(s,o),'" language "')}"
/* The parser is one of Node's internals; the check is of what an ended cell leaves open. */
static const char *const javascript_options[] = {"--expose-internals",
                                                 "--no-force-async-hooks-checks", "-e", NULL};

/* Those that take programs from files alone get one, which they remove. */
#define SHELL_BOOT(file)                                                                           \
    "IFS=' ' read -r k n <&3; d=$(mktemp -d) && head -c \"$n\" <&3 >\"$d/" file "\" || exit; "
static const char r_boot[] =
    SHELL_BOOT("kernel.R") "mkfifo \"$d/orders\" \"$d/news\" || exit; "
                           "(trap '' INT; exec cat <&3 >\"$d/orders\") & "
                           "(trap '' INT; exec cat <\"$d/news\" >&3) & "
                           "exec Rscript --vanilla \"$d/kernel.R\" \"$d\" 3<&-";
static const char java_boot[] =
    SHELL_BOOT("Kernel.java") "exec java -Dfile.encoding=UTF-8 --add-modules jdk.jshell "
                              "--add-opens java.base/java.io=ALL-UNNAMED \"$d/Kernel.java\" \"$d\"";
static const char *const shell_options[] = {"-c", NULL};

const struct kernel_language kernel_languages[] = {
    {
        .name = "python",
        .runtime = "python3",
        .command = "python3",
        .package = "python3",
        .options = python_options,
        .boot = python_boot,
        .sources = {{kernel_python, kernel_python_end},
                    {kernel_charts, kernel_charts_end},
                    {kernel_plain, kernel_plain_end},
                    {kernel_ipython, kernel_ipython_end}},
        .is_default = true,
        .is_pooled = true,
    },
    {
        .name = "javascript",
        .runtime = "node",
        .command = "node",
        .package = "nodejs",
        .options = javascript_options,
        .boot = JAVASCRIPT_BOOT("javascript"),
        .sources = {{kernel_javascript, kernel_javascript_end},
                    {kernel_translation, kernel_translation_end}},
        .is_default = true,
    },
    {
        .name = "typescript",
        .runtime = "node",
        .command = "node",
        .package = "nodejs",
        .options = javascript_options,
        .boot = JAVASCRIPT_BOOT("typescript"),
        .sources = {{kernel_javascript, kernel_javascript_end},
                    {kernel_translation, kernel_translation_end}},
    },
    {
        .name = "bash",
        .runtime = "bash",
        .command = "bash",
        .package = "bash",
        .options = bash_options,
        .boot = bash_boot,
        .sources = {{kernel_bash, kernel_bash_end}},
    },
    {
        .name = "r",
        .runtime = "Rscript",
        .command = "sh",
        .package = "r-base-core",
        .options = shell_options,
        .boot = r_boot,
        .sources = {{kernel_r, kernel_r_end}},
    },
    {
        .name = "java",
        .runtime = "jshell",
        .command = "sh",
        .package = "default-jdk-headless",
        .options = shell_options,
        .boot = java_boot,
        .sources = {{kernel_java, kernel_java_end}},
    },
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

static int put_text(const struct kernel_source_text *text, struct adit_buf *out,
                    struct adit_err *err)
{
    struct adit_buf source;
    adit_buf_init(&source, KERNEL_LANGUAGE_SOURCE_MAX);
    struct adit_view packed = adit_view_mem(text->start, (size_t)(text->end - text->start));
    int code = gzip_decode_all(packed, KERNEL_LANGUAGE_SOURCE_MAX, &source, err);
    if (code == ADIT_OK &&
        kernel_message_put(out, KERNEL_ORDER_SOURCE, adit_buf_view(&source)) != ADIT_OK)
        code = adit_err_set(err, ADIT_ERR_NO_MEMORY, "out of memory");
    adit_buf_fini(&source);
    return code;
}

int kernel_language_put_source(const struct kernel_language *l, struct adit_buf *out,
                               struct adit_err *err)
{
    int code = ADIT_OK;
    for (size_t i = 0; code == ADIT_OK && i < KERNEL_LANGUAGE_SOURCES_MAX; i++)
        if (l->sources[i].start)
            code = put_text(&l->sources[i], out, err);
    return code;
}
