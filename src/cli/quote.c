/* Quoting words for a shell. */
#include "cli/quote.h"

#include "base/str.h"

#include <string.h>

char *an_cli_quote_command(int argc, char **argv)
{
    an_str text = {0};
    an_str_append(&text, "anemo");
    for (int i = 0; i < argc; i++) {
        bool plain = argv[i][0] && argv[i][strspn(argv[i], "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                                                            "-_=+./:,@%")] == '\0';
        an_str_append(&text, plain ? " " : " '");
        for (const char *p = argv[i]; *p; p++) {
            if (*p == '\'')
                an_str_append(&text, "'\\''");
            else
                an_str_append_char(&text, *p);
        }
        if (!plain) an_str_append_char(&text, '\'');
    }
    return an_str_take(&text);
}
