
/*
 * Copyright (C) the authors of ngx_http_redis_proxy_cache_module
 */


/*
 * What has to be one step in Redis.  The lock of a key is a key of its own;
 * its value is the token of the one who fetches, or a mark:
 *
 *     -  the response could not be cached: do not wait for one that can
 *     !  the refresh failed: leave the upstream alone, serve what is stale
 *     0  void: the entry was invalidated.  The lock is free, but who began
 *        before that and has no lock does not store
 *
 * Who takes a lock that is void puts the mark aside, under the lock's name and
 * ":0", where it stays for the rest of its time: the lock may be gone again,
 * and nothing stored, before those who began earlier are done.
 *
 * The response to an unsafe request may be what is to be stored next.  Its
 * token is under the lock's name and ":p", until the next invalidation.
 *
 * The end of a fetch is published on the channel of the lock's name: +
 * stored, x given up, or the mark.  "Seen" are bytes 8 to 15 of an entry, its
 * checksum, which tell one version from another.
 *
 * A user who may not publish can do all the rest: PUBLISH is the last command,
 * and its failure is not the script's.  What is lost is a hint.
 *
 * EVAL and not EVALSHA: a few hundred bytes are cheaper than to keep track of
 * what a server, after a failover maybe, has in its script cache.
 */


#include "ngx_http_rcache_body.h"
#include "ngx_http_rcache_store.h"


static ngx_int_t ngx_http_rcache_add_command(ngx_http_rcache_op_t *op,
    ngx_http_rcache_store_t *store);


/*
 * KEYS: entry, lock.  ARGV: token, its time in ms, what was seen of the entry.
 * 0: the lock is ours.  1: the entry is another one by now.  Otherwise the
 * value of the lock and the time it has left.
 */

static ngx_str_t  ngx_http_rcache_script_acquire = ngx_string(
    "if redis.call('GETRANGE',KEYS[1],8,15)~=ARGV[3] then return 1 end "
    "local l=redis.call('GET',KEYS[2]) "
    "if l and l~='0' then return {l,redis.call('PTTL',KEYS[2])} end "
    "if l then redis.call('RENAME',KEYS[2],KEYS[2]..':0') end "
    "redis.call('SET',KEYS[2],ARGV[1],'PX',ARGV[2]) "
    "return 0"
);


/* KEYS: lock.  ARGV: token, its time in ms.  0: it is not ours any more. */

static ngx_str_t  ngx_http_rcache_script_renew = ngx_string(
    "if redis.call('GET',KEYS[1])~=ARGV[1] then return 0 end "
    "return redis.call('PEXPIRE',KEYS[1],ARGV[2])"
);


/*
 * KEYS: lock.  ARGV: token, what is published, the time in ms that it stays
 * as a mark.
 */

static ngx_str_t  ngx_http_rcache_script_leave = ngx_string(
    "if redis.call('GET',KEYS[1])~=ARGV[1] then return 0 end "
    "if ARGV[3]=='0' then redis.call('DEL',KEYS[1]) "
    "else redis.call('SET',KEYS[1],ARGV[2],'PX',ARGV[3]) end "
    "redis.pcall('PUBLISH',KEYS[1],ARGV[2]) "
    "return 1"
);


/*
 * The beginning of the entry that is there, if it has the flag SEGMENTED, as
 * far as the block that names them.  Of another type it has none, and is
 * replaced all the same.
 */

#define NGX_HTTP_RCACHE_SCRIPT_OLD                                            \
    "local o=redis.pcall('GETRANGE',KEYS[1],0,79) "                           \
    "if type(o)~='string' or (o:byte(49) or 0)%128<64 then o=nil end "


/*
 * l: the lock, which is ours; or it is gone, or the mark that we began under,
 * which may be another one by now, and nothing was stored or invalidated.
 */

