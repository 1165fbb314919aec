/* test_base.c - core/base: buffers, arenas, maps, checked sizes, UTF-8, errors. */
#include "rz_test.h"

#include "arena.h"
#include "buf.h"
#include "checked.h"
#include "err.h"
#include "grow.h"
#include "map.h"
#include "utf8.h"

#include <stdio.h>
#include <stdlib.h>

RZ_TEST(buf, grows_and_stays_terminated)
{
    struct rz_buf b;
    rz_buf_init(&b, 1000);
    for (int i = 0; i < 100; i++)
        rz_check(rz_buf_printf(&b, "%d,", i % 10));
    rz_check_eq(b.len, 200);
    rz_check_eq(strlen(b.data), 200);
    rz_buf_drop(&b, 196);
    rz_check_streq(b.data, "8,9,");
    rz_buf_drop(&b, 99);
    rz_check_eq(b.len, 0);
    rz_buf_free(&b);
}

RZ_TEST(buf, refuses_to_pass_its_maximum_and_stays_bad)
{
    struct rz_buf b;
    rz_buf_init(&b, 4);
    rz_check(rz_buf_str(&b, "1234"));
    rz_check(!rz_buf_str(&b, "5"));
    rz_check(!rz_buf_ok(&b));
    rz_check(!rz_buf_add(&b, "", 0));
    rz_check(!rz_buf_take(&b));
    rz_check_streq(b.data, "1234");
    rz_buf_clear(&b);
    rz_check(rz_buf_str(&b, "abc"));
    rz_check(!rz_buf_reserve(&b, SIZE_MAX));
    rz_buf_free(&b);
}

RZ_TEST(buf, take_gives_an_empty_string_too)
{
    struct rz_buf b;
    rz_buf_init(&b, 10);
    char *text = rz_buf_take(&b);
    rz_check_streq(text, "");
    free(text);
    rz_check_eq(b.len, 0);
}

RZ_TEST(arena, zeroes_aligns_and_caps)
{
    struct rz_arena a;
    rz_arena_init(&a, 1000);
    for (int i = 1; i < 5; i++) {
        unsigned char *p = rz_arena_alloc(&a, (size_t)i * 7);
        rz_check(p);
        rz_check_eq((uintptr_t)p % 16, 0);
        for (int j = 0; j < i * 7; j++)
            rz_check_eq(p[j], 0);
        memset(p, 255, (size_t)i * 7);
    }
    rz_check(!rz_arena_alloc(&a, 1000));
    rz_check(!rz_arena_array(&a, SIZE_MAX / 2, 3));
    rz_check_streq(rz_arena_strndup(&a, "abcdef", 3), "abc");
    rz_check_streq(rz_arena_printf(&a, "%d-%s", 5, "x"), "5-x");
    rz_arena_free(&a);
}

RZ_TEST(grow, doubles_in_an_arena_and_keeps_what_is_there)
{
    struct rz_arena a;
    rz_arena_init(&a, 4000);
    uint32_t *array = NULL, n = 0, moved = 0;
    size_t cap = 0;
    for (void *more; (more = rz_arena_grow(&a, array, n, &cap, sizeof(*array), 3)); array[n] = n, n++) {
        moved += more != array;
        array = more;
        rz_check_eq(array[n], 0);
    }
    /* 12, 24, ... 1536 bytes, each rounded to 16; 3072 more are beyond the arena's cap. */
    rz_check_eq(n, 384);
    rz_check_eq(cap, 384);
    rz_check_eq(moved, 8);
    for (uint32_t i = 0; i < n; i++)
        rz_check_eq(array[i], i);
    rz_arena_free(&a);
}

RZ_TEST(grow, doubles_in_memory_of_its_own)
{
    uint64_t *array = NULL;
    size_t cap = 0;
    for (uint32_t n = 0; n < 100; n++) {
        uint64_t *more = rz_heap_grow(array, n, &cap, sizeof(*array), 7);
        rz_check(more);
        array = more;
        array[n] = n;
    }
    rz_check_eq(cap, 112);
    for (uint32_t i = 0; i < 100; i++)
        rz_check_eq(array[i], i);
    free(array);
}

