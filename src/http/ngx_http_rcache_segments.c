
/*
 * Copyright (C) the authors of ngx_http_redis_proxy_cache_module
 */


/*
 * Commands on the segments of a body: all on one lane, so in the order in
 * which they are given.
 */


#include "ngx_http_rcache_body.h"
#include "ngx_http_rcache_zone.h"


/*
 * KEYS: segments.  ARGV: milliseconds, and - if they are to live no longer
 * than that, + if no shorter.  The reply is how many there are.
 */

static ngx_str_t  ngx_http_rcache_script_life = ngx_string(
    "local n,m=0,tonumber(ARGV[1]) "
    "for i=1,#KEYS do "
      "local t=redis.call('PTTL',KEYS[i]) "
      "if t~=-2 then "
        "n=n+1 "
        "if (t>m)==(ARGV[2]=='-') then redis.call('PEXPIRE',KEYS[i],m) end "
      "end "
    "end "
    "return n"
);


/* KEYS: entry.  ARGV: what was seen of it, its bytes 8 to 15. */

static ngx_str_t  ngx_http_rcache_script_drop = ngx_string(
    "if redis.call('GETRANGE',KEYS[1],8,15)~=ARGV[1] then return 0 end "
    "return redis.call('UNLINK',KEYS[1])"
);


static ngx_http_rcache_op_t *ngx_http_rcache_segments_op(void);
static ngx_http_rcache_op_t *ngx_http_rcache_segments_command(
    ngx_http_rcache_op_t *op, ngx_str_t *argv, ngx_uint_t argc,
    ngx_str_t *base, rcache_segments_t *segments, uint32_t first,
    ngx_str_t *more, ngx_uint_t nmore);


ngx_str_t *
ngx_http_rcache_segment_keys(ngx_pool_t *pool, ngx_str_t *argv,
    ngx_str_t *base, uint64_t id, uint32_t first, uint32_t n)
{
    u_char  *p;

    p = ngx_pnalloc(pool, n * (base->len + RCACHE_SEGMENT_KEY) + 1);
    if (p == NULL) {
        return NULL;
    }

    for ( /* void */ ; n; n--) {
        argv->data = p;

        p = ngx_cpymem(p, base->data, base->len);
        p = rcache_segment_key(p, id, first++);

        argv->len = p - argv->data;
        argv++;
    }

    return argv;
}


static ngx_http_rcache_op_t *
ngx_http_rcache_segments_op(void)
{
    ngx_http_rcache_op_t  *op;

    op = ngx_http_rcache_op_create(1024, ngx_cycle->log);

    if (op) {
        op->lane = NGX_HTTP_RCACHE_LANE_BULK;
        op->max_reply = 1024;
    }

    return op;
}


/* argv, the keys from first on, and what comes behind them */

static ngx_http_rcache_op_t *
ngx_http_rcache_segments_command(ngx_http_rcache_op_t *op, ngx_str_t *argv,
    ngx_uint_t argc, ngx_str_t *base, rcache_segments_t *segments,
    uint32_t first, ngx_str_t *more, ngx_uint_t nmore)
{
    uint32_t     n;
    ngx_str_t   *args, *arg;
    ngx_pool_t  *pool;

    n = segments->count - first;

    /* the arguments are of no use when the command is there */

    pool = ngx_create_pool(NGX_HTTP_RCACHE_ARGS_POOL, ngx_cycle->log);

    if (pool == NULL) {
        ngx_http_rcache_op_free(op);
        return NULL;
    }

    args = ngx_palloc(pool, (argc + n + nmore) * sizeof(ngx_str_t));
    if (args == NULL) {
        goto failed;
    }

    ngx_memcpy(args, argv, argc * sizeof(ngx_str_t));

    arg = ngx_http_rcache_segment_keys(pool, args + argc, base, segments->id,
                                       first, n);
    if (arg == NULL) {
        goto failed;
    }

    if (nmore) {
        ngx_memcpy(arg, more, nmore * sizeof(ngx_str_t));
    }

    if (ngx_http_rcache_op_command(op, args, argc + n + nmore, NULL)
        != NGX_OK)
    {
        goto failed;
    }

    ngx_destroy_pool(pool);

    return op;

failed:

    ngx_destroy_pool(pool);
    ngx_http_rcache_op_free(op);

    return NULL;
}


