/* A program of somebody else: it sees the installed headers and library only. */
#include <anemo/status.h>

#include <stdio.h>
#include <string.h>

int main(void)
{
    if (strcmp(anemo_status_name(ANEMO_ERR_FORMAT), "err_format")) return 1;
    if (anemo_status_exit_code(ANEMO_ERR_NOTFOUND) != 4) return 2;
    puts(anemo_status_text(ANEMO_OK));
    return 0;
}
