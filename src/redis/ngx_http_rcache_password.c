
/*
 * Copyright (C) the authors of ngx_http_redis_proxy_cache_module
 */


/*
 * The password file: read with the configuration, and again when the server
 * says that the password is wrong, which is how a rotation looks from here.
 */


#include "ngx_http_rcache_conn.h"


#define NGX_HTTP_RCACHE_PASSWORD_MAX    4096

/* milliseconds from one look into the file to the next */
#define NGX_HTTP_RCACHE_PASSWORD_PAUSE  1000


static const char *ngx_http_rcache_password_line(u_char *buf, size_t *len);
static ssize_t ngx_http_rcache_password_read(ngx_conf_t *cf, ngx_log_t *log,
    u_char *name, u_char *buf, size_t size);
static void ngx_http_rcache_password_error(ngx_conf_t *cf, ngx_log_t *log,
    ngx_err_t err, const char *what, u_char *name);


ngx_int_t
ngx_http_rcache_redis_password(ngx_conf_t *cf,
    ngx_http_rcache_redis_conf_t *rcf)
{
    size_t       len;
    ssize_t      n;
    const char  *wrong;
    u_char       buf[NGX_HTTP_RCACHE_PASSWORD_MAX + sizeof(CRLF)];

    if (ngx_conf_full_name(cf->cycle, &rcf->password_file, 1) != NGX_OK) {
        return NGX_ERROR;
    }

    n = ngx_http_rcache_password_read(cf, cf->log, rcf->password_file.data,
                                      buf, sizeof(buf));
    if (n == NGX_ERROR) {
        return NGX_ERROR;
    }

    len = n;

    wrong = ngx_http_rcache_password_line(buf, &len);

    if (wrong) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0, "password file \"%V\" %s",
                           &rcf->password_file, wrong);

    } else {
        rcf->password.len = len;
        rcf->password.data = ngx_pnalloc(cf->pool, len);

        if (rcf->password.data) {
            ngx_memcpy(rcf->password.data, buf, len);
        }
    }

    ngx_explicit_memzero(buf, sizeof(buf));

    return (wrong || rcf->password.data == NULL) ? NGX_ERROR : NGX_OK;
}


ngx_int_t
ngx_http_rcache_password_reread(ngx_http_rcache_redis_t *redis)
{
    size_t                         len;
    ssize_t                        n;
    ngx_int_t                      rc;
    const char                    *wrong;
    ngx_http_rcache_redis_conf_t  *rcf;
    u_char                         buf[NGX_HTTP_RCACHE_PASSWORD_MAX
                                       + sizeof(CRLF)];

    rcf = redis->conf;

    if (rcf->password_file.len == 0
        || (redis->password_reads
            && ngx_current_msec - redis->password_read_at
               < NGX_HTTP_RCACHE_PASSWORD_PAUSE))
    {
        return NGX_DECLINED;
    }

    redis->password_reads++;
    redis->password_read_at = ngx_current_msec;

    n = ngx_http_rcache_password_read(NULL, redis->log,
                                      rcf->password_file.data, buf,
                                      sizeof(buf));
    if (n == NGX_ERROR) {
        return NGX_DECLINED;
    }

    rc = NGX_DECLINED;
    len = n;

    wrong = ngx_http_rcache_password_line(buf, &len);

    if (wrong) {
        ngx_log_error(NGX_LOG_WARN, redis->log, 0, "password file \"%V\" %s",
                      &rcf->password_file, wrong);

    } else if (len != redis->password.len
               || ngx_memcmp(buf, redis->password.data, len) != 0)
    {
        if (redis->password_buf == NULL) {
            redis->password_buf = ngx_palloc(ngx_cycle->pool,
                                             NGX_HTTP_RCACHE_PASSWORD_MAX);
        }

        if (redis->password_buf) {
            ngx_memcpy(redis->password_buf, buf, len);

            redis->password.data = redis->password_buf;
            redis->password.len = len;
            redis->password_serial++;

            rc = NGX_OK;
        }
    }

    ngx_explicit_memzero(buf, sizeof(buf));

    if (rc == NGX_OK) {
        ngx_log_error(NGX_LOG_NOTICE, redis->log, 0,
                      "redis \"%V\": the password was read again",
                      &rcf->url);
    }

    return rc;
}


/* NULL, or what is wrong; *len is without the end of the line */

static const char *
ngx_http_rcache_password_line(u_char *buf, size_t *len)
{
    u_char  *last;

    last = buf + *len;

    if (last > buf && *(last - 1) == LF) {
        last--;
    }

    if (last > buf && *(last - 1) == CR) {
        last--;
    }

    if (last == buf) {
        return "is empty";
    }

    if (ngx_strlchr(buf, last, LF)) {
        return "has more than one line";
    }

    if (last - buf > NGX_HTTP_RCACHE_PASSWORD_MAX) {
        return "is longer than 4096 bytes";
    }

    *len = last - buf;

    return NULL;
}


/*
 * Until the end or until the buffer is full.  It may be a pipe, but not for
 * a worker that runs, which must not wait.
 */

static ssize_t
ngx_http_rcache_password_read(ngx_conf_t *cf, ngx_log_t *log, u_char *name,
    u_char *buf, size_t size)
{
    size_t           len;
    ssize_t          n;
    ngx_fd_t         fd;
    ngx_file_info_t  fi;

    fd = ngx_open_file(name, NGX_FILE_RDONLY,
                       (cf ? NGX_FILE_OPEN : NGX_FILE_NONBLOCK), 0);

    if (fd == NGX_INVALID_FILE) {
        ngx_http_rcache_password_error(cf, log, ngx_errno, ngx_open_file_n,
                                       name);
        return NGX_ERROR;
    }

    len = 0;
    n = 0;

    if (cf == NULL
        && (ngx_fd_info(fd, &fi) == NGX_FILE_ERROR || !ngx_is_file(&fi)))
    {
        ngx_http_rcache_password_error(cf, log, 0, "reading what is no file",
                                       name);
        n = -1;
        goto done;
    }

    do {
        n = ngx_read_fd(fd, buf + len, size - len);

        if (n == -1) {
            ngx_http_rcache_password_error(cf, log, ngx_errno, ngx_read_fd_n,
                                           name);
            break;
        }

        len += n;

    } while (n > 0 && len < size);

done:

    if (ngx_close_file(fd) == NGX_FILE_ERROR) {
        ngx_log_error(NGX_LOG_ALERT, log, ngx_errno,
                      ngx_close_file_n " \"%s\" failed", name);
    }

    return (n == -1) ? NGX_ERROR : (ssize_t) len;
}


/* that a worker may not read what the master could is common, and no error */

static void
ngx_http_rcache_password_error(ngx_conf_t *cf, ngx_log_t *log, ngx_err_t err,
    const char *what, u_char *name)
{
    if (cf) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, err, "%s \"%s\" failed", what,
                           name);
        return;
    }

    ngx_log_error(NGX_LOG_INFO, log, err, "%s \"%s\" failed", what, name);
}
