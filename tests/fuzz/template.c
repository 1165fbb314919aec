/* template.c - fuzz target: a chat template and its values: the input is a template, a zero byte, JSON. */
#include "fuzz.h"
#include "jinja.h"

#include <string.h>

/* Stretches from outside are in order, apart, and inside of the text. */
static void check_marks(const struct rz_buf *out, const struct rz_buf *marks)
{
    const struct rz_span *spans = (const void *)marks->data;
    uint64_t at = 0;
    for (size_t i = 0; i < marks->len / sizeof(*spans); i++) {
        if (spans[i].begin < at || spans[i].end <= spans[i].begin || spans[i].end > out->len)
            __builtin_trap();
        at = spans[i].end;
    }
    fuzz_read(out->data, out->len);
}

static void render(const char *text, size_t n, const struct rz_jvalue *context)
{
    const struct rz_template_limits limits = {
        .max_steps = 20000, .max_memory = 4 << 20, .max_output = 1 << 20};
    struct rz_err err = RZ_ERR_INIT;
    struct rz_template *t;
    struct rz_buf out, marks;
    rz_buf_init(&out, 1 << 20);
    rz_buf_init(&marks, 16 << 20);
    int32_t code = rz_template_parse(text, n, &t, &err);
    if (!code) {
        code = rz_template_render(t, context, &limits, &out, &marks, &err);
        rz_template_free(t);
    }
    fuzz_status(code, &err);
    if (!code)
        check_marks(&out, &marks);
    rz_buf_free(&out);
    rz_buf_free(&marks);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char usual[] =
        "{\"messages\":[{\"role\":\"user\",\"content\":\"h\\u00e9\"},{\"role\":\"x\",\"c\":[1,2.5,"
        "null,true]}],\"tools\":null,\"d\":{\"a\":{\"b\":[]}}}";
    const uint8_t *zero = size ? memchr(data, 0, size) : NULL;
    size_t n = zero ? (size_t)(zero - data) : size;
    struct rz_err err = RZ_ERR_INIT;
    struct rz_arena arena;
    struct rz_jvalue context;
    rz_arena_init(&arena, 0);
    bool ok = zero && !rz_jvalue_json(&arena, (const char *)zero + 1, size - n - 1, &context, &err);
    if (!ok || context.type != RZ_J_DICT)
        ok = !rz_jvalue_json(&arena, usual, strlen(usual), &context, NULL);
    if (ok)
        render((const char *)data, n, &context);
    rz_arena_free(&arena);
    return 0;
}
