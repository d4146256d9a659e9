/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The only program of an image that has nothing else.
 *
 *   bare            says hello, and what it sees of the system
 *   bare panic      has the kernel panic
 */
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static int panic(void)
{
    int fd = open("/proc/sysrq-trigger", O_WRONLY);
    return fd >= 0 && write(fd, "c", 1) == 1 ? 0 : 1;
}

static void list(const char *path)
{
    DIR *dir = opendir(path);
    struct dirent *entry;
    printf("%s:", path);
    while (dir && (entry = readdir(dir)))
        if (entry->d_name[0] != '.')
            printf(" %s", entry->d_name);
    printf("\n");
    if (dir)
        closedir(dir);
}

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "panic") == 0)
        return panic();
    printf("hello\n");
    list("/");
    list("/sys/class/net");
    printf("null %d fd %d pts %d shm %d cgroup %d\n", access("/dev/null", W_OK),
           access("/dev/fd/0", F_OK), access("/dev/pts/ptmx", F_OK), access("/dev/shm", W_OK),
           access("/sys/fs/cgroup/cgroup.procs", R_OK));
    return 0;
}
