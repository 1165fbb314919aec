/* err.c - status names and error messages. No state. */
#include "err.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

int32_t rz_fail(struct rz_err *err, int32_t code, const char *where, const char *format, ...)
{
    if (!err)
        return code;
    va_list args;
    va_start(args, format);
    char message[sizeof(err->message)];
    vsnprintf(message, sizeof(message), format, args);
    va_end(args);
    char place[sizeof(err->where)];
    snprintf(place, sizeof(place), "%s", where ? where : "");
    err->code = code;
    memcpy(err->message, message, sizeof(message));
    memcpy(err->where, place, sizeof(place));
    return code;
}

int32_t rz_err_wrap(struct rz_err *err, const char *context)
{
    if (!err)
        return RZ_EINTERNAL;
    char place[sizeof(err->where)];
    snprintf(place, sizeof(place), "%s%s%.200s", context, err->where[0] ? ": " : "", err->where);
    memcpy(err->where, place, sizeof(place));
    return err->code;
}

const char *rz_show(char *buf, size_t cap, const char *bytes, size_t n)
{
    size_t used = 0;
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)bytes[i];
        size_t need = c < 0x20 || c >= 0x7f ? 4 : 1;
        if (used + need + 4 > cap) {
            if (cap >= 4)
                memcpy(buf + (used + 4 <= cap ? used : cap - 4), "...", 3), used += 3;
            break;
        }
        if (need == 1)
            buf[used++] = (char)c;
        else
            used += (size_t)snprintf(buf + used, cap - used, "\\x%02x", c);
    }
    if (cap)
        buf[used < cap ? used : cap - 1] = 0;
    return buf;
}

const char *rz_status_name(int32_t code)
{
    switch (code) {
    case RZ_OK:
        return "ok";
    case RZ_EINVAL:
        return "invalid";
    case RZ_EUNSUPPORTED:
        return "unsupported";
    case RZ_ENOMEM:
        return "memory";
    case RZ_EIO:
        return "io";
    case RZ_EFORMAT:
        return "format";
    case RZ_ELIMIT:
        return "limit";
    case RZ_EVERSION:
        return "version";
    case RZ_ENOTFOUND:
        return "not_found";
    case RZ_EBUSY:
        return "busy";
    case RZ_ECANCELLED:
        return "cancelled";
    case RZ_ETIMEOUT:
        return "timeout";
    case RZ_ECONFIG:
        return "config";
    case RZ_EDEVICE:
        return "device";
    default:
        return "internal";
    }
}
