/* ref_gguf.c - finds metadata and tensors of a GGUF file by walking it from the start each time. */
#include "ref.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct ref_file {
    uint8_t *data;
    size_t n;
};

/* A place in the file; taking bytes past the end ends the program. */
struct cursor {
    const struct ref_file *file;
    size_t at;
};

void ref_die(const char *what, const char *detail)
{
    fprintf(stderr, "ref_model: %s: %s\n", what, detail);
    exit(1);
}

void *ref_alloc(size_t bytes)
{
    void *p = calloc(1, bytes ? bytes : 1);
    if (!p)
        ref_die("memory", "none left");
    return p;
}

struct ref_file *ref_open(const char *path)
{
    FILE *in = fopen(path, "rb");
    if (!in || fseek(in, 0, SEEK_END) != 0)
        ref_die(path, "cannot read it");
    struct ref_file *f = ref_alloc(sizeof *f);
    f->n = (size_t)ftell(in);
    f->data = ref_alloc(f->n);
    rewind(in);
    if (fread(f->data, 1, f->n, in) != f->n || f->n < 24 || memcmp(f->data, "GGUF", 4) != 0)
        ref_die(path, "not a GGUF file");
    fclose(in);
    return f;
}

void ref_close(struct ref_file *f)
{
    free(f->data);
    free(f);
}

static const uint8_t *take(struct cursor *c, uint64_t n)
{
    if (n > c->file->n - c->at)
        ref_die("file", "ends too early");
    const uint8_t *p = c->file->data + c->at;
    c->at += n;
    return p;
}

static uint64_t take_int(struct cursor *c, int bytes)
{
    uint64_t v = 0;
    memcpy(&v, take(c, (uint64_t)bytes), (size_t)bytes);
    return v;
}

/* Does the string at the cursor equal text? Moves past it. */
static int take_equal(struct cursor *c, const char *text)
{
    uint64_t n = take_int(c, 8);
    const uint8_t *p = take(c, n);
    return n == strlen(text) && memcmp(p, text, n) == 0;
}

static const int scalar_bytes[13] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};

static void skip_value(struct cursor *c, uint32_t type)
{
    if (type == 8) {
        take(c, take_int(c, 8));
    } else if (type == 9) {
        uint32_t element = (uint32_t)take_int(c, 4);
        for (uint64_t n = take_int(c, 8); n > 0; n--)
            skip_value(c, element);
    } else if (type <= 12) {
        take(c, (uint64_t)scalar_bytes[type]);
    } else {
        ref_die("metadata", "unknown type");
    }
}

/* Puts the cursor at the value of key and returns its type; -1 if the key is missing, then the cursor is
 * at the tensor table. key NULL: goes straight to the table. */
static int find_key(struct cursor *c, const char *key, uint64_t *n_tensors)
{
    c->at = 8;
    *n_tensors = take_int(c, 8);
    for (uint64_t n = take_int(c, 8); n > 0; n--) {
        int found = take_equal(c, key ? key : "");
        uint32_t type = (uint32_t)take_int(c, 4);
        if (found && key)
            return (int)type;
        skip_value(c, type);
    }
    return -1;
}

double ref_number(const struct ref_file *f, const char *key, double otherwise)
{
    struct cursor c = {f, 0};
    uint64_t n_tensors;
    int type = find_key(&c, key, &n_tensors);
    if (type < 0)
        return otherwise;
    if (type == 6) {
        float x;
        memcpy(&x, take(&c, 4), 4);
        return x;
    }
    if (type == 8 || type == 9 || type > 11)
        ref_die(key, "not a number");
    return (double)take_int(&c, scalar_bytes[type]);
}

void ref_string(const struct ref_file *f, const char *key, char *out, size_t cap)
{
    struct cursor c = {f, 0};
    uint64_t n_tensors;
    if (find_key(&c, key, &n_tensors) != 8)
        ref_die(key, "not a string");
    uint64_t n = take_int(&c, 8);
    if (n >= cap)
        ref_die(key, "too long");
    memcpy(out, take(&c, n), n);
    out[n] = 0;
}

double *ref_tensor(const struct ref_file *f, const char *name, uint64_t *cols, uint64_t *rows)
{
    struct cursor c = {f, 0};
    uint64_t n_tensors, offset = 0;
    int32_t type = -1;
    find_key(&c, NULL, &n_tensors);
    for (; n_tensors > 0; n_tensors--) {
        int found = take_equal(&c, name);
        uint64_t dims[2] = {1, 1}, n_dims = take_int(&c, 4);
        for (uint64_t d = 0; d < n_dims; d++)
            dims[d ? 1 : 0] *= take_int(&c, 8);
        int32_t its_type = (int32_t)take_int(&c, 4);
        uint64_t its_offset = take_int(&c, 8);
        if (!found)
            continue;
        *cols = dims[0];
        *rows = dims[1];
        type = its_type;
        offset = its_offset;
    }
    if (type < 0)
        return NULL;
    uint64_t align = (uint64_t)ref_number(f, "general.alignment", 32);
    c.at = (c.at + align - 1) / align * align;
    take(&c, offset);
    uint64_t n = *cols * *rows;
    double *out = ref_alloc(n * sizeof *out);
    if (!ref_decode(type, take(&c, ref_bytes(type, n)), n, out))
        ref_die(name, "unknown weight type");
    return out;
}
