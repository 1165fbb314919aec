/* test_spm.c - SentencePiece on a small vocabulary, and what both kinds of vocabulary refuse. */
#include "tok.h"

extern const struct rz_plugin rz_builtin_bpe, rz_builtin_spm;

/* --- a vocabulary with scores --- */
enum {
    UNK,
    BOS,
    EOS,
    BYTE0,
    SP = BYTE0 + 256,
    LA,
    LB,
    LC,
    LL,
    SAB,
    ABX,
    BCX,
    SPSP,
    UMLAUT,
    TAG,
    S_END,
    SPM_N
};
#define US "\342\226\201"

static void spm_meta(struct meta *m)
{
    static struct rz_str tokens[SPM_N];
    static char bytes[256][7];
    float scores[SPM_N] = {0};
    int32_t kinds[SPM_N];
    for (int i = 0; i < SPM_N; i++)
        kinds[i] = RZ_TOKEN_NORMAL;
    tokens[UNK] = S("<unk>");
    tokens[BOS] = S("<s>");
    tokens[EOS] = S("</s>");
    kinds[UNK] = RZ_TOKEN_UNKNOWN;
    kinds[BOS] = kinds[EOS] = RZ_TOKEN_CONTROL;
    for (int b = 0; b < 256; b++) {
        snprintf(bytes[b], sizeof(bytes[b]), "<0x%02X>", (unsigned)b);
        tokens[BYTE0 + b] = (struct rz_str){bytes[b], 6};
        kinds[BYTE0 + b] = RZ_TOKEN_BYTE;
    }
    static const struct rz_str words[] = {S(US),   S("a"),  S("b"),   S("c"),        S("l"),     S(US "ab"),
                                          S("ab"), S("bc"), S(US US), S("\303\244"), S("<tag>"), S("s>")};
    for (size_t i = 0; i < N(words); i++) {
        tokens[SP + i] = words[i];
        scores[SP + i] = -1.0f - (float)i;
    }
    scores[BCX] = -0.5f; /* better than "ab" */
    kinds[TAG] = RZ_TOKEN_USER;
    meta_str(m, K "model", "llama");
    meta_strs(m, K "tokens", tokens, SPM_N);
    meta_f32s(m, K "scores", scores, SPM_N);
    meta_i32s(m, K "token_type", kinds, SPM_N);
}

RZ_TEST(spm, merges_by_score_then_leftmost)
{
    struct meta m = {0};
    struct tok t;
    spm_meta(&m);
    make(&t, &rz_builtin_spm, &m);
    rz_check_eq(SP, 259);
    check_ids(&t, "", 0, "");
    check_ids(&t, "ab", 0, "264");          /* one word with its space */
    check_ids(&t, "abc", 0, "259 260 266"); /* "bc" goes first */
    check_ids(&t, "ab ab", 0, "264 264");
    check_ids(&t, "   a", 0, "267 267 260"); /* four spaces: pairs from the left */
    check_ids(&t, "  a", 0, "267 259 260");
    check_ids(&t, "\303\244", 0, "259 268");
    stop(&t);
    meta_free(&m);
}

RZ_TEST(spm, other_characters_become_bytes)
{
    struct meta m = {0};
    struct tok t;
    spm_meta(&m);
    make(&t, &rz_builtin_spm, &m);
    check_ids(&t, "x", 0, "259 123");
    check_ids(&t, "\303\251", 0, "259 198 172");
    check_ids(&t, "\377a\303", 0, "259 258 260 198");
    check_ids(&t, "<0x41>", 0, "259 63 51 123 55 52 65"); /* spelled, not meant */
    stop(&t);
    meta_free(&m);
}

RZ_TEST(spm, a_space_follows_each_special_token)
{
    struct meta m = {0};
    struct tok t;
    spm_meta(&m);
    make(&t, &rz_builtin_spm, &m);
    check_ids(&t, "ab</s>ab<tag>c", RZ_ENCODE_SPECIAL, "264 2 264 269 259 262");
    check_ids(&t, "<s>", RZ_ENCODE_SPECIAL, "1");
    check_ids(&t, "<tag>c", 0, "269 259 262");
    check_ids(&t, "ab", RZ_ENCODE_BOS | RZ_ENCODE_EOS, "1 264 2");
    /* "<" is no token and "s>" is; nothing spells <s> without the flag */
    check_ids(&t, "<s>", 0, "259 63 270");
    stop(&t);
    meta_bool(&m, K "add_space_prefix", 0);
    make(&t, &rz_builtin_spm, &m);
    check_ids(&t, "ab</s>ab", RZ_ENCODE_SPECIAL, "265 2 265");
    stop(&t);
    meta_free(&m);
}

