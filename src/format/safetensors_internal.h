/* What the files of the safetensors reader share: which files of a folder belong to a model. */
#ifndef AN_FORMAT_SAFETENSORS_INTERNAL_H
#define AN_FORMAT_SAFETENSORS_INTERNAL_H

#include "format/safetensors.h"

/* Plain file names in a folder, and the index that named them. */
typedef struct st_name_list {
    char **items;
    size_t n;
    char *index_text; /* the index file's bytes, or NULL when the names come from the folder */
    size_t index_bytes;
} st_name_list;

void an_st_names_free(st_name_list *list);

/*
 * The weight files of a folder: those that its index names, else model*.safetensors (complete when
 * numbered), else the old weight*.safetensors. ERR_NOTFOUND when there are none. Gives the list:
 * an_st_names_free.
 */
ANEMO_MUST_CHECK anemo_status an_st_list_files(const char *dir, st_name_list *list, anemo_error *err);

/* Each tensor of the index (if there is one) is in the file that the index says. */
ANEMO_MUST_CHECK anemo_status an_st_check_index(const an_safetensors *st, const char *dir,
                                             const st_name_list *list, anemo_error *err);

#endif