RZ_TEST(grow, refuses_what_cannot_be_counted)
{
    struct rz_arena a;
    rz_arena_init(&a, 0);
    uint8_t byte = 5;
    size_t many[] = {(size_t)1 << 31, SIZE_MAX / 2, SIZE_MAX};
    for (size_t i = 0; i < sizeof(many) / sizeof(many[0]); i++) {
        size_t cap = many[i];
        rz_check(!rz_arena_grow(&a, &byte, cap, &cap, 1, 64));
        rz_check(!rz_heap_grow(&byte, cap, &cap, 1, 64));
        rz_check_eq(cap, many[i]);
    }
    size_t cap = 1 << 20, none = 0;
    rz_check(!rz_arena_grow(&a, &byte, cap, &cap, SIZE_MAX >> 20, 64));
    rz_check(!rz_heap_grow(&byte, cap, &cap, SIZE_MAX >> 20, 64));
    rz_check(!rz_heap_grow(NULL, 0, &none, 1, SIZE_MAX));
    rz_check_eq(cap, 1 << 20);
    rz_check_eq(none, 0);
    rz_check_eq(byte, 5);
    rz_arena_free(&a);
}

RZ_TEST(arena, large_blocks_do_not_disturb_small_ones)
{
    struct rz_arena a;
    rz_arena_init(&a, 0);
    char *small = rz_arena_strdup(&a, "small");
    char *large = rz_arena_alloc(&a, 1 << 20);
    rz_check(small && large);
    memset(large, 1, 1 << 20);
    char *again = rz_arena_strdup(&a, "again");
    rz_check_streq(small, "small");
    rz_check_streq(again, "again");
    rz_arena_free(&a);
}

RZ_TEST(map, finds_what_was_put_and_nothing_else)
{
    enum {
        N = 5000
    };
    static char keys[N][12];
    struct rz_map m;
    rz_check(rz_map_init(&m, 4));
    for (int i = 0; i < N; i++) {
        int n = snprintf(keys[i], sizeof keys[i], "key%d", i);
        rz_check_eq(rz_map_add(&m, keys[i], (uint64_t)n, (uint32_t)i), 1);
    }
    rz_check_eq(m.count, N);
    for (int i = 0; i < N; i++) {
        uint32_t value = 0;
        rz_check(rz_map_get(&m, keys[i], strlen(keys[i]), &value));
        rz_check_eq(value, i);
    }
    rz_check(!rz_map_get(&m, "key", 3, NULL));
    rz_check(!rz_map_get(&m, "key5000", 7, NULL));
    rz_check_eq(rz_map_add(&m, "key7", 4, 99), 0);
    uint32_t kept = 0;
    rz_check(rz_map_get(&m, "key7", 4, &kept));
    rz_check_eq(kept, 7);
    rz_map_free(&m);
}

RZ_TEST(map, the_empty_key_and_zero_bytes_are_keys)
{
    struct rz_map m;
    rz_check(rz_map_init(&m, 0));
    rz_check_eq(rz_map_add(&m, NULL, 0, 1), 1);
    rz_check_eq(rz_map_add(&m, "\0", 1, 2), 1);
    rz_check_eq(rz_map_add(&m, "\0\0", 2, 3), 1);
    rz_check_eq(rz_map_add(&m, "", 0, 4), 0);
    uint32_t value;
    rz_check(rz_map_get(&m, "\0", 1, &value));
    rz_check_eq(value, 2);
    rz_map_free(&m);
    rz_check(!rz_map_get(&m, "", 0, &value));
}

RZ_TEST(checked, overflow_is_seen_at_the_border)
{
    uint64_t x;
    rz_check(rz_add_u64(UINT64_MAX - 1, 1, &x) && x == UINT64_MAX);
    rz_check(!rz_add_u64(UINT64_MAX, 1, &x));
    rz_check(rz_mul_u64(1ull << 32, (1ull << 32) - 1, &x));
    rz_check(!rz_mul_u64(1ull << 32, 1ull << 32, &x));
    rz_check(rz_align_u64(33, 32, &x) && x == 64);
    rz_check(rz_align_u64(64, 32, &x) && x == 64);
    rz_check(!rz_align_u64(UINT64_MAX - 5, 32, &x));
    rz_check_eq(rz_round_up(7, 3), 9);
}

