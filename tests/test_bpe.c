/* test_bpe.c - byte-level BPE on a small vocabulary: merging, special tokens, decoding, bad metadata. */
#include "tok.h"

extern const struct rz_plugin rz_builtin_bpe;

/* --- a byte-level vocabulary: 0..255 are the bytes, then what merges make, then special tokens --- */
enum {
    AB = 256,
    ABC,
    BC,
    CD,
    ABAB,
    SPACE_A,
    EOT,
    PAD,
    USER,
    USER2,
    BPE_N
};

static char spelled[256][3];

static void bpe_meta(struct meta *m)
{
    static struct rz_str tokens[BPE_N];
    static const struct rz_str merges[] = {S("b c"), S("a b"),   S("ab c"),
                                           S("c d"), S("ab ab"), S("\304\240 a")};
    int32_t kinds[BPE_N];
    for (int b = 0, extra = 256; b < 256; b++) {
        int plain = (b > 32 && b < 127) || (b > 160 && b != 173);
        unsigned cp = plain ? (unsigned)b : (unsigned)extra++;
        size_t len = 1;
        spelled[b][0] = (char)cp;
        if (cp >= 0x80) {
            spelled[b][0] = (char)(0xc0 | cp >> 6);
            spelled[b][1] = (char)(0x80 | (cp & 63));
            len = 2;
        }
        tokens[b] = (struct rz_str){spelled[b], len};
    }
    tokens[AB] = S("ab");
    tokens[ABC] = S("abc");
    tokens[BC] = S("bc");
    tokens[CD] = S("cd");
    tokens[ABAB] = S("abab");
    tokens[SPACE_A] = S("\304\240a");
    tokens[EOT] = S("<|endoftext|>");
    tokens[PAD] = S("<|endoftext|>pad");
    tokens[USER] = S("<u>");
    tokens[USER2] = S("<u> \303\244");
    for (int i = 0; i < BPE_N; i++)
        kinds[i] = i < EOT ? RZ_TOKEN_NORMAL : i < USER ? RZ_TOKEN_CONTROL : RZ_TOKEN_USER;
    meta_str(m, K "model", "gpt2");
    meta_str(m, K "pre", "gpt-2");
    meta_strs(m, K "tokens", tokens, BPE_N);
    meta_strs(m, K "merges", merges, N(merges));
    meta_i32s(m, K "token_type", kinds, BPE_N);
    meta_u32(m, K "bos_token_id", EOT);
    meta_u32(m, K "eos_token_id", EOT);
    meta_u32(m, K "padding_token_id", UINT32_MAX);
}

RZ_TEST(bpe, merges_by_rank_then_leftmost)
{
    struct meta m = {0};
    struct tok t;
    bpe_meta(&m);
    make(&t, &rz_builtin_bpe, &m);
    check_ids(&t, "", 0, "");
    check_ids(&t, "ab", 0, "256");
    check_ids(&t, "abc", 0, "97 258"); /* "b c" ranks before "a b" */
    check_ids(&t, "abd", 0, "256 100");
    check_ids(&t, "bcd", 0, "258 100");
    check_ids(&t, "ababab", 0, "260 256"); /* the leftmost of equals */
    check_ids(&t, "abababab", 0, "260 260");
    check_ids(&t, " a  a", 0, "261 32 261"); /* words do not merge with each other */
    check_ids(&t, "a b", 0, "97 32 98");
    stop(&t);
    meta_free(&m);
}

RZ_TEST(bpe, long_words_give_what_short_ones_do)
{
    struct meta m = {0};
    struct tok t;
    char text[202];
    bpe_meta(&m);
    make(&t, &rz_builtin_bpe, &m);
    for (size_t i = 0; i < 200; i += 2)
        memcpy(text + i, "ab", 3);
    for (size_t n = 2; n <= 200; n += 2) { /* abab ... ab?: pairs from the left */
        char want[4096] = "";
        size_t len = 0;
        for (size_t k = 0; k + 4 <= n; k += 4)
            len += (size_t)snprintf(want + len, sizeof(want) - len, "%s%d", k ? " " : "", ABAB);
        if (n % 4)
            snprintf(want + len, sizeof(want) - len, "%s%d", len ? " " : "", AB);
        rz_check_streq(ids_of(&t, text, n, 0), want);
    }
    stop(&t);
    meta_free(&m);
}

