/* fixture_gguf.c - writes GGUF version 3: header, metadata, tensor table, padded data.
 *
 * Metadata and table grow in two buffers, the tensors in a third; alignment is the format's default, 32.
 */
#include "fixture.h"

#include <rz/format.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ALIGN 32

struct bytes {
    uint8_t *data;
    size_t n, cap;
};

struct gguf {
    struct bytes meta, table, data;
    uint64_t n_meta, n_tensors;
};

void die(const char *what)
{
    fprintf(stderr, "mkmodel: %s\n", what);
    exit(1);
}

void *must_alloc(size_t bytes)
{
    void *p = calloc(1, bytes ? bytes : 1);
    if (!p)
        die("out of memory");
    return p;
}

static void put(struct bytes *b, const void *data, size_t n)
{
    if (b->n + n > b->cap) {
        b->cap = (b->n + n) * 2;
        b->data = realloc(b->data, b->cap);
        if (!b->data)
            die("out of memory");
    }
    if (n)
        memcpy(b->data + b->n, data, n);
    b->n += n;
}

static void put_u32(struct bytes *b, uint32_t v)
{
    put(b, &v, sizeof v);
}

static void put_u64(struct bytes *b, uint64_t v)
{
    put(b, &v, sizeof v);
}

static void put_str(struct bytes *b, const char *s)
{
    put_u64(b, strlen(s));
    put(b, s, strlen(s));
}

static void put_padding(struct bytes *b)
{
    static const uint8_t zeros[ALIGN];
    put(b, zeros, (ALIGN - b->n % ALIGN) % ALIGN);
}

struct gguf *gguf_new(void)
{
    return must_alloc(sizeof(struct gguf));
}

static void put_key(struct gguf *g, const char *key, uint32_t type)
{
    g->n_meta++;
    put_str(&g->meta, key);
    put_u32(&g->meta, type);
}

void gguf_u32(struct gguf *g, const char *key, uint32_t value)
{
    put_key(g, key, RZ_META_U32);
    put_u32(&g->meta, value);
}

void gguf_f32(struct gguf *g, const char *key, float value)
{
    put_key(g, key, RZ_META_F32);
    put(&g->meta, &value, sizeof value);
}

void gguf_bool(struct gguf *g, const char *key, int value)
{
    uint8_t byte = value != 0;
    put_key(g, key, RZ_META_BOOL);
    put(&g->meta, &byte, 1);
}

void gguf_str(struct gguf *g, const char *key, const char *value)
{
    put_key(g, key, RZ_META_STR);
    put_str(&g->meta, value);
}

static void put_array(struct gguf *g, const char *key, uint32_t type, uint32_t n)
{
    put_key(g, key, RZ_META_ARRAY);
    put_u32(&g->meta, type);
    put_u64(&g->meta, n);
}

void gguf_str_array(struct gguf *g, const char *key, char *const *values, uint32_t n)
{
    put_array(g, key, RZ_META_STR, n);
    for (uint32_t i = 0; i < n; i++)
        put_str(&g->meta, values[i]);
}

void gguf_f32_array(struct gguf *g, const char *key, const float *values, uint32_t n)
{
    put_array(g, key, RZ_META_F32, n);
    put(&g->meta, values, n * sizeof *values);
}

void gguf_i32_array(struct gguf *g, const char *key, const int32_t *values, uint32_t n)
{
    put_array(g, key, RZ_META_I32, n);
    put(&g->meta, values, n * sizeof *values);
}

void gguf_tensor(struct gguf *g, const char *name, int32_t type, uint32_t cols, uint32_t rows,
                 const void *data, size_t bytes)
{
    g->n_tensors++;
    put_str(&g->table, name);
    put_u32(&g->table, rows ? 2 : 1);
    put_u64(&g->table, cols);
    if (rows)
        put_u64(&g->table, rows);
    put_u32(&g->table, (uint32_t)type);
    put_u64(&g->table, g->data.n);
    put(&g->data, data, bytes);
    put_padding(&g->data);
}

void gguf_write(struct gguf *g, const char *path)
{
    struct bytes head = {0};
    put(&head, "GGUF", 4);
    put_u32(&head, 3);
    put_u64(&head, g->n_tensors);
    put_u64(&head, g->n_meta);
    put(&head, g->meta.data, g->meta.n);
    put(&head, g->table.data, g->table.n);
    put_padding(&head);
    FILE *f = fopen(path, "wb");
    if (!f || fwrite(head.data, 1, head.n, f) != head.n ||
        fwrite(g->data.data, 1, g->data.n, f) != g->data.n || fclose(f) != 0)
        die(path);
    free(head.data);
    free(g->meta.data);
    free(g->table.data);
    free(g->data.data);
    free(g);
}
