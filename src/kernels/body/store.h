/* Where sums of products end. Included after a lanes header. */
#ifndef AN_BODY_STORE_H
#define AN_BODY_STORE_H

#include "kernels/table.h"

/* Sums of a panel's first n_row rows (all from AN_PANEL_ROWS on) into out, or with `add` onto what is there. */
LANE_FN void store_rows(float *out, vf sum, int n_row, bool add)
{
    if (n_row >= AN_PANEL_ROWS) vf_store(out, add ? vf_add(vf_load(out), sum) : sum);
    else vf_store_n(out, add ? vf_add(vf_load_n(out, n_row), sum) : sum, n_row);
}

#endif
