
/*
 * Private to the files of src/core/rcache_json.h: a parser with its memory
 * (rcache_json.c), and those that have yajl tell them what comes, the canonical
 * form (rcache_json_canonical.c), members (rcache_json_members.c) and GraphQL
 * (rcache_json_graphql.c).
 */


#ifndef _RCACHE_JSON_PARSER_H_INCLUDED_
#define _RCACHE_JSON_PARSER_H_INCLUDED_


#include "rcache_json.h"

#include <setjmp.h>
#include <yajl/yajl_parse.h>


/* of what a canonical form may take: members, and what yajl needs */

#define RCACHE_JSON_OVERHEAD  16384
#define RCACHE_JSON_FACTOR    24


/* in front of each allocation */

typedef struct rcache_json_block_s  rcache_json_block_t;

struct rcache_json_block_s {
    rcache_json_block_t   *prev;
    rcache_json_block_t   *next;
    size_t                 size;
    size_t                 pad;        /* what follows is aligned */
};


/* of an object whose end has not come */

typedef struct {
    u_char                *start;      /* where it begins in the output */
    size_t                 members;    /* the first of them */
    unsigned               map:1;
    unsigned               first:1;    /* nothing is in it yet */
    unsigned               asked:1;    /* "query" was there */
} rcache_json_level_t;


/* a member: where its name begins, and the last one ended */

typedef struct {
    u_char                *text;
    size_t                 name;       /* length of the name, as written */
    size_t                 len;
} rcache_json_member_t;


struct rcache_json_s {
    rcache_json_memory_t   memory;
    rcache_json_block_t   *blocks;
    size_t                 left;
    jmp_buf                out;

    yajl_handle            yajl;
    unsigned               depth;

    /* of the canonical form */
    u_char                *dst;
    u_char                *spare;
    rcache_json_member_t  *members;
    size_t                 nmembers;
    size_t                 room;

    /* of members that are told one by one */
    rcache_json_member_pt  handler;
    void                  *data;
    rcache_str_t           name;
    u_char                 name_data[RCACHE_JSON_NAME];

    /* of GraphQL */
    size_t                 queries;
    unsigned               query:1;    /* the next value is one */

    rcache_json_level_t    levels[RCACHE_JSON_DEPTH + 1];
};


/* what yajl takes counts; handlers get the parser; NULL: no memory */

rcache_json_t *rcache_json_new(const rcache_json_memory_t *memory,
    size_t limit, const yajl_callbacks *callbacks);

/* a text that is all there: as rcache_json_feed() and rcache_json_end() */

int rcache_json_whole(rcache_json_t *json, const rcache_str_t *text);

/* never NULL: it jumps to json->out instead */

void *rcache_json_malloc(void *ctx, size_t size);

/* handlers: of the beginning of something, if it is not too deep; of its end */

int rcache_json_open(void *ctx);
int rcache_json_close(void *ctx);


#endif /* _RCACHE_JSON_PARSER_H_INCLUDED_ */