RZ_TEST(utf8, every_code_point_survives)
{
    for (uint32_t cp = 0; cp <= 0x10ffff; cp++) {
        char out[4];
        uint32_t back;
        if (cp >= 0xd800 && cp <= 0xdfff)
            continue;
        size_t n = rz_utf8_encode(cp, out);
        rz_check_eq(rz_utf8_decode(out, n, &back), n);
        rz_check_eq(back, cp);
        rz_check_eq(rz_utf8_whole(out, n), n);
        if (n > 1)
            rz_check_eq(rz_utf8_whole(out, n - 1), 0);
    }
}

RZ_TEST(utf8, ill_formed_bytes_are_refused)
{
    static const char *const bad[] = {"\x80",
                                      "\xc0\xaf",
                                      "\xc1\xbf",
                                      "\xe0\x9f\xbf",
                                      "\xed\xa0\x80",
                                      "\xf0\x8f\xbf",
                                      "\xf4\x90\x80\x80",
                                      "\xf5\x80\x80\x80",
                                      "\xff",
                                      "\xe2\x82",
                                      "a\xc3",
                                      "\xc3(x"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        rz_check(!rz_utf8_valid(bad[i], strlen(bad[i])));
    rz_check(rz_utf8_valid("a\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80", 10));
    rz_check(rz_utf8_valid("", 0));
}

RZ_TEST(utf8, whole_keeps_bytes_that_can_become_nothing)
{
    rz_check_eq(rz_utf8_whole("ab\xe2\x82", 4), 2);
    rz_check_eq(rz_utf8_whole("ab\xf0\x9f\x98", 5), 2);
    rz_check_eq(rz_utf8_whole("\x80\x80\x80", 3), 3);
    rz_check_eq(rz_utf8_whole("a\xff", 2), 2);
    rz_check_eq(rz_utf8_whole("\xe0\x80", 2), 2);
    rz_check_eq(rz_utf8_bad("\xe2\x82(", 3), 2);
    rz_check_eq(rz_utf8_bad("\x80\x80", 2), 1);
}

RZ_TEST(err, fail_fills_and_wraps)
{
    struct rz_err err = RZ_ERR_INIT;
    rz_check_eq(rz_fail(&err, RZ_EFORMAT, "tensor x", "%d bytes", 5), RZ_EFORMAT);
    rz_check_eq(err.code, RZ_EFORMAT);
    rz_check_streq(err.where, "tensor x");
    rz_check_streq(err.message, "5 bytes");
    rz_check_eq(rz_err_wrap(&err, "model.gguf"), RZ_EFORMAT);
    rz_check_streq(err.where, "model.gguf: tensor x");
    rz_check_eq(rz_fail(&err, RZ_EIO, "again", "%s, then %s", err.message, err.where), RZ_EIO);
    rz_check_streq(err.message, "5 bytes, then model.gguf: tensor x");
    rz_check_eq(rz_fail(NULL, RZ_ENOMEM, "x", "y"), RZ_ENOMEM);
}

RZ_TEST(err, long_messages_are_cut_not_overrun)
{
    struct rz_err err = RZ_ERR_INIT;
    char text[2000];
    memset(text, 'x', sizeof text);
    text[sizeof text - 1] = 0;
    rz_fail(&err, RZ_EIO, text, "%s", text);
    rz_check_eq(strlen(err.where), sizeof err.where - 1);
    rz_check_eq(strlen(err.message), sizeof err.message - 1);
    rz_err_wrap(&err, text);
    rz_check_eq(strlen(err.where), sizeof err.where - 1);
}

RZ_TEST(err, show_prints_any_bytes_in_any_space)
{
    char out[32];
    rz_check_streq(rz_show(out, sizeof out, "a\n\xff", 3), "a\\x0a\\xff");
    rz_check_streq(rz_show(out, 12, "abcdefghijklmnop", 16), "abcdefgh...");
    for (size_t cap = 1; cap < sizeof out; cap++) {
        memset(out, 'z', sizeof out);
        rz_show(out, cap, "\x01\x02mnopqrstuvwxyz\x03\x04", 18);
        rz_check(memchr(out, 0, cap) != NULL);
        for (size_t i = cap; i < sizeof out; i++)
            rz_check_eq(out[i], 'z');
    }
    rz_check_streq(rz_status_name(RZ_EFORMAT), "format");
    rz_check_streq(rz_status_name(-999), "internal");
}
