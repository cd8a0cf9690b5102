/* report_scene KIND: a made-up run as anemo.run/1 on stdout. */
#include "unit/report/scene.h"

#include "base/json.h"

#include <stdio.h>

int main(int argc, char **argv)
{
    an_run run;
    anemo_error err;
    an_str text = {0};
    scene_kind kind = argc == 2 ? scene_find(argv[1]) : SCENE_N;
    if (kind == SCENE_N) {
        fprintf(stderr, "usage: report_scene compare|aa|bench|sweep|hostile|ordered|empty\n");
        return 2;
    }
    scene_make(&run, kind);
    if (an_json_write(an_run_json(&run), JSON_COMPACT | JSON_REAL_PRECISION(12), &text, &err) != ANEMO_OK) {
        fprintf(stderr, "report_scene: %s\n", err.message);
        return 1;
    }
    puts(an_str_text(&text));
    an_str_free(&text);
    an_run_free(&run);
    return 0;
}