ngx_http_rcache_op_t *
ngx_http_rcache_segments_life(ngx_str_t *base, rcache_segments_t *segments,
    uint32_t first, u_char mode, ngx_msec_t ms)
{
    u_char                 count[NGX_INT_T_LEN], time[NGX_INT_T_LEN];
    ngx_str_t              argv[3], more[2];
    ngx_http_rcache_op_t  *op;

    op = ngx_http_rcache_segments_op();
    if (op == NULL) {
        return NULL;
    }

    ngx_str_set(&argv[0], "EVAL");
    argv[1] = ngx_http_rcache_script_life;
    argv[2].data = count;
    argv[2].len = ngx_sprintf(count, "%uD", segments->count - first) - count;

    more[0].data = time;
    more[0].len = ngx_sprintf(time, "%M", ms) - time;
    more[1].data = &mode;
    more[1].len = 1;

    return ngx_http_rcache_segments_command(op, argv, 3, base, segments,
                                            first, more, 2);
}


ngx_http_rcache_op_t *
ngx_http_rcache_segments_exist(ngx_str_t *base, rcache_segments_t *segments,
    uint32_t first)
{
    ngx_str_t              argv[1];
    ngx_http_rcache_op_t  *op;

    op = ngx_http_rcache_segments_op();
    if (op == NULL) {
        return NULL;
    }

    ngx_str_set(&argv[0], "EXISTS");

    return ngx_http_rcache_segments_command(op, argv, 1, base, segments,
                                            first, NULL, 0);
}


ngx_http_rcache_op_t *
ngx_http_rcache_segments_get(ngx_str_t *base, rcache_segments_t *segments,
    uint32_t n)
{
    ngx_str_t              argv[2];
    ngx_http_rcache_op_t  *op;

    op = ngx_http_rcache_op_create(1024 + 2 * (base->len + RCACHE_SEGMENT_KEY),
                                   ngx_cycle->log);
    if (op == NULL) {
        return NULL;
    }

    op->lane = NGX_HTTP_RCACHE_LANE_BULK;

    /* with room for what later versions have in the header */

    op->max_reply = segments->size + 65536;

    ngx_str_set(&argv[0], "GET");

    if (ngx_http_rcache_segment_keys(op->pool, &argv[1], base, segments->id, n,
                                     1)
        == NULL
        || ngx_http_rcache_op_command(op, argv, 2, NULL) != NGX_OK)
    {
        ngx_http_rcache_op_free(op);
        return NULL;
    }

    return op;
}


void
ngx_http_rcache_segments_send(ngx_http_rcache_zone_t *zone,
    ngx_http_rcache_op_t *op)
{
    if (op) {
        op->command = RCACHE_COMMAND_INVALIDATE;
    }

    if (op && ngx_http_rcache_zone_submit(zone, op) == RCACHE_REASON_NONE) {
        ngx_http_rcache_op_detach(op);
    }
}


void
ngx_http_rcache_segments_unlink(ngx_http_rcache_zone_t *zone, ngx_str_t *base,
    rcache_segments_t *segments)
{
    ngx_str_t              argv[1];
    ngx_http_rcache_op_t  *op;

    if (segments->count == 0) {
        return;
    }

    op = ngx_http_rcache_segments_op();
    if (op == NULL) {
        return;
    }

    ngx_str_set(&argv[0], "UNLINK");

    op = ngx_http_rcache_segments_command(op, argv, 1, base, segments, 0,
                                          NULL, 0);

    ngx_http_rcache_segments_send(zone, op);
}


void
ngx_http_rcache_segments_retire(ngx_http_rcache_zone_t *zone, ngx_str_t *base,
    ngx_str_t *entry)
{
    rcache_segments_t      segments;
    ngx_http_rcache_op_t  *op;

    if (rcache_entry_segments(&segments, entry->data, entry->len)
        != RCACHE_OK)
    {
        return;
    }

    op = ngx_http_rcache_segments_life(base, &segments, 0, '-',
                                       NGX_HTTP_RCACHE_SEGMENT_GRACE);

    ngx_http_rcache_segments_send(zone, op);
}


void
ngx_http_rcache_segments_drop(ngx_http_rcache_zone_t *zone, ngx_str_t *key,
    ngx_str_t *seen)
{
    ngx_http_rcache_op_t  *op;

    op = ngx_http_rcache_segments_op();
    if (op == NULL) {
        return;
    }

    if (ngx_http_rcache_drop_command(op, key, seen) != NGX_OK) {
        ngx_http_rcache_op_free(op);
        return;
    }

    ngx_http_rcache_segments_send(zone, op);
}


ngx_int_t
ngx_http_rcache_drop_command(ngx_http_rcache_op_t *op, ngx_str_t *key,
    ngx_str_t *seen)
{
    ngx_str_t  argv[5];

    ngx_str_set(&argv[0], "EVAL");
    argv[1] = ngx_http_rcache_script_drop;
    ngx_str_set(&argv[2], "1");
    argv[3] = *key;
    argv[4] = *seen;

    return ngx_http_rcache_op_command(op, argv, 5, NULL);
}
