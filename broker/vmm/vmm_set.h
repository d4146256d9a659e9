/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The ways to run sandboxes that a host has.
 */
#ifndef BROKER_VMM_VMM_SET_H
#define BROKER_VMM_VMM_SET_H

#include "broker/vmm/vmm.h"

#define VMM_SET_MAX 4

/* @items: borrowed; in order of preference. @fallback: for those who ask for none; one of them */
struct vmm_set {
    struct vmm *items[VMM_SET_MAX];
    size_t cnt;
    struct vmm *fallback;
};

/* Is it a word that names an isolation at all, on whatever host? */
bool vmm_set_knows(struct adit_view isolation);
/* The first that is that isolation and can be used; "": the fallback. Return: NULL when there is
 * none. */
struct vmm *vmm_set_choose(const struct vmm_set *set, const char *isolation);
/* The one that a record names; NULL when this broker has no such driver. */
struct vmm *vmm_set_named(const struct vmm_set *set, const char *name);
/* Isolations that can be used, each once. Return: how many. */
size_t vmm_set_isolations(const struct vmm_set *set, const char *out[VMM_SET_MAX]);

#endif
