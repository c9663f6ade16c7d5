
/*
 * Copyright (C) the authors of ngx_http_redis_proxy_cache_module
 */


#include "ngx_http_rcache_wake.h"


/* in the heap: cycles share them, while each has a pool of its own */

struct ngx_http_rcache_pipes_s {
    ngx_uint_t   refs;
    ngx_uint_t   n;
    ngx_fd_t     fd[NGX_HTTP_RCACHE_WAKE_WORKERS][2];
};


static ngx_http_rcache_pipes_t *ngx_http_rcache_pipes_create(ngx_uint_t n,
    ngx_log_t *log);
static ngx_int_t ngx_http_rcache_pipe(ngx_fd_t *fd, ngx_log_t *log);
static ngx_http_rcache_pipes_t *ngx_http_rcache_pipes_share(
    ngx_http_rcache_pipes_t *pipes);
static void ngx_http_rcache_pipes_release(ngx_http_rcache_pipes_t *pipes);
static void ngx_http_rcache_pipes_deafen(ngx_http_rcache_pipes_t *pipes);
static void ngx_http_rcache_pipe_close(ngx_fd_t *fd);
static void ngx_http_rcache_wake_cleanup(void *data);
static void ngx_http_rcache_wake_read(ngx_event_t *ev);
static void ngx_http_rcache_wake_write(ngx_http_rcache_pipes_t *pipes,
    uint64_t workers);


ngx_http_rcache_wake_t *
ngx_http_rcache_wake_init_module(ngx_cycle_t *cycle,
    ngx_http_rcache_wake_t *old)
{
    ngx_uint_t               n;
    ngx_core_conf_t         *ccf;
    ngx_pool_cleanup_t      *cln;
    ngx_http_rcache_wake_t  *wake;

    ccf = (ngx_core_conf_t *) ngx_get_conf(cycle->conf_ctx, ngx_core_module);

    if (ngx_test_config || !ccf->master) {
        return NULL;
    }

    wake = ngx_pcalloc(cycle->pool, sizeof(ngx_http_rcache_wake_t));
    if (wake == NULL) {
        return NULL;
    }

    cln = ngx_pool_cleanup_add(cycle->pool, 0);
    if (cln == NULL) {
        return NULL;
    }

    cln->handler = ngx_http_rcache_wake_cleanup;
    cln->data = wake;

    n = ngx_min((ngx_uint_t) ccf->worker_processes,
                NGX_HTTP_RCACHE_WAKE_WORKERS);

    if (old) {
        wake->word = !old->word;
        wake->previous = ngx_http_rcache_pipes_share(old->own);

        /* who reads these exists already */
        ngx_http_rcache_pipes_deafen(wake->previous);

        if (old->next && old->next->n >= n) {
            wake->own = ngx_http_rcache_pipes_share(old->next);
        }
    }

    if (wake->own == NULL) {
        wake->own = ngx_http_rcache_pipes_create(n, cycle->log);
        if (wake->own == NULL) {
            return NULL;
        }
    }

    wake->next = ngx_http_rcache_pipes_create(n, cycle->log);

    return wake;
}


static ngx_http_rcache_pipes_t *
ngx_http_rcache_pipes_create(ngx_uint_t n, ngx_log_t *log)
{
    ngx_http_rcache_pipes_t  *pipes;

    pipes = ngx_alloc(sizeof(ngx_http_rcache_pipes_t), log);
    if (pipes == NULL) {
        return NULL;
    }

    pipes->refs = 1;

    for (pipes->n = 0; pipes->n < n; pipes->n++) {

        if (ngx_http_rcache_pipe(pipes->fd[pipes->n], log) != NGX_OK) {
            ngx_http_rcache_pipes_release(pipes);
            return NULL;
        }
    }

    return pipes;
}


static ngx_int_t
ngx_http_rcache_pipe(ngx_fd_t *fd, ngx_log_t *log)
{
    if (pipe(fd) == -1) {
        ngx_log_error(NGX_LOG_ALERT, log, ngx_errno, "pipe() failed");
        return NGX_ERROR;
    }

    if (ngx_nonblocking(fd[0]) == -1 || ngx_nonblocking(fd[1]) == -1) {
        ngx_log_error(NGX_LOG_ALERT, log, ngx_errno,
                      ngx_nonblocking_n " failed");
        goto failed;
    }

    if (fcntl(fd[0], F_SETFD, FD_CLOEXEC) == -1
        || fcntl(fd[1], F_SETFD, FD_CLOEXEC) == -1)
    {
        ngx_log_error(NGX_LOG_ALERT, log, ngx_errno,
                      "fcntl(FD_CLOEXEC) failed");
        goto failed;
    }

    return NGX_OK;

failed:

    ngx_http_rcache_pipe_close(&fd[0]);
    ngx_http_rcache_pipe_close(&fd[1]);

    return NGX_ERROR;
}


static ngx_http_rcache_pipes_t *
ngx_http_rcache_pipes_share(ngx_http_rcache_pipes_t *pipes)
{
    pipes->refs++;

    return pipes;
}


static void
ngx_http_rcache_pipes_release(ngx_http_rcache_pipes_t *pipes)
{
    ngx_uint_t  i;

    if (pipes == NULL || --pipes->refs) {
        return;
    }

    for (i = 0; i < pipes->n; i++) {
        ngx_http_rcache_pipe_close(&pipes->fd[i][0]);
        ngx_http_rcache_pipe_close(&pipes->fd[i][1]);
    }

    ngx_free(pipes);
}


