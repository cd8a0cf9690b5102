/* Finding, checking and making a model's file of the layout cache; private to engine. */
#ifndef AN_ENGINE_LAYOUT_CACHE_H
#define AN_ENGINE_LAYOUT_CACHE_H

#include "engine/layout.h"

/*
 * Map the file that holds the panels of `list`, made from `m`, in o->cache_dir. One that is not there, is damaged, was made from
 * other weights or in another form is made anew, with a note. *base: where in the map the first panels begin. Failures leave
 * nothing behind: ERR_NOSPACE, ERR_IO, ERR_NOTFOUND (no folder), ERR_NOMEM. Gives *map: an_file_unmap.
 */
ANEMO_MUST_CHECK anemo_status an_layout_cache_open(an_file_map *map, uint64_t *base, const an_model_file *m,
                                                   const an_layout_list *list, const an_weights_options *o,
                                                   an_pool *pool, anemo_error *err);

#endif
