/* canary_overflow.c - overflows an int on purpose: an undefined-behaviour run that does not report it is
 * blind. */
#include "rz_test.h"

#include <limits.h>

RZ_TEST(canary, overflows)
{
    volatile int big = INT_MAX;
    volatile int bigger = big + 1;
    rz_check(bigger != 0);
}
