/* rz_test.h - how a unit test is written: RZ_TEST and the rz_check macros.
 *
 * A file tests/test_NAME.c is one program. Its tests run each in a process of their own, under Criterion,
 * or, where RZ_RUNNER is defined, under tests/runner.c: with ThreadSanitizer, where Criterion 2.4.1
 * aborts, and on other machines, for which it is not there. A check that fails ends its test; checks
 * belong to the test's main thread only. A sanitizer report is not seen by Criterion: tests/run.sh makes
 * each report a file and fails the program for it.
 *
 *     RZ_TEST(map, finds_what_was_put) { rz_check_eq(rz_map_count(&m), 1); }
 */
#ifndef RZ_TEST_H
#define RZ_TEST_H

#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#ifdef RZ_RUNNER

struct rz_test_case {
    const char *suite, *name;
    void (*run)(void);
    struct rz_test_case *next;
};

/* Adds a test to the program; called before main by RZ_TEST. */
void rz_test_add(struct rz_test_case *test);
/* Ends the running test: failed, or skipped for a reason. */
void rz_test_failed(const char *file, int line, const char *format, ...)
    __attribute__((noreturn, format(printf, 3, 4)));
void rz_test_skipped(const char *format, ...) __attribute__((noreturn, format(printf, 1, 2)));

#define RZ_TEST(suite_, name_) \
    static void rz_test_##suite_##_##name_(void); \
    static struct rz_test_case rz_case_##suite_##_##name_ = {#suite_, #name_, rz_test_##suite_##_##name_, \
                                                             NULL}; \
    __attribute__((constructor)) static void rz_test_add_##suite_##_##name_(void) \
    { \
        rz_test_add(&rz_case_##suite_##_##name_); \
    } \
    static void rz_test_##suite_##_##name_(void)
#define rz_fail_test(...) rz_test_failed(__FILE__, __LINE__, __VA_ARGS__)
#define rz_skip(...) rz_test_skipped(__VA_ARGS__)

#else

#include <criterion/criterion.h>

#define RZ_TEST(suite_, name_) Test(suite_, name_)
#define rz_fail_test(...) cr_assert_fail(__VA_ARGS__)
#define rz_skip(...) cr_skip_test(__VA_ARGS__)

#endif

/* The condition holds. */
#define rz_check(cond) \
    do { \
        if (!(cond)) \
            rz_fail_test("%s", "failed: " #cond); \
    } while (0)

/* Two integers are equal. */
#define rz_check_eq(a, b) \
    do { \
        long long rz_a_ = (long long)(a), rz_b_ = (long long)(b); \
        if (rz_a_ != rz_b_) \
            rz_fail_test("%s is %lld, %s is %lld", #a, rz_a_, #b, rz_b_); \
    } while (0)

/* Two strings are equal; NULL equals only NULL. */
#define rz_check_streq(a, b) \
    do { \
        const char *rz_a_ = (a), *rz_b_ = (b); \
        if (rz_a_ != rz_b_ && (!rz_a_ || !rz_b_ || strcmp(rz_a_, rz_b_) != 0)) \
            rz_fail_test("%s is \"%s\", %s is \"%s\"", #a, rz_a_ ? rz_a_ : "(null)", #b, \
                         rz_b_ ? rz_b_ : "(null)"); \
    } while (0)

/* The string a contains the string b. */
#define rz_check_has(a, b) \
    do { \
        const char *rz_a_ = (a), *rz_b_ = (b); \
        if (!rz_a_ || !strstr(rz_a_, rz_b_)) \
            rz_fail_test("%s is \"%s\", without \"%s\"", #a, rz_a_ ? rz_a_ : "(null)", rz_b_); \
    } while (0)

/* The first n bytes are equal. */
#define rz_check_memeq(a, b, n) \
    do { \
        const unsigned char *rz_a_ = (const void *)(a), *rz_b_ = (const void *)(b); \
        for (size_t rz_i_ = 0, rz_n_ = (n); rz_i_ < rz_n_; rz_i_++) \
            if (rz_a_[rz_i_] != rz_b_[rz_i_]) \
                rz_fail_test("%s and %s differ at byte %zu: %02x, %02x", #a, #b, rz_i_, rz_a_[rz_i_], \
                             rz_b_[rz_i_]); \
    } while (0)

/* |a - b| <= tol; a NaN is near nothing. */
#define rz_check_near(a, b, tol) \
    do { \
        double rz_a_ = (a), rz_b_ = (b), rz_t_ = (tol); \
        if (!(fabs(rz_a_ - rz_b_) <= rz_t_)) \
            rz_fail_test("%s is %.17g, %s is %.17g: more than %g apart", #a, rz_a_, #b, rz_b_, rz_t_); \
    } while (0)

/* A call gave RZ_OK; if not, the message of its struct rz_err is shown. */
#define rz_check_ok(call, err) \
    do { \
        int rz_rc_ = (call); \
        if (rz_rc_ != 0) \
            rz_fail_test("%s gave %d: %s: %s", #call, rz_rc_, (err)->where, (err)->message); \
    } while (0)

#endif