RZ_TEST(bpe, finds_special_tokens_longest_first)
{
    struct meta m = {0};
    struct tok t;
    bpe_meta(&m);
    make(&t, &rz_builtin_bpe, &m);
    check_ids(&t, "ab<|endoftext|>ab", RZ_ENCODE_SPECIAL, "256 262 256");
    check_ids(&t, "<|endoftext|>pad<|endoftext|>pa", RZ_ENCODE_SPECIAL, "263 262 112 97");
    check_ids(&t, "<u>ab<u> \303\244", RZ_ENCODE_SPECIAL, "264 256 265");
    check_ids(&t, "<u>ab<u> \303\244", 0, "264 256 265"); /* user-defined ones always */
    check_ids(&t, "ab", RZ_ENCODE_BOS | RZ_ENCODE_EOS, "262 256 262");
    check_ids(&t, "", RZ_ENCODE_BOS | RZ_ENCODE_EOS | RZ_ENCODE_SPECIAL, "262 262");
    rz_check(!strstr(ids_of(&t, "<|endoftext|>", 13, 0), "262")); /* a user cannot spell a control token */
    stop(&t);
    meta_free(&m);
}

RZ_TEST(bpe, plain_stretches_have_no_control_tokens)
{
    static const char *const merges = "60 124 101 110 100 111 102 116 101 120 116 124 62";
    struct meta m = {0};
    struct tok t;
    char both[300];
    bpe_meta(&m);
    make(&t, &rz_builtin_bpe, &m);
    check_marked(&t, "<|endoftext|>{ab}<|endoftext|>", "262 256 262");
    check_marked(&t, "a{b}ab", "260"); /* one word, whoever wrote its parts */
    check_marked(&t, "{<|endoftext|>}", merges);
    check_marked(&t, "{<}|endoftext|>", merges);
    check_marked(&t, "<|endoftext|{>}", merges);
    check_marked(&t, "<|end{}oftext|>", merges); /* an empty one counts */
    check_marked(&t, "{}<|endoftext|>{}", "262");
    check_marked(&t, "<|endoftext|>{pad}", "262 112 97 100"); /* the shorter one is trusted */
    snprintf(both, sizeof(both), "%s 112 97 100", merges);
    check_marked(&t, "{<|endoftext|>pad}", both);
    check_marked(&t, "{<u>}{<u>}", "264 264"); /* users may write what users may write */
    struct rz_span plain[2] = {{0, 2}, {1, 3}};
    struct rz_marked_text in = {.size = sizeof(in), .text = "abc", .n = 3, .plain = plain, .n_plain = 2};
    uint64_t count = 7;
    rz_check_eq(t.api->encode_marked(t.tok, &in, NULL, 0, &count, &t.err), RZ_EINVAL);
    rz_check_streq(t.err.message, "plain stretch 1 is [1, 3) of 3 bytes, after one that ends at 2");
    rz_check_eq(count, 0);
    plain[1] = (struct rz_span){2, 4};
    rz_check_eq(t.api->encode_marked(t.tok, &in, NULL, 0, &count, &t.err), RZ_EINVAL);
    stop(&t);
    meta_free(&m);
}

/* Tokens that a file calls user-defined, and that are control tokens by their use or by their look; and one
 * that the merges make. */
RZ_TEST(bpe, markers_are_guarded_whatever_the_file_calls_them)
{
    struct meta m = {0};
    struct tok t;
    bpe_meta(&m);
    const struct rz_meta *old = &m.entries[0];
    for (; strcmp(old->key.data, K "tokens") != 0;)
        old++;
    struct rz_str *tokens = (struct rz_str *)(uintptr_t)old->data;
    int32_t kinds[BPE_N];
    for (int i = 0; i < BPE_N; i++)
        kinds[i] = i >= EOT ? RZ_TOKEN_USER : i == ABAB ? RZ_TOKEN_CONTROL : RZ_TOKEN_NORMAL;
    tokens[USER2] = S("<|a|>");
    meta_i32s(&m, K "token_type", kinds, BPE_N);
    meta_u32(&m, K "bos_token_id", USER);
    make(&t, &rz_builtin_bpe, &m);
    check_marked(&t, "<u><|a|>", "264 265");
    check_marked(&t, "{<u><|a|>}", "60 117 62 60 124 97 124 62");
    check_marked(&t, "{abab}abab", "256 256 260");
    stop(&t);
    meta_free(&m);
}

