/* The command line as it can be typed again. */
#ifndef AN_CLI_QUOTE_H
#define AN_CLI_QUOTE_H

/* "anemo" and the words [argc], quoted for a shell where they need it. NULL when out of memory; an_free. */
char *an_cli_quote_command(int argc, char **argv);

#endif
