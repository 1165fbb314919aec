/* canary_leak.c - leaks one block on purpose: an address-sanitizer run that does not report it is blind. */
#include "rz_test.h"

#include <stdlib.h>

RZ_TEST(canary, leaks)
{
    void *volatile block = malloc(100);
    rz_check(block);
    block = NULL;
    rz_check(!block);
}
