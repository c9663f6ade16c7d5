
# Unit tests of the pure room: make -f t/unit/unit.mk unit

UNIT_CC =	gcc
UNIT_CFLAGS =	-DRCACHE_STANDALONE -Isrc/core -It/unit \
		-Wall -Wextra -Werror -g -O1 -fno-omit-frame-pointer \
		-fsanitize=address,undefined -fno-sanitize-recover=all
UNIT_LIBS =	-lcmocka -lcrypto -lyajl

UNIT_DIR =	build/unit
UNIT_HDRS =	$(wildcard src/core/*.h t/unit/*.h)
UNIT_OBJS =	$(patsubst src/core/%.c,$(UNIT_DIR)/core/%.o,\
		$(wildcard src/core/*.c))
UNIT_TESTS =	$(patsubst t/unit/%.c,$(UNIT_DIR)/%,$(wildcard t/unit/*.c))


.PHONY:		unit

unit:		$(UNIT_TESTS)
	@rc=0; for t in $(UNIT_TESTS); do \
		$$t || rc=1; \
	done; exit $$rc

$(UNIT_DIR)/core/%.o:	src/core/%.c $(UNIT_HDRS)
	@mkdir -p $(@D)
	$(UNIT_CC) $(UNIT_CFLAGS) -c -o $@ $<

$(UNIT_TESTS):	$(UNIT_DIR)/%: t/unit/%.c $(UNIT_OBJS) $(UNIT_HDRS)
	$(UNIT_CC) $(UNIT_CFLAGS) -o $@ $< $(UNIT_OBJS) $(UNIT_LIBS)