#define NGX_HTTP_RCACHE_SCRIPT_ABSENT                                         \
    "local l=redis.call('GET',KEYS[2]) "                                      \
    "if l and l~=ARGV[1] or (not l or l=='-') "                               \
       "and redis.call('EXISTS',KEYS[1],KEYS[2]..':0')>0 then "               \
      "return 0 "                                                             \
    "end "

#define NGX_HTTP_RCACHE_SCRIPT_LEFT                                           \
    "if l then "                                                              \
      "redis.call('DEL',KEYS[2]) redis.pcall('PUBLISH',KEYS[2],'+') "         \
    "end "


/*
 * KEYS: entry, lock, and for a variant its marker.  ARGV: token, what was
 * seen of the entry, TTL in ms, payload, how many bytes of the entry that is
 * there the payload replaces (0: all); of the marker: what was seen of its
 * generation, the new one, its TTL.
 *
 * A token "*" and a number stores in any case, unless the mark of an
 * invalidation has more than so many milliseconds left: then it came later than
 * the fetch began.  Nor does it write a marker again that was seen and is gone,
 * for all old variants would be back.  A token "*" and a token stores if the
 * last invalidation was its own.  Without a token, or if the lock expired and
 * nobody took it, what was seen must still be there.  If nothing was, then it
 * must not have been invalidated, either.  0: it is not stored.
 *
 * The last KEYS may be segments of the body; then ARGV goes on with how many,
 * and their TTL.  -1: one of them is gone.  If the entry that was there has
 * segments of its own, the answer is the beginning of that.
 *
 * A payload that has been staged is the last of KEYS, as a segment would be,
 * and empty in ARGV.
 */

static ngx_str_t  ngx_http_rcache_script_store = ngx_string(
    "local l,v=redis.call('GET',KEYS[2]),ARGV[4] "
    "local s=#KEYS-(ARGV[9] or 0) "
    "local m=s>2 and KEYS[3] "
    "if ARGV[1]:byte()==42 then "
      "local p=ARGV[1]:sub(2) "
      "if #p==24 then "
        "if redis.call('GET',KEYS[2]..':p')~=p then return 0 end "
      "else "
        "local t=redis.call('PTTL',KEYS[2]..(l=='0' and '' or ':0')) "
        "if t>0 and t>tonumber(p) then return 0 end "
      "end "
      "if m and ARGV[6]~='' "
         "and redis.call('GETRANGE',m,64,67)~=ARGV[6] then "
        "return 0 "
      "end "
      "if l=='0' then l=nil end "
    "else "
      "if l and l~=ARGV[1] or (not l or l=='-') "
         "and (redis.call('GETRANGE',KEYS[1],8,15)~=ARGV[2] "
              "or ARGV[2]=='' and redis.call('EXISTS',KEYS[2]..':0')==1) then "
        "return 0 "
      "end "
      "if m and redis.call('GETRANGE',m,64,67)~=ARGV[6] then return 0 end "
    "end "
    "if ARGV[5]~='0' then "
      "local e=redis.call('GET',KEYS[1]) "
      "if not e or e:sub(9,16)~=ARGV[2] then return 0 end "
      "v=v..e:sub(ARGV[5]+1) "
    "end "
    "for i=s+1,#KEYS do "
      "if redis.call('PEXPIRE',KEYS[i],ARGV[10])==0 then return -1 end "
    "end "
    NGX_HTTP_RCACHE_SCRIPT_OLD
    "if v=='' then redis.call('RENAME',KEYS[#KEYS],KEYS[1]) "
    "else redis.call('SET',KEYS[1],v,'PX',ARGV[3]) end "
    "if m and m~=KEYS[1] then redis.call('SET',m,ARGV[7],'PX',ARGV[8]) end "
    NGX_HTTP_RCACHE_SCRIPT_LEFT
    "return ARGV[5]=='0' and o or 1"
);


