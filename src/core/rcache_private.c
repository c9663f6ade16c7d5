
/*
 * Copyright (C) the authors of ngx_http_redis_proxy_cache_module
 */


#include "rcache_private.h"


static const u_char *rcache_private_member(const u_char *p,
    const u_char *last);


u_char *
rcache_private_cc(u_char *dst, const rcache_str_t *value)
{
    const u_char  *p, *last, *end;
    rcache_str_t   member;

    memcpy(dst, "private", sizeof("private") - 1);
    dst += sizeof("private") - 1;

    p = value->data;
    last = p + value->len;

    while (p < last) {

        if (*p == ' ' || *p == '\t' || *p == ',') {
            p++;
            continue;
        }

        end = rcache_private_member(p, last);

        member.data = (u_char *) p;
        member.len = end - p;

        while (member.data[member.len - 1] == ' '
               || member.data[member.len - 1] == '\t')
        {
            member.len--;
        }

        p = end;

        if (rcache_str_is(&member, "public")
            || rcache_str_is(&member, "private"))
        {
            continue;
        }

        *dst++ = ',';
        *dst++ = ' ';

        memcpy(dst, member.data, member.len);
        dst += member.len;
    }

    return dst;
}


/* where a member of the list ends: at a comma that is in no quoted string */

static const u_char *
rcache_private_member(const u_char *p, const u_char *last)
{
    int  quoted;

    quoted = 0;

    for ( /* void */ ; p < last; p++) {

        if (quoted) {

            if (*p == '\\' && p + 1 < last) {
                p++;

            } else if (*p == '"') {
                quoted = 0;
            }

            continue;
        }

        if (*p == '"') {
            quoted = 1;

        } else if (*p == ',') {
            break;
        }
    }

    return p;
}


int
rcache_private_targeted(const rcache_str_t *name)
{
    rcache_str_t  end;

    if (rcache_str_is(name, "Surrogate-Control")) {
        return 1;
    }

    if (name->len <= sizeof("-Cache-Control") - 1) {
        return 0;
    }

    end.len = sizeof("-Cache-Control") - 1;
    end.data = name->data + name->len - end.len;

    return rcache_str_is(&end, "-Cache-Control");
}
