/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mmdebstrap, told what a sandbox's root needs.
 *
 * Theory of operation
 *
 * What:   a minimal Debian, the packages that clients expect in every sandbox, and what apt cannot
 * do: the user, its rights, a few files. The agent is not in it: it is mounted at start. Size:   no
 * recommended packages, no documentation, no translations, no package lists, no caches. apt:    the
 * host's sources are in the template too, so that apt-get works in a sandbox that may reach them;
 * settings of proxies are used for the build only, for they may hold passwords. Trust:  packages
 * are checked by apt against the host's keys. Their scripts run as root in a chroot: whoever names
 * packages decides what runs on the build host.
 */
#include "rootfs-builder/debian.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "rootfs-builder/fingerprint.h"
#include "rootfs-builder/tool.h"

#define ARGS_MAX (32 + APT_HOST_SOURCES_MAX)

static const char packages[] =
    "apt,bash,bash-completion,ca-certificates,curl,git,iproute2,less,"
    "nano,ncurses-bin,netbase,netcat-openbsd,procps,python-is-python3,python3,"
    "python3-pip,python3-venv,sudo,tzdata,wget,xz-utils";

static const char *const dpkg_options[] = {
    "--dpkgopt=path-exclude=/usr/share/doc/*",
    "--dpkgopt=path-include=/usr/share/doc/*/copyright",
    "--dpkgopt=path-exclude=/usr/share/man/*",
    "--dpkgopt=path-exclude=/usr/share/info/*",
    "--dpkgopt=path-exclude=/usr/share/lintian/*",
    "--dpkgopt=path-exclude=/usr/share/locale/*",
    "--dpkgopt=path-include=/usr/share/locale/locale.alias",
    /* A root is synced as a whole when it is whole (template_out_commit). */
    "--dpkgopt=force-unsafe-io",
    /* The sandbox is the user's: pip may install into it. */
    "--dpkgopt=path-exclude=/usr/lib/python3*/EXTERNALLY-MANAGED",
};

/* Run by mmdebstrap; $1 is the new root. */
static const char setup[] =
    "#!/bin/sh\n"
    "set -eu; cd \"$1\"\n"
    "chroot . useradd --create-home --uid 1000 --user-group --shell /bin/bash user\n"
    "chmod 0644 home/user/.bashrc home/user/.profile\n"
    "echo 'user ALL=(ALL:ALL) NOPASSWD: ALL' >etc/sudoers.d/user\n"
    "chmod 0440 etc/sudoers.d/user\n"
    "mkdir code && chmod 0777 code && chmod -R a+rwX usr/local\n"
    "echo e2b >etc/hostname\n"
    "printf '127.0.0.1 localhost e2b\\n::1 localhost ip6-localhost\\n' >etc/hosts\n"
    "echo 'nameserver 127.0.0.1' >etc/resolv.conf\n"
    "echo 'LANG=C.UTF-8' >etc/default/locale\n"
    "sed -i /Proxy/d etc/apt/apt.conf.d/99mmdebstrap\n"
    "for d in keyrings trusted.gpg.d; do\n"
    "  [ ! -d /etc/apt/$d ] || cp -a --no-clobber /etc/apt/$d etc/apt/\n"
    "done\n";

bool debian_is_package_list(struct adit_view list)
{
    for (size_t i = 0; i < list.len; i++) {
        char c = list.ptr[i];
        bool is_first = i == 0 || list.ptr[i - 1] == ',';
        bool is_plain = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
        if (is_first ? !is_plain : !is_plain && !strchr("+.-,", c))
            return false;
    }
    return list.len == 0 || list.ptr[list.len - 1] != ',';
}

