/* verbs_json.c - JSON strings on stdout, for the program's own verbs. */
#include "main.h"

#include "utf8.h"

#include <stdio.h>
#include <string.h>

void rz_json_string(const char *text)
{
    size_t n = strlen(text);
    putchar('"');
    while (n) {
        uint32_t cp;
        size_t len = rz_utf8_decode(text, n, &cp);
        if (!len)
            fputs("\\ufffd", stdout);
        else if (cp == '"' || cp == '\\')
            printf("\\%c", (char)cp);
        else if (cp < 0x20 || cp == 0x7f)
            printf("\\u%04x", cp);
        else
            fwrite(text, 1, len, stdout);
        len = len ? len : 1;
        text += len;
        n -= len;
    }
    putchar('"');
}
