/* device_number.c - devices with a number in their name: cuda:1 is the second GPU of the plugin cuda.
 *
 * Each is the plugin's table with another ctx, and is made once.
 */
#include "models.h"

#include "err.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DIGITS 4 /* of a number */

struct rz_numbered {
    struct rz_device table;
    char name[64];
    struct rz_numbered *next;
};

static int32_t make(struct rz_models *m, const struct rz_device *table, const char *name, uint32_t index,
                    const struct rz_device **out, struct rz_err *err)
{
    struct rz_numbered *n = calloc(1, sizeof(*n));
    if (!n)
        return rz_fail(err, RZ_ENOMEM, name, "no memory");
    n->table = *table;
    snprintf(n->name, sizeof(n->name), "%s", name);
    n->table.name = n->name;
    int32_t status = table->numbered(table->ctx, index, &n->table.ctx, err);
    if (status) {
        free(n);
        return status;
    }
    n->next = m->numbered;
    m->numbered = n;
    *out = &n->table;
    return RZ_OK;
}

int32_t rz_models_numbered(struct rz_models *m, const struct rz_device *table, const char *name,
                           const char *number, const struct rz_device **out, struct rz_err *err)
{
    *out = table;
    if (!number)
        return RZ_OK;
    size_t digits = strspn(number, "0123456789");
    if (!digits || digits > DIGITS || number[digits])
        return rz_fail(err, RZ_ECONFIG, name, "must be NAME:NUMBER, such as cuda:1");
    if (!table->numbered)
        return rz_fail(err, RZ_ECONFIG, name, "the plugin has one device: leave out \":%s\"", number);
    for (struct rz_numbered *n = m->numbered; n; n = n->next)
        if (!strcmp(n->name, name)) {
            *out = &n->table;
            return RZ_OK;
        }
    return make(m, table, name, (uint32_t)strtoul(number, NULL, 10), out, err);
}

void rz_numbered_free(struct rz_models *m)
{
    while (m->numbered) {
        struct rz_numbered *next = m->numbered->next;
        free(m->numbered);
        m->numbered = next;
    }
}
