
# Fuzzers of the pure room: make -f t/fuzz/fuzz.mk fuzz [FUZZ_SECONDS=5]
#
# FUZZ_RUNS and FUZZ_SEED make it the same inputs each time, which is what the
# test command wants: it judges a change, and must not fail by the day's luck.
# Those who hunt leave them alone and give it time.
#
# What a fuzzer finds, and its log, are left in build/fuzz.  A finding becomes
# a unit test.  New inputs go to build/fuzz/corpus/<name>; those worth keeping
# are merged into t/fuzz/corpus/<name> by hand: make -f t/fuzz/fuzz.mk
# fuzz-merge.

FUZZ_SECONDS =	5
FUZZ_RUNS =	-1
FUZZ_SEED =	0

FUZZ_CC =	clang
FUZZ_CFLAGS =	-DRCACHE_STANDALONE -Isrc/core -It/fuzz \
		-Wall -Wextra -Werror -g -O1 -fno-omit-frame-pointer \
		-fsanitize=address,undefined -fno-sanitize-recover=all
FUZZ_LIBS =	-lcrypto -lyajl

FUZZ_DIR =	build/fuzz
FUZZ_HDRS =	$(wildcard src/core/*.h) t/fuzz/fuzz.h
FUZZ_OBJS =	$(patsubst src/core/%.c,$(FUZZ_DIR)/core/%.o,\
		$(wildcard src/core/*.c))
FUZZ_TESTS =	$(patsubst t/fuzz/%.c,$(FUZZ_DIR)/%,$(wildcard t/fuzz/*.c))


.PHONY:		fuzz fuzz-merge

fuzz:		$(FUZZ_TESTS)
	@rc=0; for t in $(notdir $(FUZZ_TESTS)); do \
		mkdir -p $(FUZZ_DIR)/corpus/$$t; \
		printf '%s: ' $$t; \
		if $(FUZZ_DIR)/$$t -max_total_time=$(FUZZ_SECONDS) \
			-runs=$(FUZZ_RUNS) -seed=$(FUZZ_SEED) \
			-timeout=10 -max_len=4096 -print_final_stats=1 \
			-dict=t/fuzz/$$t.dict \
			-artifact_prefix=$(FUZZ_DIR)/$$t- \
			$(FUZZ_DIR)/corpus/$$t t/fuzz/corpus/$$t \
			> $(FUZZ_DIR)/$$t.log 2>&1; \
		then \
			sed -n 's/^stat::number_of_executed_units: *//p' \
				$(FUZZ_DIR)/$$t.log | sed 's/$$/ inputs, ok/'; \
		else \
			rc=1; echo failed; tail -n 60 $(FUZZ_DIR)/$$t.log; \
		fi; \
	done; exit $$rc

fuzz-merge:	$(FUZZ_TESTS)
	@for t in $(notdir $(FUZZ_TESTS)); do \
		mkdir -p t/fuzz/corpus/$$t $(FUZZ_DIR)/corpus/$$t; \
		$(FUZZ_DIR)/$$t -merge=1 -max_len=512 t/fuzz/corpus/$$t \
			$(FUZZ_DIR)/corpus/$$t > $(FUZZ_DIR)/$$t.log 2>&1 \
			|| exit 1; \
	done

$(FUZZ_DIR)/core/%.o:	src/core/%.c $(FUZZ_HDRS)
	@mkdir -p $(@D)
	$(FUZZ_CC) $(FUZZ_CFLAGS) -fsanitize=fuzzer-no-link -c -o $@ $<

$(FUZZ_TESTS):	$(FUZZ_DIR)/%: t/fuzz/%.c $(FUZZ_OBJS) $(FUZZ_HDRS)
	$(FUZZ_CC) $(FUZZ_CFLAGS) -fsanitize=fuzzer -o $@ $< $(FUZZ_OBJS) \
		$(FUZZ_LIBS)
