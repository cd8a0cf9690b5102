/*
 * Which files of a folder make up a model's weights: those that an index names, else those with the
 * usual names. An index comes from strangers: names in it must be plain, and links must not lead
 * out of the model's place.
 */
#ifndef AN_FORMAT_WEIGHT_LIST_H
#define AN_FORMAT_WEIGHT_LIST_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>

/* One way of naming the files of a model. */
typedef struct an_weight_set {
    const char *index;    /* name of the index file; NULL when such sets have none */
    const char *heads[2]; /* how names begin, the preferred one first; NULL: none */
    const char *suffix;   /* how they end: ".safetensors" */
    bool any_middle;      /* anything may stand between head and suffix; else nothing or
                             "-0000X-of-0000Y" */
    const char *shown;    /* for messages: "model*.safetensors" */
} an_weight_set;

extern const an_weight_set an_weight_set_safetensors; /* model*.safetensors, weight*.safetensors */
extern const an_weight_set an_weight_set_torch;       /* pytorch_model*.bin */
extern const an_weight_set an_weight_set_native_safetensors; /* consolidated*.safetensors */

/* Plain file names in a folder, sorted and without repetition, and the index that named them. */
typedef struct an_weight_list {
    char **items;
    size_t n;
    char *index_text; /* the index file's bytes, or NULL when the names come from the folder */
    size_t index_bytes;
} an_weight_list;

/*
 * The files of a set: those that its index names, else by name (complete when numbered).
 * ERR_NOTFOUND when there are none. Gives the list: an_weight_list_free.
 */
ANEMO_MUST_CHECK anemo_status an_weight_list_open(an_weight_list *list, const char *dir,
                                                  const an_weight_set *set, anemo_error *err);
void an_weight_list_free(an_weight_list *list);

/* Does the folder seem to hold such a set: its index or a file with such a name? `names` as
 * an_dir_list gives them. */
bool an_weight_set_present(const an_weight_set *set, char *const *names, size_t n);

/* One pair of an index: this tensor is said to be in this file. */
typedef anemo_status (*an_weight_pair_fn)(void *ctx, const char *tensor, const char *file,
                                          anemo_error *err);

/* Every pair of the list's index through fn; nothing when it has no index. */
ANEMO_MUST_CHECK anemo_status an_weight_list_pairs(const an_weight_list *list, const char *dir,
                                                   const an_weight_set *set, an_weight_pair_fn fn,
                                                   void *ctx, anemo_error *err);

/*
 * Refuse a file that is a link out of the folder. In a snapshot of the Hugging Face cache
 * (…/models--X/snapshots/REV) files are links into …/models--X/blobs, which is part of the model's
 * place.
 */
ANEMO_MUST_CHECK anemo_status an_weight_file_check_link(const char *dir, const char *name,
                                                        anemo_error *err);

#endif
