/* common.c - the helpers of the fuzz targets. A broken promise ends in __builtin_trap: a finding. */
#define _GNU_SOURCE
#include "fuzz.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static volatile uint32_t sink;

void fuzz_read(const void *data, size_t n)
{
    const uint8_t *p = data;
    uint32_t sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += p[i];
    sink = sum;
}

/* Bytes of one element of a metadata value. */
static size_t width(uint32_t type)
{
    static const uint8_t bytes[] = {1, 1, 2, 2, 4, 4, 4, 1, sizeof(struct rz_str), 0, 8, 8, 8};
    if (type >= sizeof(bytes) || !bytes[type])
        __builtin_trap();
    return bytes[type];
}

static void read_meta(const struct rz_meta *e)
{
    fuzz_read(e->key.data, e->key.len);
    fuzz_read(e->data, e->n * width(e->elem_type));
    const struct rz_str *s = e->data;
    for (uint64_t i = 0; e->elem_type == RZ_META_STR && i < e->n; i++)
        fuzz_read(s[i].data, s[i].len);
}

static void read_tensor(const struct rz_tensor *t, const struct rz_source *sources, uint32_t n)
{
    fuzz_read(t->name.data, t->name.len);
    if (t->data) {
        fuzz_read(t->data, t->bytes);
        return;
    }
    if (t->shard >= n || t->offset > sources[t->shard].bytes ||
        t->bytes > sources[t->shard].bytes - t->offset)
        __builtin_trap();
}

void fuzz_tables(const struct rz_format_model *m, const struct rz_source *sources, uint32_t n)
{
    for (uint64_t i = 0; i < m->n_meta; i++)
        read_meta((const void *)((const char *)m->meta + i * m->meta_stride));
    for (uint64_t i = 0; i < m->n_tensors; i++)
        read_tensor((const void *)((const char *)m->tensors + i * m->tensor_stride), sources, n);
}

void fuzz_status(int32_t status, const struct rz_err *err)
{
    if (status > 0 || (status && (err->code != status || !err->message[0])) || (!status && err->code))
        __builtin_trap();
    if (!memchr(err->where, 0, sizeof(err->where)) || !memchr(err->message, 0, sizeof(err->message)))
        __builtin_trap();
}

static int file = -1;

int fuzz_file(const uint8_t *data, size_t size)
{
    if (file < 0)
        file = memfd_create("input", 0);
    if (file < 0 || ftruncate(file, 0) || ftruncate(file, (off_t)size) ||
        pwrite(file, data, size, 0) != (ssize_t)size || lseek(file, 0, SEEK_SET)) {
        perror("fuzz: a file in memory");
        exit(1);
    }
    return file;
}

const char *fuzz_file_path(void)
{
    static char path[40];
    snprintf(path, sizeof(path), "/proc/self/fd/%d", file);
    return path;
}

uint32_t fuzz_sources(const uint8_t *data, size_t size, const char *const *names, struct rz_source *out,
                      uint32_t cap)
{
    uint32_t n = 0;
    for (size_t at = 0; n < cap; n++) {
        const uint8_t *end = n + 1 < cap && size > at ? memchr(data + at, 0, size - at) : NULL;
        size_t len = end ? (size_t)(end - data) - at : size - at;
        out[n] = (struct rz_source){
            .size = sizeof(*out), .shard = n, .data = data + at, .bytes = len, .path = names[n]};
        if (!end)
            return n + 1;
        at += len + 1;
    }
    return n;
}
