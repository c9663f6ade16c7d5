# What the targets do is in build-aux/, t/ and bench/.
#
# Variables: NGINX (the nginx that the module is for), NGINX_SRC and
# NGINX_CONFIGURE_ARGS (another one's sources and its configure arguments),
# CC, DESTDIR; make chaos takes RCACHE_CHAOS (seconds), RCACHE_SEED and
# RCACHE_READ (master, replica or nearest: a cluster),
# make fuzz FUZZ_SECONDS, make test FUZZ_RUNS, make run
# PORT, UPSTREAM and REDIS.

ifneq ($(origin CC), default)
export CC
endif

all:
	@build-aux/module.sh

static:
	@build-aux/static.sh

install: all
	@build-aux/install.sh

deps:
	@build-aux/deps.sh build run test

run:
	@build-aux/deps.sh build run
	@build-aux/module.sh
	@build-aux/run.sh

test:
	@build-aux/test.sh

# t/ alone, or TESTS="t/basic.t ..."
check: all
	@build-aux/prove.sh "$${NGINX:-nginx}" \
	    "$(CURDIR)/build/ngx_http_redis_proxy_cache_module.so" $(TESTS)

# everything at once, by chance, for RCACHE_CHAOS seconds
chaos: all
	@RCACHE_CHAOS=$${RCACHE_CHAOS:-120} build-aux/prove.sh \
	    "$${NGINX:-nginx}" \
	    "$(CURDIR)/build/ngx_http_redis_proxy_cache_module.so" \
	    t/redis_chaos.t

asan:
	@build-aux/asan.sh $(TESTS)

test-nextjs: all
	@build-aux/nextjs.sh

test-matrix:
	@build-aux/matrix.sh

lint:
	@build-aux/lint.sh

bench: all
	@bench/deps
	@bench/run

clean:
	rm -rf build

# the targets unit and fuzz
-include t/unit/unit.mk
-include t/fuzz/fuzz.mk

.DEFAULT_GOAL = all

.PHONY: all static install deps run test check chaos asan test-matrix \
        test-nextjs lint bench unit fuzz clean
