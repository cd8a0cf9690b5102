/* Looks and their level. */
#include "stats/sequential.h"

const int an_look_blocks[AN_LOOK_N] = {6, 9, 14, 20, 30};

double an_look_level(int n_look, double level)
{
    return n_look > 1 ? 1 - (1 - level) / n_look : level;
}
