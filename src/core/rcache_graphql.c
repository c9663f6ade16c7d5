
/*
 * Copyright (C) the authors of ngx_http_redis_proxy_cache_module
 */


#include "rcache_graphql.h"


/* a token: a punctuator, or one of these */

#define RCACHE_GRAPHQL_END     0
#define RCACHE_GRAPHQL_NAME    'a'
#define RCACHE_GRAPHQL_OTHER   '0'      /* a number, "..." */
#define RCACHE_GRAPHQL_STRING  '"'
#define RCACHE_GRAPHQL_ERROR   -1


typedef struct {
    const u_char  *p;
    const u_char  *last;
    rcache_str_t   name;
} rcache_graphql_t;


static int rcache_graphql_body(rcache_graphql_t *g);
static int rcache_graphql_selection(rcache_graphql_t *g);
static int rcache_graphql_token(rcache_graphql_t *g);
static void rcache_graphql_skip(rcache_graphql_t *g);
static int rcache_graphql_string(rcache_graphql_t *g);
static int rcache_graphql_is(const rcache_str_t *name, const char *word);


int
rcache_graphql_query(const rcache_str_t *document)
{
    int               token, queries;
    rcache_graphql_t  g;

    g.p = document->data;
    g.last = g.p + document->len;

    queries = 0;

    for ( ;; ) {

        token = rcache_graphql_token(&g);

        if (token == RCACHE_GRAPHQL_END) {
            return queries != 0;
        }

        if (token == '{') {

            /* a query in short */

            queries++;

        } else if (token == RCACHE_GRAPHQL_NAME) {

            if (rcache_graphql_is(&g.name, "query")) {
                queries++;

            } else if (!rcache_graphql_is(&g.name, "fragment")) {
                return 0;
            }

            /* its name, variables, directives, up to what it selects */

            if (!rcache_graphql_body(&g)) {
                return 0;
            }

        } else {
            return 0;
        }

        /* inside of what it selects */

        if (!rcache_graphql_selection(&g)) {
            return 0;
        }
    }
}


/* up to the "{" that is in no parentheses */

static int
rcache_graphql_body(rcache_graphql_t *g)
{
    int     token;
    size_t  depth;

    depth = 0;

    for ( ;; ) {

        token = rcache_graphql_token(g);

        switch (token) {

        case RCACHE_GRAPHQL_END:
        case RCACHE_GRAPHQL_ERROR:
            return 0;

        case '{':

            if (depth == 0) {
                return 1;
            }

            depth++;
            break;

        case '(':
        case '[':
            depth++;
            break;

        case '}':
        case ')':
        case ']':

            if (depth == 0) {
                return 0;
            }

            depth--;
            break;

        default:
            break;
        }
    }
}


/* up to the "}" that closes what has been opened */

static int
rcache_graphql_selection(rcache_graphql_t *g)
{
    size_t  depth;

    depth = 1;

    while (depth) {

        switch (rcache_graphql_token(g)) {

        case RCACHE_GRAPHQL_END:
        case RCACHE_GRAPHQL_ERROR:
            return 0;

        case '{':
        case '(':
        case '[':
            depth++;
            break;

        case '}':
        case ')':
        case ']':
            depth--;
            break;

        default:
            break;
        }
    }

    return 1;
}


static int
rcache_graphql_token(rcache_graphql_t *g)
{
    u_char         ch;
    const u_char  *start;

    rcache_graphql_skip(g);

    if (g->p == g->last) {
        return RCACHE_GRAPHQL_END;
    }

    start = g->p;
    ch = *g->p++;

    if (ch == '"') {
        return rcache_graphql_string(g);
    }

    if ((ch >= 'a' && ch <= 'z') || (ch >= 'A' && ch <= 'Z') || ch == '_') {

        while (g->p < g->last
               && ((*g->p >= 'a' && *g->p <= 'z')
                   || (*g->p >= 'A' && *g->p <= 'Z')
                   || (*g->p >= '0' && *g->p <= '9')
                   || *g->p == '_'))
        {
            g->p++;
        }

        g->name.data = (u_char *) start;
        g->name.len = g->p - start;

        return RCACHE_GRAPHQL_NAME;
    }

    if (memchr("{}()[]!$&:=@|", ch, sizeof("{}()[]!$&:=@|") - 1) != NULL) {
        return ch;
    }

    if ((ch >= '0' && ch <= '9') || ch == '-' || ch == '+' || ch == '.') {
        return RCACHE_GRAPHQL_OTHER;
    }

    return RCACHE_GRAPHQL_ERROR;
}


/* blanks, commas and comments mean nothing, nor does a byte order mark */

static void
rcache_graphql_skip(rcache_graphql_t *g)
{
    while (g->p < g->last) {

        switch (*g->p) {

        case ' ':
        case '\t':
        case '\r':
        case '\n':
        case ',':
            g->p++;
            continue;

        case '#':

            while (g->p < g->last && *g->p != '\n' && *g->p != '\r') {
                g->p++;
            }

            continue;

        case 0xef:

            if (g->last - g->p >= 3 && g->p[1] == 0xbb && g->p[2] == 0xbf) {
                g->p += 3;
                continue;
            }

            return;

        default:
            return;
        }
    }
}


/* behind the first quote */

static int
rcache_graphql_string(rcache_graphql_t *g)
{
    if (g->last - g->p < 2 || g->p[0] != '"' || g->p[1] != '"') {

        while (g->p < g->last) {

            switch (*g->p++) {

            case '"':
                return RCACHE_GRAPHQL_STRING;

            case '\\':

                if (g->p == g->last) {
                    return RCACHE_GRAPHQL_ERROR;
                }

                g->p++;
                break;

            case '\n':
            case '\r':
                return RCACHE_GRAPHQL_ERROR;

            default:
                break;
            }
        }

        return RCACHE_GRAPHQL_ERROR;
    }

    /* a block, in which only \""" is an escape */

    g->p += 2;

    while (g->last - g->p >= 3) {

        if (g->p[0] == '"' && g->p[1] == '"' && g->p[2] == '"') {
            g->p += 3;
            return RCACHE_GRAPHQL_STRING;
        }

        if (g->last - g->p >= 4
            && memcmp(g->p, "\\\"\"\"", 4) == 0)
        {
            g->p += 4;
            continue;
        }

        g->p++;
    }

    return RCACHE_GRAPHQL_ERROR;
}


static int
rcache_graphql_is(const rcache_str_t *name, const char *word)
{
    return name->len == strlen(word)
           && memcmp(name->data, word, name->len) == 0;
}