RZ_TEST(spm, plain_stretches_have_no_control_tokens)
{
    struct meta m = {0};
    struct tok t;
    spm_meta(&m);
    make(&t, &rz_builtin_spm, &m);
    check_marked(&t, "<s>{ab}</s>", "1 264 2"); /* the space is there at the start of a stretch of text ... */
    check_marked(&t, "a{b}", "264");            /* ... and nowhere else */
    check_marked(&t, "ab{ab}", "264 265");
    check_marked(&t, "{<s>}a", "259 63 270 260");
    check_marked(&t, "<{s>}a", "259 63 270 260");
    check_marked(&t, "<s{>}a", "259 63 270 260");
    check_marked(&t, "<s>{<s>}", "1 259 63 270");
    check_marked(&t, "{<tag>}", "269");
    stop(&t);
    meta_free(&m);
}

RZ_TEST(spm, without_byte_tokens_unknown)
{
    static const struct rz_str tokens[] = {S("<unk>"), S("<s>"), S("</s>"), S(US), S("a")};
    static const float scores[5];
    static const int32_t kinds[] = {2, 3, 3, 1, 1};
    struct meta m = {0};
    struct tok t;
    meta_str(&m, K "model", "llama");
    meta_strs(&m, K "tokens", tokens, 5);
    meta_f32s(&m, K "scores", scores, 5);
    meta_i32s(&m, K "token_type", kinds, 5);
    make(&t, &rz_builtin_spm, &m);
    check_ids(&t, "a\303\251b", 0, "3 4 0 0");
    struct rz_tokenizer_info info = {.size = sizeof(info)};
    rz_check_eq(t.api->info(t.tok, &info), RZ_OK);
    rz_check_eq(info.bos, 1);
    rz_check_eq(info.eos, 2);
    rz_check_eq(info.unk, 0);
    rz_check_eq(info.add_bos, 1);
    rz_check_eq(info.add_eos, 0);
    stop(&t);
    meta_free(&m);
}

RZ_TEST(spm, decodes)
{
    static const int32_t ids[] = {BOS, SAB, SAB, BYTE0 + 0xc3, BYTE0 + 0xa9, TAG, SPSP, LC, EOS, -1};
    static const int32_t spaces[] = {SPSP, LA, -1};
    struct meta m = {0};
    struct tok t;
    char out[8];
    spm_meta(&m);
    make(&t, &rz_builtin_spm, &m);
    rz_check_streq(text_of(&t, ids, 0), "ab ab\303\251<tag>  c");
    rz_check_streq(text_of(&t, ids, RZ_DECODE_SPECIAL), "<s> ab ab\303\251<tag>  c</s>");
    rz_check_streq(text_of(&t, spaces, 0), " a");                          /* one space only */
    struct rz_decode_state state = {.size = sizeof(state), .n_tokens = 5}; /* goes on with a text */
    rz_check_eq(t.api->decode(t.tok, &state, SAB, 0, out, sizeof(out)), 3);
    rz_check_memeq(out, " ab", 3);
    stop(&t);
    meta_bool(&m, K "add_space_prefix", 0);
    make(&t, &rz_builtin_spm, &m);
    rz_check_streq(text_of(&t, spaces, 0), "  a");
    stop(&t);
    meta_free(&m);
}

RZ_TEST(spm, decode_leaves_the_state_when_room_is_short)
{
    struct meta m = {0};
    struct tok t;
    char out[4] = "????";
    spm_meta(&m);
    make(&t, &rz_builtin_spm, &m);
    struct rz_decode_state state = {.size = sizeof(state)};
    rz_check_eq(t.api->decode(t.tok, &state, SAB, 0, out, 1), 2);
    rz_check_eq(out[0], '?');
    rz_check_eq(state.n_tokens, 0);
    rz_check_eq(t.api->decode(t.tok, &state, SAB, 0, out, 2), 2);
    rz_check_memeq(out, "ab??", 4);
    rz_check_eq(t.api->decode(t.tok, &state, SAB, 0, out, 4), 3);
    rz_check_memeq(out, " ab", 3);
    stop(&t);
    meta_free(&m);
}