static int add_options(struct adit_buf *inputs, const struct builder_conf *conf)
{
    const struct {
        const char *name, *value;
    } texts[] = {{"alias", conf->alias},
                 {"suite", conf->suite},
                 {"packages", conf->packages},
                 {"user", conf->default_user},
                 {"dir", conf->default_workdir},
                 {"start", conf->start_cmd},
                 {"ready", conf->ready_cmd},
                 {"base", packages},
                 {"setup", setup}};
    int rc =
        adit_buf_appendf(inputs, "format %d cpu %llu memory %llu disk %llu\n", BUILDER_FORMAT,
                         (unsigned long long)conf->cpu_count, (unsigned long long)conf->memory_mb,
                         (unsigned long long)conf->disk_mb);
    for (size_t i = 0; !rc && i < sizeof(texts) / sizeof(texts[0]); i++)
        rc = fingerprint_add(inputs, texts[i].name, adit_view_str(texts[i].value));
    if (!rc && conf->isolation[0])
        rc = fingerprint_add(inputs, "isolation", adit_view_str(conf->isolation));
    for (size_t i = 0; !rc && i < sizeof(dpkg_options) / sizeof(dpkg_options[0]); i++)
        rc = fingerprint_add(inputs, "dpkg", adit_view_str(dpkg_options[i]));
    return rc;
}

int debian_fingerprint(const struct builder_conf *conf, const struct apt_host *apt,
                       char out[TEMPLATE_OUT_FINGERPRINT_LEN + 1], struct adit_err *err)
{
    struct adit_buf inputs;
    adit_buf_init(&inputs, FINGERPRINT_INPUTS_CAP);
    int rc = add_options(&inputs, conf);
    if (!rc)
        rc = fingerprint_add(&inputs, "settings", adit_buf_view(&apt->settings));
    for (size_t i = 0; !rc && i < apt->source_cnt; i++)
        rc = fingerprint_add_file(&inputs, "source", apt->sources[i], err);
    if (!rc)
        fingerprint_make(&inputs, out);
    adit_buf_fini(&inputs);
    return rc ? adit_err_set(err, rc, "package sources cannot be read, or do not fit") : 0;
}

/* The words of the call; those that are put together for it live here. */
struct command {
    char root[4096], settings[4096], script[4096];
    char include[4096], apt_option[4200], hook[4200];
    const char *argv[ARGS_MAX];
    size_t argc;
};

static void add_word(struct command *c, const char *word)
{
    c->argv[c->argc++] = word;
}

static void make_command(struct command *c, const struct builder_conf *conf,
                         const struct apt_host *apt, const char *work_dir)
{
    memset(c, 0, sizeof(*c));
    (void)snprintf(c->root, sizeof(c->root), "%s/root", work_dir);
    (void)snprintf(c->settings, sizeof(c->settings), "%s/apt.conf", work_dir);
    (void)snprintf(c->script, sizeof(c->script), "%s/setup", work_dir);
    (void)snprintf(c->include, sizeof(c->include), "--include=%s%s%s", packages,
                   conf->packages[0] ? "," : "", conf->packages);
    (void)snprintf(c->apt_option, sizeof(c->apt_option), "--aptopt=%s", c->settings);
    (void)snprintf(c->hook, sizeof(c->hook), "--customize-hook=%s", c->script);
    add_word(c, "mmdebstrap");
    add_word(c, "--mode=root");
    add_word(c, "--variant=minbase");
    add_word(c, "--format=directory");
    add_word(c, "--aptopt=Acquire::Languages \"none\"");
    add_word(c, c->apt_option);
    add_word(c, c->include);
    add_word(c, c->hook);
    for (size_t i = 0; i < sizeof(dpkg_options) / sizeof(dpkg_options[0]); i++)
        add_word(c, dpkg_options[i]);
    add_word(c, conf->suite);
    add_word(c, c->root);
    for (size_t i = 0; i < apt->source_cnt; i++)
        add_word(c, apt->sources[i]);
}

int debian_build(const struct builder_conf *conf, const struct apt_host *apt, const char *work_dir,
                 struct adit_err *err)
{
    struct command c;
    if (geteuid() != 0)
        return adit_err_set(err, ADIT_ERR_PRECONDITION, "building a template needs root");
    make_command(&c, conf, apt, work_dir);
    int rc = adit_file_replace(AT_FDCWD, c.settings, adit_buf_view(&apt->settings), 0600, err);
    if (!rc)
        rc = adit_file_replace(AT_FDCWD, c.script, adit_view_str(setup), 0700, err);
    if (!rc)
        rc = tool_run(&(struct tool_call){.argv = c.argv, .package = "mmdebstrap"}, err);
    if (!rc && (unlink(c.settings) || unlink(c.script)))
        rc = adit_err_sys(err, errno, "remove %s", c.settings);
    return rc;
}