/* The flags of folders; what they do in general is compared with the package `tokenizers` elsewhere. */
static void flagged(struct meta *m, struct tok *t, int32_t flags)
{
    int32_t pairs[] = {USER, flags};
    bpe_meta(m);
    meta_i32s(m, "tokenizer.rz.added_tokens", pairs, 2);
    make(t, &rz_builtin_bpe, m);
}

RZ_TEST(bpe, added_tokens_have_flags)
{
    static const struct {
        int32_t flags;
        const char *text, *ids;
    } cases[] = {
        {0, "a <u> b", "97 32 264 32 98"},
        {1, "a <u> b", "97 264 32 98"},
        {2, "a <u> \n b", "97 32 264 98"},
        {3, " <u> <u> ", "264 264"},
        {4, "a<u>", "97 60 117 62"},
        {4, "<u>_<u>\303\251<u>.", "60 117 62 95 60 117 62 195 169 60 117 62 46"},
        {4, ".<u>.", "46 264 46"},
        {8, "<u><u> \303\244", "264 265"}, /* the other one goes first */
        {0, "<u><u> \303\244", "264 265"},
        {2, "<u> \342\200\200x", "264 120"},
    };
    for (size_t i = 0; i < N(cases); i++) {
        struct meta m = {0};
        struct tok t;
        flagged(&m, &t, cases[i].flags);
        check_ids(&t, cases[i].text, 0, cases[i].ids);
        stop(&t);
        meta_free(&m);
    }
    static const int32_t bad[][2] = {{-1, 0}, {BPE_N, 0}, {USER, 32}, {USER, -1}};
    for (size_t i = 0; i < N(bad); i++) {
        struct meta m = {0};
        bpe_meta(&m);
        meta_i32s(&m, "tokenizer.rz.added_tokens", bad[i], 2);
        check_refused(&rz_builtin_bpe, &m, RZ_EFORMAT, "key tokenizer.rz.added_tokens[0]", "with flags");
    }
}

/* White space is looked at once, however many tokens take it. */
RZ_TEST(bpe, stripping_is_linear)
{
    static const struct rz_str spaces[] = {S("\n")};
    struct meta m = {0};
    struct tok t;
    size_t n = 1 << 20;
    char *text = malloc(n);
    uint64_t count;
    rz_check(text != NULL);
    bpe_meta(&m);
    struct rz_meta *tokens = &m.entries[0];
    while (strcmp(tokens->key.data, K "tokens") != 0)
        tokens++;
    ((struct rz_str *)(uintptr_t)tokens->data)[USER] = spaces[0];
    meta_i32s(&m, "tokenizer.rz.added_tokens", (int32_t[]){USER, 2}, 2);
    make(&t, &rz_builtin_bpe, &m);
    memset(text, '\n', n);
    rz_check_ok(t.api->encode(t.tok, text, n, 0, NULL, 0, &count, &t.err), &t.err);
    rz_check_eq(count, n);
    free(text);
    stop(&t);
    meta_free(&m);
}

