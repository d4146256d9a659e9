/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Getting a kernel.
 *
 * Theory of operation
 *
 * What:    the package comes from where the host itself gets its packages (apt_host.h), by an apt
 * with lists and state of its own, so that neither the host's release nor the age of its lists
 * matter. Its version is not the builder's to choose: linux-image-cloud-amd64 depends on the
 * current one.
 * Trust:   packages are checked by apt against the host's keys. Nothing of them is run: they are
 * unpacked, and two folders of what comes out are looked at.
 */
#include "rootfs-builder/kernel_source.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "rootfs-builder/tool.h"

/* Counts up when the same kernel comes out differently. */
#define FORMAT "1"
#define TEXT_CAP (1024u * 1024)

static const char settings[] = "APT::Architecture \"amd64\";\n"
                               "APT::Architectures \"amd64\";\n"
                               "Acquire::Languages \"none\";\n"
                               "Acquire::IndexTargets::deb::DEP-11::DefaultEnabled \"false\";\n"
                               "Acquire::IndexTargets::deb::CNF::DefaultEnabled \"false\";\n"
                               "Dir::Etc::SourceList \"/dev/null\";\n"
                               "Dir::Cache::pkgcache \"\";\n"
                               "Dir::Cache::srcpkgcache \"\";\n"
                               "#clear APT::Update::Pre-Invoke;\n"
                               "#clear APT::Update::Post-Invoke;\n"
                               "#clear APT::Update::Post-Invoke-Success;\n";

/* ---- what it depends on ---- */

/* A kernel is large, and one that was built again is a new file. */
static int add_user_file(struct adit_buf *inputs, const char *name, const char *path,
                         struct adit_err *err)
{
    struct stat st;
    char text[PATH_MAX + 128];
    if (stat(path, &st) != 0)
        return adit_err_sys(err, errno, "%s", path);
    (void)snprintf(text, sizeof(text), "%s %llu %llu %lld.%09ld", path,
                   (unsigned long long)st.st_ino, (unsigned long long)st.st_size,
                   (long long)st.st_mtim.tv_sec, st.st_mtim.tv_nsec);
    return fingerprint_add(inputs, name, adit_view_str(text));
}

static int add_inputs(const struct builder_conf *conf, const struct apt_host *apt,
                      struct adit_buf *inputs, struct adit_err *err)
{
    int rc = fingerprint_add(inputs, "format", adit_view_str(FORMAT));
    if (!rc)
        rc = fingerprint_add(inputs, "load", adit_view_str(conf->load));
    if (!rc && conf->kernel[0])
        rc = add_user_file(inputs, "kernel", conf->kernel, err);
    if (!rc && conf->modules[0])
        rc = add_user_file(inputs, "modules", conf->modules, err);
    if (rc || !apt)
        return rc;
    rc = fingerprint_add(inputs, "package", adit_view_str(conf->kernel_package));
    if (!rc)
        rc = fingerprint_add(inputs, "suite", adit_view_str(conf->suite));
    for (size_t i = 0; !rc && i < apt->source_cnt; i++)
        rc = fingerprint_add_file(inputs, "source", apt->sources[i], err);
    return rc;
}

int kernel_source_fingerprint(const struct builder_conf *conf, const struct apt_host *apt,
                              char out[FINGERPRINT_LEN + 1], struct adit_err *err)
{
    struct adit_buf inputs;
    adit_buf_init(&inputs, FINGERPRINT_INPUTS_CAP);
    int rc = add_inputs(conf, apt, &inputs, err);
    if (!rc)
        fingerprint_make(&inputs, out);
    else if (err && !err->code)
        (void)adit_err_set(err, rc, "what the kernel depends on does not fit");
    adit_buf_fini(&inputs);
    return rc;
}

/* ---- Debian's package ---- */

/* The options that make an apt of our own; words of a call live here. */
struct apt {
    const char *cache;
    char conf[PATH_MAX + 16], options[3][PATH_MAX + 64];
};