/*
 * The same where nothing was there, in one piece and without a marker: what
 * most misses are.  Redis takes the SHA-1 of a script each time, so that a
 * short one takes half as long.  KEYS: entry, lock.  ARGV: token, payload, TTL
 * in ms.
 */

static ngx_str_t  ngx_http_rcache_script_add = ngx_string(
    NGX_HTTP_RCACHE_SCRIPT_ABSENT
    "redis.call('SET',KEYS[1],ARGV[2],'PX',ARGV[3]) "
    NGX_HTTP_RCACHE_SCRIPT_LEFT
    "return 1"
);


/*
 * The same, of a payload that has been staged.  KEYS: entry, lock, stage.
 * ARGV: token, TTL in ms.  -1: it is gone.
 */

static ngx_str_t  ngx_http_rcache_script_move = ngx_string(
    NGX_HTTP_RCACHE_SCRIPT_ABSENT
    "if redis.call('PEXPIRE',KEYS[3],ARGV[2])==0 then return -1 end "
    "redis.call('RENAME',KEYS[3],KEYS[1]) "
    NGX_HTTP_RCACHE_SCRIPT_LEFT
    "return 1"
);


/*
 * KEYS: entry, lock.  ARGV: the time in ms that the lock is void, and the token
 * of who may store all the same, or nothing.  If the entry has segments, the
 * answer is the beginning of it.
 */

static ngx_str_t  ngx_http_rcache_script_void = ngx_string(
    NGX_HTTP_RCACHE_SCRIPT_OLD
    "local p=KEYS[2]..':p' "
    "redis.call('UNLINK',KEYS[1],p) "
    "redis.call('SET',KEYS[2],'0','PX',ARGV[1]) "
    "if ARGV[2]~='' then redis.call('SET',p,ARGV[2],'PX',ARGV[1]) end "
    "redis.pcall('PUBLISH',KEYS[2],'x') "
    "return o or 1"
);


ngx_int_t
ngx_http_rcache_acquire_command(ngx_http_rcache_op_t *op, ngx_str_t *key,
    ngx_str_t *lock, ngx_str_t *token, ngx_msec_t age, ngx_str_t *seen)
{
    u_char     buf[NGX_INT_T_LEN];
    ngx_str_t  argv[8];

    ngx_str_set(&argv[0], "EVAL");
    argv[1] = ngx_http_rcache_script_acquire;
    ngx_str_set(&argv[2], "2");
    argv[3] = *key;
    argv[4] = *lock;
    argv[5] = *token;
    argv[6].data = buf;
    argv[6].len = ngx_sprintf(buf, "%M", age) - buf;
    argv[7] = *seen;

    return ngx_http_rcache_op_command(op, argv, 8, NULL);
}


/*
 * Right behind a lookup that found nothing there is nothing to be compared, so
 * this will do, and costs Redis a third of a script.  If Redis reads the two
 * apart, and somebody stores between them, one more fetches.  OK: the lock is
 * ours; nil: who has it, and for how long, _acquire tells.
 */

ngx_int_t
ngx_http_rcache_take_command(ngx_http_rcache_op_t *op, ngx_str_t *lock,
    ngx_str_t *token, ngx_msec_t age)
{
    u_char     buf[NGX_INT_T_LEN];
    ngx_str_t  argv[6];

    ngx_str_set(&argv[0], "SET");
    argv[1] = *lock;
    argv[2] = *token;
    ngx_str_set(&argv[3], "NX");
    ngx_str_set(&argv[4], "PX");
    argv[5].data = buf;
    argv[5].len = ngx_sprintf(buf, "%M", age) - buf;

    return ngx_http_rcache_op_command(op, argv, 6, NULL);
}


