/* SPDX-License-Identifier: Apache-2.0 */
/* The command `broker keys add|list|revoke`: talks to the scheduler and prints. */
#ifndef BROKER_KEY_COMMAND_H
#define BROKER_KEY_COMMAND_H

#include "broker/broker_conf.h"

/* @argv: the words after "keys". Return: the exit status. */
int key_command_main(const struct broker_conf *conf, int argc, char **argv);

#endif