/* what is not going to be read here */

static void
ngx_http_rcache_pipes_deafen(ngx_http_rcache_pipes_t *pipes)
{
    ngx_uint_t  i;

    if (pipes == NULL) {
        return;
    }

    for (i = 0; i < pipes->n; i++) {
        ngx_http_rcache_pipe_close(&pipes->fd[i][0]);
    }
}


static void
ngx_http_rcache_pipe_close(ngx_fd_t *fd)
{
    if (*fd == NGX_INVALID_FILE) {
        return;
    }

    if (close(*fd) == -1) {
        ngx_log_error(NGX_LOG_ALERT, ngx_cycle->log, ngx_errno,
                      "close() pipe failed");
    }

    *fd = NGX_INVALID_FILE;
}


static void
ngx_http_rcache_wake_cleanup(void *data)
{
    ngx_http_rcache_wake_t *wake = data;

    ngx_http_rcache_pipes_release(wake->previous);
    ngx_http_rcache_pipes_release(wake->own);
    ngx_http_rcache_pipes_release(wake->next);
}


void
ngx_http_rcache_wake_init_process(ngx_cycle_t *cycle,
    ngx_http_rcache_wake_t *wake, ngx_http_rcache_wake_pt handler, void *data)
{
    ngx_fd_t           fd;
    uint64_t           all[2];
    ngx_event_t       *rev;
    ngx_connection_t  *c;

    if (wake == NULL) {
        return;
    }

    fd = NGX_INVALID_FILE;

    /* the cache manager and loader are no workers, though their number is 0 */

    if (ngx_process == NGX_PROCESS_WORKER && ngx_worker < wake->own->n) {
        fd = wake->own->fd[ngx_worker][0];
        wake->own->fd[ngx_worker][0] = NGX_INVALID_FILE;
    }

    ngx_http_rcache_pipes_deafen(wake->previous);
    ngx_http_rcache_pipes_deafen(wake->own);
    ngx_http_rcache_pipes_deafen(wake->next);

    if (fd == NGX_INVALID_FILE) {
        return;
    }

    wake->own->fd[ngx_worker][0] = fd;

    c = ngx_get_connection(fd, cycle->log);
    if (c == NULL) {
        return;
    }

    c->data = wake;

    rev = c->read;

    rev->handler = ngx_http_rcache_wake_read;
    rev->log = cycle->log;
    c->write->log = cycle->log;

    /* as nginx's own channel: a worker that exits does not wait for it */

    rev->channel = 1;
    c->write->channel = 1;

    if (ngx_add_event(rev, NGX_READ_EVENT, 0) != NGX_OK) {
        ngx_free_connection(c);
        return;
    }

    wake->handler = handler;
    wake->data = data;
    wake->bit = (uint64_t) 1 << ngx_worker;

    all[0] = ~(uint64_t) 0;
    all[1] = ~(uint64_t) 0;

    ngx_http_rcache_wake(wake, all);
}


static void
ngx_http_rcache_wake_read(ngx_event_t *ev)
{
    u_char                   buf[256];
    ssize_t                  n;
    ngx_err_t                err;
    ngx_connection_t        *c;
    ngx_http_rcache_wake_t  *wake;

    c = ev->data;
    wake = c->data;

    do {
        n = read(c->fd, buf, sizeof(buf));
        err = (n == -1) ? ngx_errno : 0;

    } while (n == (ssize_t) sizeof(buf) || err == NGX_EINTR);

    if (err && err != NGX_EAGAIN) {
        ngx_log_error(NGX_LOG_ALERT, ev->log, err, "read() pipe failed");
    }

    if (ngx_event_flags & NGX_USE_EVENTPORT_EVENT) {
        (void) ngx_add_event(ev, NGX_READ_EVENT, 0);
    }

    ngx_log_debug0(NGX_LOG_DEBUG_EVENT, ev->log, 0, "rcache worker woken");

    wake->handler(wake->data);
}


void
ngx_http_rcache_wake(ngx_http_rcache_wake_t *wake, uint64_t *workers)
{
    if (wake == NULL) {
        return;
    }

    ngx_http_rcache_wake_write(wake->own, workers[wake->word]);
    ngx_http_rcache_wake_write(wake->previous, workers[!wake->word]);
    ngx_http_rcache_wake_write(wake->next, workers[!wake->word]);
}


static void
ngx_http_rcache_wake_write(ngx_http_rcache_pipes_t *pipes, uint64_t workers)
{
    ngx_err_t   err;
    ngx_uint_t  i;

    if (pipes == NULL) {
        return;
    }

    for (i = 0; workers && i < pipes->n; i++, workers >>= 1) {

        if (!(workers & 1)) {
            continue;
        }

        if (write(pipes->fd[i][1], "", 1) != -1) {
            continue;
        }

        err = ngx_errno;

        /* it has not read what woke it before, or it is gone */

        if (err != NGX_EAGAIN && err != NGX_EPIPE) {
            ngx_log_error(NGX_LOG_ALERT, ngx_cycle->log, err,
                          "write() pipe failed");
        }
    }
}
