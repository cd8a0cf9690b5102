/*
 * A program that uses the installed libanemo: continue a text.
 *
 *     cc main.c $(pkg-config --cflags --libs anemo) -o generate
 *     ./generate model.gguf "Who invented the light bulb?" 32
 */
#include <anemo/anemo.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { IDS_MAX = 4096 };

static anemo_status generate(const char *path, const char *prompt, int n_predict, anemo_error *err)
{
    anemo_model *model = NULL;
    anemo_session *session = NULL;
    static int32_t ids[IDS_MAX];
    size_t n_ids = 0, n_bos = 0, n_bytes;
    int32_t id = -1;
    int i;
    anemo_status status = anemo_model_open(&model, path, err);

    if (!status) status = anemo_bos(model, &id, err);
    if (!status && id >= 0) ids[n_bos++] = id;
    if (!status) status = anemo_tokenize(model, prompt, strlen(prompt), 0, ids + n_bos, IDS_MAX - n_bos, &n_ids, err);
    n_ids += n_bos;
    if (!status && (n_ids == 0 || n_ids > IDS_MAX)) {
        status = err->status = ANEMO_ERR_INVAL;
        strcpy(err->message, "the prompt is empty or has too many tokens");
    }
    if (!status) status = anemo_session_open(&session, model, NULL, err);
    if (!status) status = anemo_session_eval(session, ids, (int)n_ids, err);
    for (i = 0; !status && i < n_predict; i++) {
        char piece[256];
        id = anemo_session_sample(session); /* greedy: no sampling was set */
        if (anemo_is_end(model, id)) break;
        status = anemo_detokenize(model, &id, 1, piece, sizeof piece, &n_bytes, err);
        if (!status) {
            fwrite(piece, 1, n_bytes < sizeof piece ? n_bytes : sizeof piece - 1, stdout);
            status = anemo_session_eval(session, &id, 1, err);
        }
    }
    anemo_session_close(session);
    if (model && anemo_model_close(model)) fputs("the model was still in use\n", stderr);
    return status;
}

int main(int argc, char **argv)
{
    anemo_error err;
    anemo_status status;
    if (argc != 4) {
        fprintf(stderr, "usage: %s MODEL TEXT N (libanemo %s)\n", argv[0], anemo_version());
        return 2;
    }
    status = generate(argv[1], argv[2], atoi(argv[3]), &err);
    putchar('\n');
    if (status) fprintf(stderr, "%s: %s\n", argv[0], err.message);
    return anemo_status_exit_code(status);
}