ngx_int_t
ngx_http_rcache_renew_command(ngx_http_rcache_op_t *op, ngx_str_t *lock,
    ngx_str_t *token, ngx_msec_t age)
{
    u_char     buf[NGX_INT_T_LEN];
    ngx_str_t  argv[6];

    ngx_str_set(&argv[0], "EVAL");
    argv[1] = ngx_http_rcache_script_renew;
    ngx_str_set(&argv[2], "1");
    argv[3] = *lock;
    argv[4] = *token;
    argv[5].data = buf;
    argv[5].len = ngx_sprintf(buf, "%M", age) - buf;

    return ngx_http_rcache_op_command(op, argv, 6, NULL);
}


ngx_int_t
ngx_http_rcache_leave_command(ngx_http_rcache_op_t *op, ngx_str_t *lock,
    ngx_str_t *token, u_char mark, ngx_msec_t keep)
{
    u_char     buf[NGX_INT_T_LEN];
    ngx_str_t  argv[7];

    ngx_str_set(&argv[0], "EVAL");
    argv[1] = ngx_http_rcache_script_leave;
    ngx_str_set(&argv[2], "1");
    argv[3] = *lock;
    argv[4] = *token;
    argv[5].data = &mark;
    argv[5].len = 1;
    argv[6].data = buf;
    argv[6].len = ngx_sprintf(buf, "%M", keep) - buf;

    return ngx_http_rcache_op_command(op, argv, 7, NULL);
}


ngx_int_t
ngx_http_rcache_store_command(ngx_http_rcache_op_t *op,
    ngx_http_rcache_store_t *store)
{
    u_char      ttl[NGX_INT64_LEN], offset[NGX_SIZE_T_LEN];
    u_char      marker_ttl[NGX_INT64_LEN], segments_ttl[NGX_INT64_LEN];
    u_char      keys[NGX_INT_T_LEN], segments[NGX_INT_T_LEN];
    uint32_t    nsegments, last;
    ngx_int_t   rc;
    ngx_str_t   args[18], *argv, *arg;
    ngx_uint_t  marker;
    ngx_pool_t *pool;

    pool = NULL;
    argv = args;

    marker = (store->marker_key.len != 0);
    nsegments = store->segments ? store->segments->count : 0;
    last = store->stage.len ? 1 : nsegments;

    if (store->seen.len == 0
        && store->offset == 0
        && !marker
        && nsegments == 0
        && !(store->token.len && store->token.data[0] == '*'))
    {
        return ngx_http_rcache_add_command(op, store);
    }

    if (nsegments) {

        /* the arguments are of no use when the command is there */

        pool = ngx_create_pool(NGX_HTTP_RCACHE_ARGS_POOL, ngx_cycle->log);
        if (pool == NULL) {
            return NGX_ERROR;
        }

        argv = ngx_palloc(pool, (16 + nsegments) * sizeof(ngx_str_t));
        if (argv == NULL) {
            ngx_destroy_pool(pool);
            return NGX_ERROR;
        }
    }

    arg = argv;

    ngx_str_set(arg, "EVAL");
    arg++;
    *arg++ = ngx_http_rcache_script_store;

    arg->data = keys;
    arg->len = ngx_sprintf(keys, "%uD", last + (marker ? 3 : 2)) - keys;
    arg++;

    *arg++ = store->key;
    *arg++ = store->lock;

    if (marker) {
        *arg++ = store->marker_key;
    }

    if (nsegments) {
        arg = ngx_http_rcache_segment_keys(pool, arg, &store->base,
                                           store->segments->id, 0, nsegments);
        if (arg == NULL) {
            ngx_destroy_pool(pool);
            return NGX_ERROR;
        }

    } else if (last) {
        *arg++ = store->stage;
    }

    *arg++ = store->token;
    *arg++ = store->seen;

    arg->data = ttl;
    arg->len = ngx_sprintf(ttl, "%L", store->ttl) - ttl;
    arg++;

    arg->data = NULL;
    arg->len = store->stage.len ? 0 : store->size;
    arg++;

    arg->data = offset;
    arg->len = ngx_sprintf(offset, "%uz", store->offset) - offset;
    arg++;

    if (marker) {
        *arg++ = store->seen_generation;
        *arg++ = store->marker;

        arg->data = marker_ttl;
        arg->len = ngx_sprintf(marker_ttl, "%L", store->marker_ttl)
                   - marker_ttl;
        arg++;
    }

    if (last && !marker) {
        ngx_str_null(arg);
        arg++;
        ngx_str_null(arg);
        arg++;
        ngx_str_null(arg);
        arg++;
    }

    if (last) {
        arg->data = segments;
        arg->len = ngx_sprintf(segments, "%uD", last) - segments;
        arg++;

        arg->data = segments_ttl;
        arg->len = ngx_sprintf(segments_ttl, "%L",
                               nsegments ? store->ttl
                                           + NGX_HTTP_RCACHE_SEGMENT_GRACE
                                         : store->ttl)
                   - segments_ttl;
        arg++;
    }

    rc = ngx_http_rcache_op_command(op, argv, arg - argv, store->payload);

    if (pool) {
        ngx_destroy_pool(pool);
    }

    return rc;
}