RZ_TEST(bpe, tells_about_itself)
{
    struct meta m = {0};
    struct tok t;
    char piece[8];
    bpe_meta(&m);
    make(&t, &rz_builtin_bpe, &m);
    struct rz_tokenizer_info info = {.size = sizeof(info)};
    rz_check_eq(t.api->info(t.tok, &info), RZ_OK);
    rz_check_eq(info.n_vocab, BPE_N);
    rz_check_eq(info.bos, EOT);
    rz_check_eq(info.eos, EOT);
    rz_check_eq(info.unk, -1);
    rz_check_eq(info.pad, -1);
    rz_check_eq(info.add_bos, 0);
    rz_check_eq(info.n_end, 1);
    rz_check_eq(info.end[0], EOT);
    info.size = 8;
    rz_check_eq(t.api->info(t.tok, &info), RZ_EINVAL);
    rz_check_eq(t.api->piece(t.tok, SPACE_A, piece, sizeof(piece)), 3);
    rz_check_memeq(piece, "\304\240a", 3);
    rz_check_eq(t.api->piece(t.tok, EOT, piece, sizeof(piece)), 13);
    rz_check(t.api->piece(t.tok, BPE_N, piece, sizeof(piece)) < 0);
    rz_check(t.api->piece(t.tok, -1, piece, sizeof(piece)) < 0);
    rz_check_eq(t.api->kind(t.tok, USER), RZ_TOKEN_USER);
    rz_check_eq(t.api->kind(t.tok, EOT), RZ_TOKEN_CONTROL);
    rz_check(t.api->kind(t.tok, BPE_N) < 0);
    rz_check(t.api->decode(t.tok, NULL, -1, 0, piece, sizeof(piece)) < 0);
    stop(&t);
    meta_free(&m);
}

RZ_TEST(bpe, decodes)
{
    struct meta m = {0};
    struct tok t;
    char out[2] = "??";
    bpe_meta(&m);
    make(&t, &rz_builtin_bpe, &m);
    static const int32_t ids[] = {EOT, AB, SPACE_A, USER2, 10, 0xc3, 0xa9, EOT, -1};
    rz_check_streq(text_of(&t, ids, 0), "ab a<u> \303\244\n\303\251");
    rz_check_streq(text_of(&t, ids, RZ_DECODE_SPECIAL),
                   "<|endoftext|>ab a<u> \303\244\n\303\251<|endoftext|>");
    struct rz_decode_state state = {.size = sizeof(state)};
    rz_check_eq(t.api->decode(t.tok, &state, ABC, 0, out, sizeof(out)), 3);
    rz_check_memeq(out, "??", 2); /* too long: nothing is written */
    rz_check_eq(state.n_tokens, 0);
    stop(&t);
    meta_free(&m);
}

RZ_TEST(bpe, any_bytes_come_back)
{
    struct meta m = {0};
    struct tok t;
    uint64_t state = 99;
    bpe_meta(&m);
    make(&t, &rz_builtin_bpe, &m);
    for (int round = 0; round < 2000; round++) {
        char text[64], back[64];
        int32_t ids[80];
        uint64_t count;
        size_t n = (size_t)round % sizeof(text), len = 0;
        for (size_t i = 0; i < n; i++) {
            state = state * 6364136223846793005u + 1442695040888963407u;
            text[i] = (char)(state >> 56);
        }
        rz_check_ok(t.api->encode(t.tok, text, n, 0, ids, N(ids), &count, &t.err), &t.err);
        rz_check(count <= n);
        for (uint64_t i = 0; i < count; i++)
            len += (size_t)t.api->decode(t.tok, NULL, ids[i], 0, back + len, sizeof(back) - len);
        rz_check_eq(len, n);
        rz_check_memeq(back, text, n);
    }
    stop(&t);
    meta_free(&m);
}

RZ_TEST(bpe, counts_past_the_capacity)
{
    struct meta m = {0};
    struct tok t;
    int32_t ids[4] = {-7, -7, -7, -7};
    uint64_t count;
    bpe_meta(&m);
    make(&t, &rz_builtin_bpe, &m);
    rz_check_ok(t.api->encode(t.tok, "a.b.c", 5, 0, ids, 3, &count, &t.err), &t.err);
    rz_check_eq(count, 5);
    rz_check_eq(ids[2], 'b');
    rz_check_eq(ids[3], -7);
    rz_check_ok(t.api->encode(t.tok, "a.b.c", 5, 0, NULL, 0, &count, &t.err), &t.err);
    rz_check_eq(count, 5);
    stop(&t);
    meta_free(&m);
}

