/*
 * Repeatable random numbers: xoshiro256** seeded through splitmix64 (Blackman and Vigna, 2018). Same seed, same
 * sequence, on every machine.
 */
#ifndef AN_BASE_RNG_H
#define AN_BASE_RNG_H

#include <stdint.h>

typedef struct an_rng {
    uint64_t s[4];
} an_rng;

void an_rng_seed(an_rng *rng, uint64_t seed);
uint64_t an_rng_u64(an_rng *rng);
double an_rng_f64(an_rng *rng);                    /* uniform in [0, 1), 53 bits */
uint64_t an_rng_below(an_rng *rng, uint64_t n);    /* uniform in [0, n), n > 0, without modulo bias */

#endif
