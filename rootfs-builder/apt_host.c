/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading the host's apt.
 *
 * Theory of operation
 *
 * What:  a template comes from where the host itself gets its packages, so there is no mirror to
 *        configure. Sources are the host's files, unchanged; those that do not name the suite
 * (other vendors' repositories) are left out. Settings are what apt-config reports under Acquire::,
 *        that is proxies, time-outs and which checks the operator has set.
 * Not:   credentials (auth.conf) and hooks of the host's apt.conf.
 */
#include "rootfs-builder/apt_host.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "base/file.h"

static bool is_word_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_' || c == '.';
}

/* Words of lines that are not comments. */
static bool line_names(struct adit_view line, const char *suite)
{
    size_t len = strlen(suite);
    if (adit_view_has_prefix(adit_view_trim(line), "#"))
        return false;
    for (size_t i = 0; i + len <= line.len; i++) {
        bool starts = i == 0 || !(is_word_char(line.ptr[i - 1]) || line.ptr[i - 1] == '/');
        bool ends = i + len == line.len || !is_word_char(line.ptr[i + len]);
        if (starts && ends && memcmp(line.ptr + i, suite, len) == 0)
            return true;
    }
    return false;
}

bool apt_host_names_suite(struct adit_view text, const char *suite)
{
    struct adit_view line, rest = text;
    for (bool more = true; more;) {
        more = adit_view_split(rest, '\n', &line, &rest);
        if (line_names(line, suite))
            return true;
    }
    return false;
}

/* What says which indices this host wants and where its discs are is of no use elsewhere. */
static bool is_local(struct adit_view line)
{
    static const char *const prefixes[] = {"Acquire::Languages", "Acquire::Changelogs",
                                           "Acquire::IndexTargets", "Acquire::cdrom"};
    for (size_t i = 0; i < sizeof(prefixes) / sizeof(prefixes[0]); i++)
        if (adit_view_has_prefix(line, prefixes[i]))
            return true;
    return false;
}

int apt_host_filter(struct adit_view dump, struct adit_buf *out, struct adit_err *err)
{
    struct adit_view line, rest = dump;
    int rc = 0;
    for (bool more = true; more && !rc;) {
        more = adit_view_split(rest, '\n', &line, &rest);
        /* Nested names come with an empty value of their parent first, which is no setting. */
        bool is_empty = line.len >= 4 && memcmp(line.ptr + line.len - 4, " \"\";", 4) == 0;
        if (!adit_view_has_prefix(line, "Acquire::") || is_empty || is_local(line))
            continue;
        rc = adit_buf_append_view(out, line);
        if (!rc)
            rc = adit_buf_append_char(out, '\n');
    }
    return rc ? adit_err_set(err, rc, "settings of apt do not fit") : 0;
}

static int add_source(struct apt_host *a, const char *path, const char *suite, struct adit_err *err)
{
    struct adit_buf text;
    adit_buf_init(&text, APT_HOST_FILE_CAP);
    int rc = adit_file_read(AT_FDCWD, path, &text, err);
    bool is_wanted = !rc && apt_host_names_suite(adit_buf_view(&text), suite);
    adit_buf_fini(&text);
    if (!is_wanted)
        return rc;
    if (a->source_cnt == APT_HOST_SOURCES_MAX)
        return adit_err_set(err, ADIT_ERR_LIMIT, "more than %d package sources",
                            APT_HOST_SOURCES_MAX);
    a->sources[a->source_cnt] = strdup(path);
    if (!a->sources[a->source_cnt])
        return adit_err_set(err, ADIT_ERR_NO_MEMORY, "no memory for package sources");
    a->source_cnt++;
    return 0;
}

static int is_source(const struct dirent *entry)
{
    const char *dot = strrchr(entry->d_name, '.');
    return dot && (strcmp(dot, ".list") == 0 || strcmp(dot, ".sources") == 0);
}

static int add_directory(struct apt_host *a, const char *dir, const char *suite,
                         struct adit_err *err)
{
    struct dirent **names;
    int rc = 0, cnt = scandir(dir, &names, is_source, alphasort);
    if (cnt < 0)
        return errno == ENOENT ? 0 : adit_err_sys(err, errno, "read %s", dir);
    for (int i = 0; i < cnt; i++) {
        char path[1024 + 256 + 1];
        (void)snprintf(path, sizeof(path), "%s/%s", dir, names[i]->d_name);
        if (!rc)
            rc = add_source(a, path, suite, err);
        free(names[i]);
    }
    free(names);
    return rc;
}

static int read_settings(struct apt_host *a, struct adit_err *err)
{
    struct adit_buf dump;
    int rc = 0;
    FILE *pipe = popen("exec apt-config dump", "re");
    if (!pipe)
        return adit_err_sys(err, errno, "apt-config");
    adit_buf_init(&dump, APT_HOST_FILE_CAP);
    for (size_t n = 1; n && !rc;) {
        rc = adit_buf_reserve(&dump, 4096);
        n = rc ? 0 : fread(adit_buf_tail(&dump), 1, 4096, pipe);
        adit_buf_added(&dump, n);
    }
    if (rc)
        (void)adit_err_set(err, rc, "settings of apt do not fit");
    if (pclose(pipe) != 0 && !rc)
        rc = adit_err_set(err, ADIT_ERR_PRECONDITION,
                          "apt-config failed: a Debian template needs a host with apt");
    if (!rc)
        rc = apt_host_filter(adit_buf_view(&dump), &a->settings, err);
    adit_buf_fini(&dump);
    return rc;
}

int apt_host_read(struct apt_host *a, const char *etc_apt, const char *suite, struct adit_err *err)
{
    char path[1024];
    memset(a, 0, sizeof(*a));
    adit_buf_init(&a->settings, APT_HOST_FILE_CAP);
    (void)snprintf(path, sizeof(path), "%s/sources.list", etc_apt);
    int rc = access(path, F_OK) == 0 ? add_source(a, path, suite, err) : 0;
    (void)snprintf(path, sizeof(path), "%s/sources.list.d", etc_apt);
    if (!rc)
        rc = add_directory(a, path, suite, err);
    if (!rc && a->source_cnt == 0)
        rc = adit_err_set(err, ADIT_ERR_NOT_FOUND, "no package source in %s names %s", etc_apt,
                          suite);
    if (!rc)
        rc = read_settings(a, err);
    if (rc)
        apt_host_free(a);
    return rc;
}

void apt_host_free(struct apt_host *a)
{
    while (a->source_cnt)
        free(a->sources[--a->source_cnt]);
    adit_buf_fini(&a->settings);
}