RZ_TEST(bpe, llama3_takes_whole_words_first)
{
    struct meta m = {0};
    struct tok t;
    bpe_meta(&m);
    meta_str(&m, K "pre", "llama-bpe");
    make(&t, &rz_builtin_bpe, &m);
    check_ids(&t, "abc abc", 0, "257 261 258"); /* "abc" is a token that merges never reach */
    check_ids(&t, "abcd", 0, "97 258 100");
    struct rz_tokenizer_info info = {.size = sizeof(info)};
    rz_check_eq(t.api->info(t.tok, &info), RZ_OK);
    rz_check_eq(info.add_bos, 1);
    stop(&t);
    meta_bool(&m, K "add_bos_token", 0);
    make(&t, &rz_builtin_bpe, &m);
    rz_check_eq(t.api->info(t.tok, &info), RZ_OK);
    rz_check_eq(info.add_bos, 0);
    stop(&t);
    meta_free(&m);
}

RZ_TEST(bpe, pre_can_be_overridden)
{
    struct meta m = {0};
    struct tok t;
    bpe_meta(&m);
    meta_str(&m, K "pre", "nonsense");
    start(&t, &rz_builtin_bpe);
    rz_check_ok(t.api->create(t.self, meta_model(&m), "smollm", &t.tok, &t.err), &t.err);
    check_ids(&t, "12", 0, "49 50");
    stop(&t);
    meta_free(&m);
}

RZ_TEST(bpe, ends_are_found_by_key_and_by_spelling)
{
    struct meta m = {0};
    struct tok t;
    struct rz_tokenizer_info info = {.size = sizeof(info)};
    bpe_meta(&m);
    meta_u32(&m, K "eos_token_id", PAD);
    meta_u32(&m, K "eot_token_id", USER);
    make(&t, &rz_builtin_bpe, &m);
    rz_check_eq(t.api->info(t.tok, &info), RZ_OK);
    rz_check_eq(info.n_end, 3);
    rz_check_eq(info.end[0], PAD);
    rz_check_eq(info.end[1], USER);
    rz_check_eq(info.end[2], EOT);
    stop(&t);
    meta_free(&m);
}

RZ_TEST(bpe, ends_are_found_in_a_list)
{
    static const int32_t more[] = {7, PAD, 9};
    struct meta m = {0};
    struct tok t;
    struct rz_tokenizer_info info = {.size = sizeof(info)};
    bpe_meta(&m);
    meta_u32(&m, K "eos_token_id", PAD);
    meta_i32s(&m, "tokenizer.rz.end_token_ids", more, N(more));
    make(&t, &rz_builtin_bpe, &m);
    rz_check_eq(t.api->info(t.tok, &info), RZ_OK);
    rz_check_eq(info.n_end, 4);
    rz_check(info.end[0] == PAD && info.end[1] == 7 && info.end[2] == 9 && info.end[3] == EOT);
    stop(&t);
    meta_free(&m);
}

/* --- bad metadata --- */
static const uint32_t small_id = 3;
static const float few_scores[2];
static const int32_t few_kinds[2] = {1, 1};
static const int32_t bad_kind[BPE_N] = {[7] = 7}, negative_kind[BPE_N] = {[9] = -1};
static const struct rz_str twice[] = {S("a"), S("b"), S("a")}, text = S("text");
static const struct rz_str one_merge[] = {S("a b"), S("ab")}, no_left[] = {S("zz a")},
                           no_right[] = {S("a zz")}, no_result[] = {S("a d")}, short_merge[] = {S("a ")},
                           three[] = {S("a b c")};

#define MERGE(list, i, message) \
    { \
        K "merges", RZ_META_ARRAY, RZ_META_STR, N(list), list, sizeof(list), RZ_EFORMAT, \
            "key " K "merges[" #i "]", message \
    }