static int copy_sources(const struct apt_host *host, const char *cache, struct adit_err *err)
{
    char path[PATH_MAX + 64];
    int rc = 0;
    for (size_t i = 0; !rc && i < host->source_cnt; i++) {
        const char *dot = strrchr(host->sources[i], '.');
        struct adit_buf text;
        adit_buf_init(&text, APT_HOST_FILE_CAP);
        (void)snprintf(path, sizeof(path), "%s/sources/%zu%s", cache, i, dot ? dot : "");
        rc = adit_file_read(AT_FDCWD, host->sources[i], &text, err);
        if (!rc)
            rc = adit_file_replace_lazy(AT_FDCWD, path, adit_buf_view(&text), 0644, err);
        adit_buf_fini(&text);
    }
    return rc;
}

static int make_folders(const char *cache, struct adit_err *err)
{
    static const char *const names[] = {"sources", "state/lists/partial", "cache/archives/partial",
                                        "packages"};
    const struct passwd *user = getpwnam("_apt");
    char path[PATH_MAX + 64];
    int rc = 0, fd = open(cache, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    /* What was the host's before may not be any more. */
    rc = fd < 0 ? adit_err_sys(err, errno, "open %s", cache)
                : adit_file_remove_tree(fd, "sources", err);
    if (fd >= 0)
        (void)close(fd); /* a folder: nothing to lose */
    for (size_t i = 0; !rc && i < sizeof(names) / sizeof(names[0]); i++) {
        (void)snprintf(path, sizeof(path), "%s/%s", cache, names[i]);
        rc = adit_file_mkdirs(path, 0755, err);
        /* apt fetches as this user; where that is not possible it says so and goes on as root. */
        if (!rc && i > 0 && user && geteuid() == 0 && chown(path, user->pw_uid, 0) != 0)
            rc = adit_err_sys(err, errno, "%s", path);
    }
    return rc;
}

static int set_up(struct apt *a, const struct apt_host *host, const char *cache,
                  struct adit_err *err)
{
    a->cache = cache;
    (void)snprintf(a->conf, sizeof(a->conf), "%s/apt.conf", cache);
    (void)snprintf(a->options[0], sizeof(a->options[0]), "Dir::Etc::SourceParts=%s/sources", cache);
    (void)snprintf(a->options[1], sizeof(a->options[1]), "Dir::State=%s/state", cache);
    (void)snprintf(a->options[2], sizeof(a->options[2]), "Dir::Cache=%s/cache", cache);
    int rc = make_folders(cache, err);
    if (!rc)
        rc = copy_sources(host, cache, err);
    if (!rc)
        rc = adit_file_replace_lazy(AT_FDCWD, a->conf, adit_view_str(settings), 0644, err);
    return rc;
}

/* @text: where what it says goes; NULL: to stderr. @words: at most two, and NULL. */
static int apt(const struct apt *a, const char *program, const char *const words[],
               struct adit_buf *text, struct adit_err *err)
{
    char dir[PATH_MAX + 16];
    const char *argv[] = {program,       "-q",          "-c",
                          a->conf,       "-o",          a->options[0],
                          "-o",          a->options[1], "-o",
                          a->options[2], "-o",          "Dir::State::status=/dev/null",
                          words[0],      words[1],      words[1] ? words[2] : NULL,
                          NULL};
    (void)snprintf(dir, sizeof(dir), "%s/packages", a->cache);
    const struct tool_call call = {.argv = argv, .package = "apt", .dir = dir};
    return text ? tool_read(&call, text, err) : tool_run(&call, err);
}

/* The first dependency of the package whose name has no version: "  Depends: linux-image-6.1…". */
static int read_dependency(struct adit_view text, char out[256])
{
    static const char depends[] = "Depends: linux-image-";
    struct adit_view line;
    bool has_more = true;
    while (has_more) {
        has_more = adit_view_split(text, '\n', &line, &text);
        line = adit_view_trim(line);
        if (adit_view_has_prefix(line, depends) && line.len - 9 < 256) {
            (void)snprintf(out, 256, "%.*s", (int)line.len - 9, line.ptr + 9);
            return 0;
        }
    }
    return ADIT_ERR_NOT_FOUND;
}

/* A package that is itself an image depends on no other one. */
static int resolve(const struct apt *a, const char *package, char out[256], struct adit_err *err)
{
    struct adit_buf text;
    adit_buf_init(&text, TEXT_CAP);
    int rc = apt(a, "apt-cache", (const char *const[]){"depends", package, NULL}, &text, err);
    if (!rc && read_dependency(adit_buf_view(&text), out))
        (void)snprintf(out, 256, "%s", package);
    adit_buf_fini(&text);
    return rc;
}

/* The one entry of a folder whose name begins so. */
static int find_entry(const char *dir_path, const char *prefix, char *out, size_t cap,
                      struct adit_err *err)
{
    DIR *dir = opendir(dir_path);
    struct dirent *entry;
    bool is_found = false;
    while (dir && !is_found && (entry = readdir(dir)) != NULL) {
        is_found = entry->d_name[0] != '.' && strncmp(entry->d_name, prefix, strlen(prefix)) == 0;
        if (is_found)
            (void)snprintf(out, cap, "%s/%s", dir_path, entry->d_name);
    }
    if (dir)
        (void)closedir(dir); /* opened for reading only */
    return is_found ? 0 : adit_err_set(err, ADIT_ERR_NOT_FOUND, "%s has no %s", dir_path, prefix);
}

/* "'URL' NAME SIZE HASH" is what apt is about to fetch. */
static int download(const struct apt *a, const char *package, char *path, size_t cap,
                    struct adit_err *err)
{
    struct adit_buf text;
    struct adit_view url, name, rest;
    adit_buf_init(&text, TEXT_CAP);
    int rc = apt(a, "apt-get", (const char *const[]){"--print-uris", "download", package, NULL},
                 &text, err);
    if (!rc) {
        (void)adit_view_split(adit_buf_view(&text), ' ', &url, &rest);
        (void)adit_view_split(rest, ' ', &name, &rest);
        (void)snprintf(path, cap, "%s/packages/%.*s", a->cache, ADIT_VIEW_ARG(name));
        if (name.len == 0 || memchr(name.ptr, '/', name.len))
            rc = adit_err_set(err, ADIT_ERR_NOT_FOUND, "apt does not say where %s is", package);
    }
    adit_buf_fini(&text);
    return rc ? rc : apt(a, "apt-get", (const char *const[]){"download", package, NULL}, NULL, err);
}

static int unpack(const char *deb, const char *work, struct kernel_source *out,
                  struct adit_err *err)
{
    char tree[PATH_MAX], base[PATH_MAX + 8], path[PATH_MAX + 32];
    (void)snprintf(tree, sizeof(tree), "%s/package", work);
    const char *const extract[] = {"dpkg-deb", "-x", deb, tree, NULL};
    int rc = tool_run(&(struct tool_call){.argv = extract, .package = "dpkg"}, err);
    if (rc)
        return rc;
    (void)snprintf(path, sizeof(path), "%s/boot", tree);
    rc = find_entry(path, "vmlinuz-", out->image, sizeof(out->image), err);
    /* Later releases have everything below /usr. */
    (void)snprintf(base, sizeof(base), "%s/usr", tree);
    (void)snprintf(path, sizeof(path), "%s/lib/modules", base);
    if (access(path, F_OK) != 0) {
        (void)snprintf(base, sizeof(base), "%s", tree);
        (void)snprintf(path, sizeof(path), "%s/lib/modules", base);
    }
    if (!rc)
        rc = find_entry(path, "", out->modules, sizeof(out->modules), err);
    if (rc)
        return rc;
    const char *const list[] = {"depmod", "-b", base, strrchr(out->modules, '/') + 1, NULL};
    return tool_run(&(struct tool_call){.argv = list, .package = "kmod"}, err);
}

static int fetch(const struct builder_conf *conf, const struct apt_host *host, const char *cache,
                 const char *work, struct kernel_source *out, struct adit_err *err)
{
    struct apt a;
    char package[256], deb[PATH_MAX + 300];
    int rc = set_up(&a, host, cache, err);
    if (!rc)
        rc = apt(&a, "apt-get", (const char *const[]){"update", NULL}, NULL, err);
    if (!rc)
        rc = resolve(&a, conf->kernel_package, package, err);
    if (!rc)
        rc = download(&a, package, deb, sizeof(deb), err);
    return rc ? rc : unpack(deb, work, out, err);
}

int kernel_source_open(const struct builder_conf *conf, const struct apt_host *apt,
                       const char *cache, const char *work, struct kernel_source *out,
                       struct adit_err *err)
{
    if (apt)
        return fetch(conf, apt, cache, work, out, err);
    (void)snprintf(out->image, sizeof(out->image), "%s", conf->kernel);
    (void)snprintf(out->modules, sizeof(out->modules), "%s", conf->modules);
    return 0;
}
