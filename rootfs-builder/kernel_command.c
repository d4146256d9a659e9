/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rootfs-builder kernel: a kernel and its modules into the guest directory.
 *
 * Theory of operation
 *
 * What:    the image as an ELF file, which every hypervisor takes and which starts faster, and as
 * it came; of the modules those that a guest needs, with lists in the order of loading. Nothing is
 * done when the same inputs made what is there.
 * Order:   all is made in a folder of its own, put to disk, and moved into place file by file,
 * kernel.json last: a builder that was killed is seen by a file that does not fit, and does it
 * again.
 * Locking: flock on <out>/.lock.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/json.h"
#include "rootfs-builder/guest.h"
#include "rootfs-builder/kernel_image.h"
#include "rootfs-builder/kernel_source.h"
#include "rootfs-builder/module_order.h"
#include "rootfs-builder/tool.h"

#define JSON_CAP 4096u
#define LIST_CAP (8u * 1024 * 1024)
#define WORK ".kernel"

enum list { LIST_ORDER, LIST_PCI, LIST_LATE, LIST_CNT };
static const char *const list_names[LIST_CNT] = {"order", "order.pci", "order.late"};

/* By virtio to the disks and to the host; then what redirects connections (envd/egress), and what
 * gives memory back to the host. */
static const struct {
    enum list list;
    const char *name;
} wanted[] = {
    {LIST_ORDER, "virtio_mmio"},
    {LIST_ORDER, "virtio_blk"},
    {LIST_ORDER, "erofs"},
    {LIST_ORDER, "overlay"},
    {LIST_ORDER, "ext4"},
    {LIST_ORDER, "vmw_vsock_virtio_transport"},
    {LIST_PCI, "virtio_pci"},
    {LIST_LATE, "nf_tables"},
    {LIST_LATE, "nft_chain_nat"},
    {LIST_LATE, "nft_redir"},
    {LIST_LATE, "nft_queue"},
    {LIST_LATE, "nfnetlink_queue"},
    {LIST_LATE, "nft_reject_ipv4"},
    {LIST_LATE, "nft_reject_ipv6"},
    {LIST_LATE, "nfnetlink_cttimeout"},
    {LIST_LATE, "virtio_balloon"},
};

static const struct adit_conf_row rows[] = {
    {"out", ADIT_CONF_STRING, BUILDER_ROW(out), GUEST_DIR, 1, 3000, "guest directory"},
    {"suite", ADIT_CONF_STRING, BUILDER_ROW(suite), "bookworm", 1, 64, "Debian release"},
    {"package", ADIT_CONF_STRING, BUILDER_ROW(kernel_package), "linux-image-cloud-amd64", 1, 128,
     "package of the kernel, or one that depends on it"},
    {"kernel", ADIT_CONF_STRING, BUILDER_ROW(kernel), "", 0, 3000,
     "take this kernel instead, a bzImage or an ELF vmlinux"},
    {"modules", ADIT_CONF_STRING, BUILDER_ROW(modules), "", 0, 3000,
     "with --kernel: the folder of its modules.dep; none: all is built in"},
    {"load", ADIT_CONF_STRING, BUILDER_ROW(load), "", 0, 1000,
     "more modules that guests load, separated by commas"},
    BUILDER_ROWS_END,
};

/* @source: what it is made from. Descriptors are -1 when closed. @out: absolute. */
struct build {
    const struct builder_conf *conf;
    struct kernel_source source;
    char out[PATH_MAX], work[PATH_MAX], fingerprint[FINGERPRINT_LEN + 1];
    int out_fd, lock_fd, work_fd;
};

/* ---- the image ---- */

struct mapping {
    void *start;
    size_t len;
};

static int map_file(const char *path, struct mapping *m, struct adit_err *err)
{
    struct stat st;
    ADIT_CLEANUP_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) != 0)
        return adit_err_sys(err, errno, "open %s", path);
    if (!S_ISREG(st.st_mode) || st.st_size <= 0 || st.st_size > KERNEL_IMAGE_MAX)
        return adit_err_set(err, ADIT_ERR_BAD_INPUT, "%s: not a file, empty, or too large", path);
    m->len = (size_t)st.st_size;
    m->start = mmap(NULL, m->len, PROT_READ, MAP_PRIVATE, fd, 0);
    return m->start == MAP_FAILED ? adit_err_sys(err, errno, "map %s", path) : 0;
}