static const struct change bpe_changes[] = {
    {K "tokens", -1, 0, 0, NULL, 0, RZ_EFORMAT, "key " K "tokens", "no vocabulary"},
    {K "tokens", RZ_META_ARRAY, RZ_META_STR, 0, NULL, 0, RZ_EFORMAT, "key " K "tokens", "no vocabulary"},
    {K "tokens", RZ_META_ARRAY, RZ_META_F32, 2, few_scores, 8, RZ_EFORMAT, "key " K "tokens",
     "not an array of f32"},
    {K "tokens", RZ_META_U32, RZ_META_U32, 1, &small_id, 4, RZ_EFORMAT, "key " K "tokens",
     "array of string, not u32"},
    {K "tokens", RZ_META_ARRAY, RZ_META_STR, 3, twice, sizeof(twice), RZ_EFORMAT, "key " K "tokens[2]",
     "was there before"},
    {K "token_type", RZ_META_ARRAY, RZ_META_I32, 2, few_kinds, 8, RZ_EFORMAT, "key " K "token_type",
     "2 kinds for 266 tokens"},
    {K "token_type", RZ_META_ARRAY, RZ_META_F32, 2, few_scores, 8, RZ_EFORMAT, "key " K "token_type",
     "must be an array of i32"},
    {K "token_type", RZ_META_ARRAY, RZ_META_I32, BPE_N, bad_kind, sizeof(bad_kind), RZ_EFORMAT,
     "key " K "token_type[7]", "no such kind"},
    {K "token_type", RZ_META_ARRAY, RZ_META_I32, BPE_N, negative_kind, sizeof(negative_kind), RZ_EFORMAT,
     "key " K "token_type[9]", "no such kind"},
    {K "merges", -1, 0, 0, NULL, 0, RZ_EFORMAT, "key " K "merges", "missing"},
    {K "merges", RZ_META_ARRAY, RZ_META_I32, 2, few_kinds, 8, RZ_EFORMAT, "key " K "merges",
     "array of string"},
    MERGE(one_merge, 1, "two tokens with a space"),
    MERGE(no_left, 0, "left side is no token"),
    MERGE(no_right, 0, "right side is no token"),
    MERGE(no_result, 0, "what it makes is no token"),
    MERGE(short_merge, 0, "two tokens with a space"),
    MERGE(three, 0, "right side is no token"),
    {K "pre", -1, 0, 0, NULL, 0, RZ_EUNSUPPORTED, "key " K "pre", "missing"},
    {K "pre", RZ_META_STR, RZ_META_STR, 1, &text, sizeof(text), RZ_EUNSUPPORTED, "key " K "pre",
     "no such pre-tokenizer: \"text\""},
    {K "pre", RZ_META_U32, RZ_META_U32, 1, &small_id, 4, RZ_EFORMAT, "key " K "pre",
     "must be a string, not u32"},
    {K "add_bos_token", RZ_META_U32, RZ_META_U32, 1, &small_id, 4, RZ_EFORMAT, "key " K "add_bos_token",
     "must be a bool"},
    {K "add_eos_token", RZ_META_STR, RZ_META_STR, 1, &text, sizeof(text), RZ_EFORMAT,
     "key " K "add_eos_token", "must be a bool, not string"},
    {K "eos_token_id", RZ_META_STR, RZ_META_STR, 1, &text, sizeof(text), RZ_EFORMAT, "key " K "eos_token_id",
     "must be a u32, not string"},
    ID("bos_token_id"),
    ID("eos_token_id"),
    ID("unknown_token_id"),
    ID("padding_token_id"),
    ID("eot_token_id"),
    ID("eom_token_id"),
    ID("fim_pad_token_id"),
    {"tokenizer.rz.end_token_ids", RZ_META_ARRAY, RZ_META_I32, BPE_N, negative_kind, sizeof(negative_kind),
     RZ_EFORMAT, "key tokenizer.rz.end_token_ids[9]", "no such token"},
    {"tokenizer.rz.end_token_ids", RZ_META_ARRAY, RZ_META_F32, 2, few_scores, 8, RZ_EFORMAT,
     "key tokenizer.rz.end_token_ids", "array of i32"},
};

RZ_TEST(bpe, refuses_bad_metadata)
{
    check_changes(&rz_builtin_bpe, bpe_meta, bpe_changes, N(bpe_changes));
}

RZ_TEST(bpe, a_megabyte_of_anything)
{
    struct meta m = {0};
    struct tok t;
    bpe_meta(&m);
    make(&t, &rz_builtin_bpe, &m);
    check_long(&t);
    stop(&t);
    meta_free(&m);
}

RZ_TEST(bpe, threads_may_encode_at_once)
{
    struct meta m = {0};
    struct tok t;
    bpe_meta(&m);
    make(&t, &rz_builtin_bpe, &m);
    check_threads(&t);
    stop(&t);
    meta_free(&m);
}
