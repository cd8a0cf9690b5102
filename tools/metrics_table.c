/*
 * The table of docs/metrics.md, from src/record/fields.def: tools/metrics.sh puts it there, and a test compares it.
 * It is a program because the X-macro is read by the compiler that also makes the database's columns and the JSON keys of it.
 */
#include "record/rep.h"

#include <stdio.h>

static void cell(const char *text)
{
    putchar(' ');
    for (; *text; text++) {
        if (*text == '|') putchar('\\');
        putchar(*text);
    }
    fputs(" |", stdout);
}

int main(void)
{
    static const char *const better[] = {"lower", "higher", "–"}, *const kind[] = {"whole number", "real"};
    fputs("| metric | name | unit | type | better | definition | source |\n| --- | --- | --- | --- | --- | --- | --- |\n", stdout);
    for (int i = 0; i < AN_FIELD_N; i++) {
        const an_field *f = an_field_get((an_field_id)i);
        char name[80];
        snprintf(name, sizeof name, "`%s`", f->name);
        putchar('|');
        cell(f->title);
        cell(name);
        cell(f->unit);
        cell(kind[f->kind]);
        cell(better[f->better]);
        cell(f->definition);
        cell(f->source);
        putchar('\n');
    }
    return 0;
}
