/* SPDX-License-Identifier: Apache-2.0 */
/*
 * In the place of a monitor's program: runs the Python text that follows it in this file's folder as
 * `stand_in.py`, which is compiled in, since nothing of the tests is seen where monitors run.
 */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static char script[] = {
#include "stand_in.inc"
    , 0};

int main(int argc, char **argv)
{
    char *words[32] = {"python3", "-I", "-c", script, KIND};
    int cnt = 5;
    if (argc > 1 && strcmp(argv[1], "--version") == 0) {
        puts(VERSION);
        return 0;
    }
    for (int i = 1; i < argc && cnt < 31; i++)
        words[cnt++] = argv[i];
    execv("/usr/bin/python3", words);
    return 127;
}
