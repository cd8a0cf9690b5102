/* What every test program includes: cmocka with its prerequisites, and checks of our status values. */
#ifndef AN_TESTS_SUPPORT_TEST_H
#define AN_TESTS_SUPPORT_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/error.h"

#include <stdio.h>
#include <string.h>

/* The call succeeds; prints the message when it does not. */
#define assert_ok(call, err)                                                                       \
    do {                                                                                           \
        anemo_status status_ = (call);                                                             \
        if (status_ != ANEMO_OK)                                                                   \
            fail_msg("%s: %s: %s", #call, anemo_status_name(status_), (err)->message);             \
    } while (0)

/* The call fails with this status and a message that contains `text`. */
#define assert_fails(call, err, expected, text)                                                    \
    do {                                                                                           \
        anemo_status status_ = (call);                                                             \
        if (status_ != (expected))                                                                 \
            fail_msg("%s: got %s, expected %s", #call, anemo_status_name(status_),                 \
                     anemo_status_name(expected));                                                 \
        if (!strstr((err)->message, (text)))                                                       \
            fail_msg("%s: message '%s' lacks '%s'", #call, (err)->message, (text));                \
    } while (0)

#endif