static ngx_int_t
ngx_http_rcache_add_command(ngx_http_rcache_op_t *op,
    ngx_http_rcache_store_t *store)
{
    u_char     ttl[NGX_INT64_LEN];
    ngx_str_t  argv[8];

    ngx_str_set(&argv[0], "EVAL");
    argv[3] = store->key;
    argv[4] = store->lock;
    argv[7].data = ttl;
    argv[7].len = ngx_sprintf(ttl, "%L", store->ttl) - ttl;

    if (store->stage.len) {
        argv[1] = ngx_http_rcache_script_move;
        ngx_str_set(&argv[2], "3");
        argv[5] = store->stage;
        argv[6] = store->token;

        return ngx_http_rcache_op_command(op, argv, 8, NULL);
    }

    argv[1] = ngx_http_rcache_script_add;
    ngx_str_set(&argv[2], "2");
    argv[5] = store->token;
    argv[6].data = NULL;
    argv[6].len = store->size;

    return ngx_http_rcache_op_command(op, argv, 8, store->payload);
}


/*
 * Lua hashes all bytes of a string that it is given, which takes Redis longer
 * than all else that it does to store a response of some KiB.  So the payload
 * goes ahead, under a name of its own, and the script only renames it.  If that
 * does not come, it goes by itself.
 */

ngx_int_t
ngx_http_rcache_stage_command(ngx_http_rcache_op_t *op,
    ngx_http_rcache_store_t *store)
{
    u_char     ttl[NGX_INT64_LEN];
    ngx_str_t  argv[5];

    ngx_str_set(&argv[0], "SET");
    argv[1] = store->stage;
    argv[2].data = NULL;
    argv[2].len = store->size;
    ngx_str_set(&argv[3], "PX");
    argv[4].data = ttl;
    argv[4].len = ngx_sprintf(ttl, "%d", NGX_HTTP_RCACHE_SEGMENT_GRACE) - ttl;

    return ngx_http_rcache_op_command(op, argv, 5, store->payload);
}


ngx_int_t
ngx_http_rcache_void_command(ngx_http_rcache_op_t *op, ngx_str_t *key,
    ngx_str_t *lock, ngx_msec_t time, ngx_str_t *token)
{
    u_char     buf[NGX_INT_T_LEN];
    ngx_str_t  argv[7];

    ngx_str_set(&argv[0], "EVAL");
    argv[1] = ngx_http_rcache_script_void;
    ngx_str_set(&argv[2], "2");
    argv[3] = *key;
    argv[4] = *lock;
    argv[5].data = buf;
    argv[5].len = ngx_sprintf(buf, "%M", time) - buf;

    if (token) {
        argv[6] = *token;

    } else {
        ngx_str_null(&argv[6]);
    }

    return ngx_http_rcache_op_command(op, argv, 7, NULL);
}