RZ_TEST(spm, phi3_tokens_take_white_space_with_them)
{
    struct meta m = {0};
    struct tok t;
    spm_meta(&m);
    meta_str(&m, "general.name", "My Phi-3 mini");
    make(&t, &rz_builtin_spm, &m);
    check_ids(&t, "</s> \n ab", RZ_ENCODE_SPECIAL, "2 264");
    check_ids(&t, "<s> ab", RZ_ENCODE_SPECIAL, "1 259 264");
    check_ids(&t, "</s>  ", RZ_ENCODE_SPECIAL, "2");
    stop(&t);
    meta_free(&m);
}

/* --- bad metadata --- */
static const uint32_t small_id = 3;
static const float few_scores[2];
static const int32_t few_kinds[2] = {1, 1};
static const float nans[SPM_N] = {[5] = __builtin_nanf("")};

static const struct change spm_changes[] = {
    {K "scores", -1, 0, 0, NULL, 0, RZ_EFORMAT, "key " K "scores", "missing"},
    {K "scores", RZ_META_ARRAY, RZ_META_F32, 2, few_scores, 8, RZ_EFORMAT, "key " K "scores",
     "2 scores for 271 tokens"},
    {K "scores", RZ_META_ARRAY, RZ_META_I32, 2, few_kinds, 8, RZ_EFORMAT, "key " K "scores", "array of f32"},
    {K "scores", RZ_META_ARRAY, RZ_META_F32, SPM_N, nans, sizeof(nans), RZ_EFORMAT, "key " K "scores",
     "the score of token 5 is not a number"},
    {K "add_space_prefix", RZ_META_U32, RZ_META_U32, 1, &small_id, 4, RZ_EFORMAT, "key " K "add_space_prefix",
     "must be a bool"},
    ID("bos_token_id"),
};

RZ_TEST(spm, refuses_long_tokens_and_misspelled_bytes)
{
    static char big[65537];
    struct rz_str tokens[3] = {S("a"), S("b"), {big, sizeof(big)}};
    static const float scores[3];
    int32_t kinds[3] = {1, 1, 1};
    memset(big, 'x', sizeof(big));
    for (int i = 0; i < 3; i++) {
        struct meta m = {0};
        meta_str(&m, K "model", "llama");
        tokens[2].len = i == 0 ? 65537 : i == 1 ? 257 : 6;
        kinds[2] = i == 0 ? RZ_TOKEN_NORMAL : i == 1 ? RZ_TOKEN_CONTROL : RZ_TOKEN_BYTE;
        meta_strs(&m, K "tokens", tokens, 3);
        meta_f32s(&m, K "scores", scores, 3);
        meta_i32s(&m, K "token_type", kinds, 3);
        if (i < 2)
            check_refused(&rz_builtin_spm, &m, RZ_ELIMIT, "key " K "tokens[2]",
                          i ? "special token is longer than 256" : "longer than 65536");
        else
            check_refused(&rz_builtin_spm, &m, RZ_EFORMAT, "key " K "tokens",
                          "token 2 is a byte but not spelled");
    }
}

RZ_TEST(spm, other_models_are_not_ours)
{
    static const char *const names[] = {"bert", "t5", "", "gpt", "llama2", "LLAMA"};
    struct tok b, s;
    start(&b, &rz_builtin_bpe);
    start(&s, &rz_builtin_spm);
    for (size_t i = 0; i < N(names); i++) {
        struct meta m = {0};
        meta_str(&m, K "model", names[i]);
        rz_check_eq(b.api->probe(b.self, meta_model(&m)), 0);
        rz_check_eq(s.api->probe(s.self, meta_model(&m)), 0);
        meta_free(&m);
    }
    struct meta none = {0};
    rz_check_eq(b.api->probe(b.self, meta_model(&none)), 0);
    stop(&b);
    stop(&s);
}

RZ_TEST(spm, refuses_bad_metadata)
{
    check_changes(&rz_builtin_spm, spm_meta, spm_changes, N(spm_changes));
}

RZ_TEST(spm, a_megabyte_of_anything)
{
    struct meta m = {0};
    struct tok t;
    spm_meta(&m);
    make(&t, &rz_builtin_spm, &m);
    check_long(&t);
    stop(&t);
    meta_free(&m);
}

RZ_TEST(spm, threads_may_encode_at_once)
{
    struct meta m = {0};
    struct tok t;
    spm_meta(&m);
    make(&t, &rz_builtin_spm, &m);
    check_threads(&t);
    stop(&t);
    meta_free(&m);
}
