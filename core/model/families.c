/* families.c - the table of model families. A new family is one row here and one file beside. */
#include "model.h"

#include <string.h>

static const struct rz_family families[] = {
    {"llama", rz_family_llama},
    {"qwen2", rz_family_qwen2},
};

const struct rz_family *rz_family_at(uint32_t i)
{
    return i < sizeof(families) / sizeof(families[0]) ? &families[i] : NULL;
}

const struct rz_family *rz_family_find(const char *arch)
{
    for (uint32_t i = 0; rz_family_at(i); i++)
        if (!strcmp(families[i].arch, arch))
            return &families[i];
    return NULL;
}
