/* canary_race.c - two threads write one word without a lock on purpose: a thread-sanitizer run that does
 * not report it is blind. */
#include "rz_test.h"

#include <pthread.h>

static int word;

static void *write_word(void *arg)
{
    for (int i = 0; i < 100000; i++)
        word += *(int *)arg;
    return NULL;
}

RZ_TEST(canary, races)
{
    int one = 1;
    pthread_t other;
    rz_check_eq(pthread_create(&other, NULL, write_word, &one), 0);
    write_word(&one);
    pthread_join(other, NULL);
    rz_check(word != 0);
}