/* Run a decompressor from @in into the new file @name of the work folder. */
static int decompress(const struct build *b, const char *tool, const char *package,
                      struct adit_view in, const char *name, struct adit_err *err)
{
    ADIT_CLEANUP_CLOSE int from = memfd_create("compressed", MFD_CLOEXEC);
    ADIT_CLEANUP_CLOSE int to =
        openat(b->work_fd, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    if (from < 0 || to < 0)
        return adit_err_sys(err, errno, "make %s", name);
    while (in.len > 0) {
        ssize_t n = write(from, in.ptr, in.len);
        if (n < 0 && errno != EINTR)
            return adit_err_sys(err, errno, "write %s", name);
        in = adit_view_mem(in.ptr + (n > 0 ? n : 0), in.len - (size_t)(n > 0 ? n : 0));
    }
    if (lseek(from, 0, SEEK_SET) != 0)
        return adit_err_sys(err, errno, "write %s", name);
    const char *const argv[] = {tool, "-dc", NULL};
    const struct tool_call call = {.argv = argv, .package = package, .in = from, .out = to};
    int rc = tool_run(&call, err);
    return rc ? adit_err_wrap(err, "decompress %s", name) : 0;
}

static int check_elf(const struct build *b, struct adit_err *err)
{
    char path[PATH_MAX + 16];
    struct mapping m;
    struct kernel_image image;
    (void)snprintf(path, sizeof(path), "%s/vmlinux", b->work);
    int rc = map_file(path, &m, err);
    if (rc)
        return rc;
    rc = kernel_image_parse(adit_view_mem(m.start, m.len), &image, err);
    if (!rc && image.kind != KERNEL_IMAGE_ELF)
        rc = adit_err_set(err, ADIT_ERR_BAD_INPUT, "what is compressed in the kernel is no ELF");
    (void)munmap(m.start, m.len); /* always valid */
    return rc;
}

static int make_image(const struct build *b, struct adit_err *err)
{
    struct mapping m;
    struct kernel_image image;
    int rc = map_file(b->source.image, &m, err);
    if (rc)
        return rc;
    struct adit_view file = adit_view_mem(m.start, m.len);
    rc = kernel_image_parse(file, &image, err);
    bool is_elf = !rc && image.kind == KERNEL_IMAGE_ELF;
    if (!rc)
        rc = adit_file_replace_lazy(b->work_fd, is_elf ? "vmlinux" : "vmlinuz", file, 0644, err);
    if (!rc && !is_elf)
        rc = decompress(b, image.tool, image.package, image.payload, "vmlinux", err);
    if (!rc && !is_elf)
        rc = check_elf(b, err);
    (void)munmap(m.start, m.len); /* always valid */
    return rc;
}

/* ---- modules ---- */

static int copy_module(const struct build *b, struct adit_view path, struct adit_err *err)
{
    char from[PATH_MAX + 512], to[512];
    struct adit_buf content;
    const char *package = NULL, *tool;
    struct adit_view file = module_order_file(path);
    adit_buf_init(&content, GUEST_MODULE_MAX);
    (void)snprintf(from, sizeof(from), "%s/%.*s", b->source.modules, ADIT_VIEW_ARG(path));
    (void)snprintf(to, sizeof(to), "modules/%.*s", ADIT_VIEW_ARG(file));
    int rc = adit_file_read(AT_FDCWD, from, &content, err);
    if (!rc && (tool = kernel_image_tool(adit_buf_view(&content), &package)) != NULL)
        rc = decompress(b, tool, package, adit_buf_view(&content), to, err);
    else if (!rc)
        rc = adit_file_replace_lazy(b->work_fd, to, adit_buf_view(&content), 0644, err);
    adit_buf_fini(&content);
    return rc;
}

static int write_list(const struct build *b, const char *name, const struct module_order *order,
                      size_t from, struct adit_err *err)
{
    char path[64];
    struct adit_buf text;
    int rc = 0;
    adit_buf_init(&text, LIST_CAP);
    for (size_t i = from; !rc && i < order->cnt; i++)
        rc = adit_buf_appendf(&text, "%.*s\n", ADIT_VIEW_ARG(module_order_file(order->paths[i])));
    (void)snprintf(path, sizeof(path), "modules/%s", name);
    if (rc)
        (void)adit_err_set(err, rc, "no memory for %s", path);
    else
        rc = adit_file_replace_lazy(b->work_fd, path, adit_buf_view(&text), 0644, err);
    adit_buf_fini(&text);
    return rc;
}

static int add_asked(const struct build *b, struct module_order *order, struct adit_view dep,
                     struct adit_view builtin, struct adit_err *err)
{
    struct adit_view word, rest = adit_view_str(b->conf->load);
    char name[256];
    bool has_more = rest.len > 0;
    int rc = 0;
    while (has_more && !rc) {
        has_more = adit_view_split(rest, ',', &word, &rest);
        (void)snprintf(name, sizeof(name), "%.*s", ADIT_VIEW_ARG(word));
        rc = module_order_add(order, dep, builtin, name, err);
    }
    return rc;
}

/* One order over all lists, so that none has what an earlier one brought. */
static int make_lists(const struct build *b, struct adit_view dep, struct adit_view builtin,
                      struct module_order *order, struct adit_err *err)
{
    int rc = 0;
    for (unsigned list = 0; !rc && list < LIST_CNT; list++) {
        size_t from = order->cnt;
        for (size_t i = 0; !rc && i < sizeof(wanted) / sizeof(wanted[0]); i++)
            if (wanted[i].list == list)
                rc = module_order_add(order, dep, builtin, wanted[i].name, err);
        if (!rc && list == LIST_LATE)
            rc = add_asked(b, order, dep, builtin, err);
        if (!rc)
            rc = write_list(b, list_names[list], order, from, err);
    }
    return rc;
}

static int make_modules(const struct build *b, struct adit_err *err)
{
    char path[PATH_MAX + 32];
    struct adit_buf dep, builtin;
    struct module_order order = {.cnt = 0};
    if (mkdirat(b->work_fd, "modules", 0755) != 0)
        return adit_err_sys(err, errno, "make modules");
    if (!b->source.modules[0])
        return write_list(b, list_names[LIST_ORDER], &order, 0, err);
    adit_buf_init(&dep, LIST_CAP);
    adit_buf_init(&builtin, LIST_CAP);
    (void)snprintf(path, sizeof(path), "%s/modules.dep", b->source.modules);
    int rc = adit_file_read(AT_FDCWD, path, &dep, err);
    (void)snprintf(path, sizeof(path), "%s/modules.builtin", b->source.modules);
    if (!rc)
        rc = adit_file_read(AT_FDCWD, path, &builtin, err);
    if (!rc)
        rc = make_lists(b, adit_buf_view(&dep), adit_buf_view(&builtin), &order, err);
    for (size_t i = 0; !rc && i < order.cnt; i++)
        rc = copy_module(b, order.paths[i], err);
    adit_buf_fini(&dep);
    adit_buf_fini(&builtin);
    return rc;
}

/* ---- the directory ---- */

static bool is_current(const struct build *b)
{
    struct adit_buf text;
    json_t *root = NULL;
    adit_buf_init(&text, JSON_CAP);
    if (!adit_file_read(b->out_fd, "kernel.json", &text, NULL))
        root = adit_json_load(adit_buf_view(&text), 0, NULL);
    const char *have = json_string_value(json_object_get(root, "fingerprint"));
    bool is_same = have && strcmp(have, b->fingerprint) == 0;
    json_decref(root);
    adit_buf_fini(&text);
    return is_same;
}

static int replace(const struct build *b, const char *name, struct adit_err *err)
{
    char path[64];
    (void)snprintf(path, sizeof(path), WORK "/%s", name);
    if (renameat2(b->out_fd, path, b->out_fd, name, RENAME_EXCHANGE) == 0 ||
        renameat(b->out_fd, path, b->out_fd, name) == 0)
        return 0;
    return adit_err_sys(err, errno, "put %s in place", name);
}

static int commit(const struct build *b, struct adit_err *err)
{
    char text[256];
    if (unlinkat(b->out_fd, "kernel.json", 0) != 0 && errno != ENOENT)
        return adit_err_sys(err, errno, "remove kernel.json");
    if (syncfs(b->work_fd) != 0)
        return adit_err_sys(err, errno, "write the kernel to disk");
    int rc = replace(b, "modules", err);
    if (!rc)
        rc = replace(b, "vmlinux", err);
    if (!rc && faccessat(b->work_fd, "vmlinuz", F_OK, 0) == 0)
        rc = replace(b, "vmlinuz", err);
    else if (!rc && unlinkat(b->out_fd, "vmlinuz", 0) != 0 && errno != ENOENT)
        rc = adit_err_sys(err, errno, "remove vmlinuz");
    (void)snprintf(text, sizeof(text), "{\"fingerprint\": \"%s\"}\n", b->fingerprint);
    return rc ? rc : adit_file_replace(b->out_fd, "kernel.json", adit_view_str(text), 0644, err);
}

static int open_dirs(struct build *b, struct adit_err *err)
{
    int rc = adit_file_mkdirs(b->conf->out, 0755, err);
    if (rc)
        return rc;
    if (!realpath(b->conf->out, b->out) || strlen(b->out) > PATH_MAX - 16)
        return adit_err_sys(err, errno, "%s", b->conf->out);
    b->out_fd = open(b->out, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (b->out_fd >= 0)
        b->lock_fd = openat(b->out_fd, ".lock", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (b->lock_fd < 0 || flock(b->lock_fd, LOCK_EX))
        return adit_err_sys(err, errno, "lock %s", b->out);
    return 0;
}

static int build_in(struct build *b, const struct apt_host *apt, struct adit_err *err)
{
    char cache[PATH_MAX + 16];
    int rc = adit_file_remove_tree(b->out_fd, WORK, err);
    if (rc)
        return rc;
    (void)snprintf(b->work, sizeof(b->work), "%.*s/" WORK, PATH_MAX - 16, b->out);
    (void)snprintf(cache, sizeof(cache), "%s/.cache", b->out);
    rc = adit_file_mkdirs(cache, 0755, err);
    if (!rc && mkdirat(b->out_fd, WORK, 0755) == 0)
        b->work_fd = openat(b->out_fd, WORK, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (!rc && b->work_fd < 0)
        rc = adit_err_sys(err, errno, "make %s", b->work);
    if (!rc)
        rc = kernel_source_open(b->conf, apt, cache, b->work, &b->source, err);
    if (!rc)
        rc = make_image(b, err);
    if (!rc)
        rc = make_modules(b, err);
    if (!rc)
        rc = commit(b, err);
    (void)adit_file_remove_tree(b->out_fd, WORK, NULL); /* the next builder tries again */
    return rc;
}

static int make(const struct builder_conf *conf, const struct apt_host *apt, struct adit_err *err)
{
    struct build *b = calloc(1, sizeof(*b));
    if (!b)
        return adit_err_set(err, ADIT_ERR_NO_MEMORY, "out of memory");
    b->conf = conf;
    b->out_fd = b->lock_fd = b->work_fd = -1;
    int rc = kernel_source_fingerprint(conf, apt, b->fingerprint, err);
    if (!rc)
        rc = open_dirs(b, err);
    if (!rc && is_current(b))
        fprintf(stderr, "rootfs-builder: the kernel in %s is up to date\n", b->out);
    else if (!rc && (rc = build_in(b, apt, err)) == 0)
        fprintf(stderr, "rootfs-builder: the kernel is in %s\n", b->out);
    for (int *fd = &b->out_fd; fd <= &b->work_fd; fd++)
        if (*fd >= 0)
            (void)close(*fd); /* folders and a lock: nothing to lose */
    free(b);
    return rc;
}

static int run(struct builder_conf *conf, char *const *words, struct adit_err *err)
{
    struct apt_host apt;
    if (words[0])
        return adit_err_set(err, ADIT_ERR_BAD_INPUT, "unexpected argument '%s'", words[0]);
    if (conf->modules[0] && !conf->kernel[0])
        return adit_err_set(err, ADIT_ERR_BAD_INPUT, "modules: give their kernel too");
    if (conf->kernel[0])
        return make(conf, NULL, err);
    int rc = apt_host_read(&apt, "/etc/apt", conf->suite, err);
    if (rc)
        return rc;
    rc = make(conf, &apt, err);
    apt_host_free(&apt);
    return rc;
}

const struct builder_command kernel_command = {
    .name = "kernel",
    .usage = "rootfs-builder kernel [OPTIONS]   put a kernel and its modules into the guest "
             "directory\n",
    .rows = rows,
    .run = run,
};
