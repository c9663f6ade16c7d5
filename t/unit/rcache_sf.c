
/*
 * Copyright (C) the authors of ngx_http_redis_proxy_cache_module
 */


#include "unit.h"

#include "rcache_sf.h"


static rcache_sf_member_t  member;


/* how many members the field has, -1 if it does not parse */

static int
members(const char *text)
{
    int           n, rc;
    u_char       *p;
    rcache_sf_t   sf;
    rcache_str_t  line;

    line.len = strlen(text);
    line.data = p = unit_copy(text, line.len);

    rcache_sf_init(&sf, &line, 1);

    for (n = 0; (rc = rcache_sf_next(&sf, &member)) == RCACHE_OK; n++) {
        assert_true(member.key.data >= p);
        assert_true(member.key.data + member.key.len <= p + line.len);
    }

    assert_int_equal(rcache_sf_next(&sf, &member), rc);

    free(p);

    return (rc == RCACHE_DONE) ? n : -1;
}


/* the only member; its text points into the argument */

static rcache_sf_item_t *
item(const char *text)
{
    rcache_sf_t          sf;
    static rcache_str_t  line;

    line = unit_cstr(text);

    rcache_sf_init(&sf, &line, 1);

    assert_int_equal(rcache_sf_next(&sf, &member), RCACHE_OK);
    assert_int_equal(rcache_sf_next(&sf, &(rcache_sf_member_t) { 0 }),
                     RCACHE_DONE);

    return &member.item;
}


static void
rfc8941_4_2_2_dictionaries(void **state)
{
    (void) state;

    assert_int_equal(members(""), 0);
    assert_int_equal(members("   "), 0);
    assert_int_equal(members("a"), 1);
    assert_int_equal(members("  a  "), 1);
    assert_int_equal(members("a=1,b=2"), 2);
    assert_int_equal(members("a=1 \t,\t b=2, c"), 3);
    assert_int_equal(members("a, a, a"), 3);
    assert_int_equal(members("a;x;y=1, b=(1 2);z"), 2);

    assert_int_equal(members(","), -1);
    assert_int_equal(members(",a"), -1);
    assert_int_equal(members("a,"), -1);
    assert_int_equal(members("a, "), -1);
    assert_int_equal(members("a,,b"), -1);
    assert_int_equal(members("a b"), -1);
    assert_int_equal(members("a=1 b=2"), -1);
    assert_int_equal(members("a;"), -1);
    assert_int_equal(members("a =1"), -1);
    assert_int_equal(members("a= 1"), -1);
    assert_int_equal(members("a="), -1);
}


static void
rfc8941_4_2_3_3_keys(void **state)
{
    (void) state;

    (void) item("*a0_-.*=1");
    unit_assert_str(member.key, "*a0_-.*");

    assert_int_equal(members("A=1"), -1);
    assert_int_equal(members("aB"), -1);
    assert_int_equal(members("1a"), -1);
    assert_int_equal(members("-a"), -1);
    assert_int_equal(members("_a"), -1);
    assert_int_equal(members("\"a\""), -1);
    assert_int_equal(members("a;B"), -1);
}


static void
rfc8941_4_2_booleans(void **state)
{
    (void) state;

    assert_int_equal(item("a")->type, RCACHE_SF_BOOLEAN);
    assert_int_equal(item("a")->integer, 1);
    assert_int_equal(item("a;b=?0")->integer, 1);
    assert_int_equal(item("a=?1")->integer, 1);
    assert_int_equal(item("a=?0")->integer, 0);
    assert_int_equal(item("a=?0")->type, RCACHE_SF_BOOLEAN);

    assert_int_equal(members("a=?"), -1);
    assert_int_equal(members("a=?2"), -1);
    assert_int_equal(members("a=?11"), -1);
}


static void
rfc8941_4_2_4_numbers(void **state)
{
    (void) state;

    assert_int_equal(item("a=60")->type, RCACHE_SF_INTEGER);
    assert_int_equal(item("a=60")->integer, 60);
    assert_int_equal(item("a=-0060")->integer, -60);
    assert_true(item("a=999999999999999")->integer == 999999999999999);
    assert_int_equal(item("a=123456789012.123")->type, RCACHE_SF_DECIMAL);
    unit_assert_str(item("a=1.50;b")->text, "1.50");

    assert_int_equal(members("a=1000000000000000"), -1);
    assert_int_equal(members("a=1234567890123.1"), -1);
    assert_int_equal(members("a=1.1234"), -1);
    assert_int_equal(members("a=1."), -1);
    assert_int_equal(members("a=.1"), -1);
    assert_int_equal(members("a=-"), -1);
    assert_int_equal(members("a=--1"), -1);
    assert_int_equal(members("a=+1"), -1);
    assert_int_equal(members("a=1x"), -1);
}


static void
rfc8941_4_2_5_strings(void **state)
{
    rcache_sf_item_t  *i;

    (void) state;

    i = item("a=\"b, c=d; \"");
    assert_int_equal(i->type, RCACHE_SF_STRING);
    assert_int_equal(i->escaped, 0);
    unit_assert_str(i->text, "b, c=d; ");

    i = item("a=\"\\\"\\\\\"");
    assert_int_equal(i->escaped, 1);
    unit_assert_str(i->text, "\\\"\\\\");

    assert_int_equal(item("a=\"\"")->text.len, 0);

    assert_int_equal(members("a=\""), -1);
    assert_int_equal(members("a=\"\\"), -1);
    assert_int_equal(members("a=\"\\a\""), -1);
    assert_int_equal(members("a=\"\t\""), -1);
    assert_int_equal(members("a=\"\x7f\""), -1);
    assert_int_equal(members("a=\"\xc3\xa4\""), -1);
}


static void
rfc8941_4_2_6_tokens_and_4_2_7_bytes(void **state)
{
    (void) state;

    assert_int_equal(item("a=b")->type, RCACHE_SF_TOKEN);
    unit_assert_str(item("a=*b:/c.~!")->text, "*b:/c.~!");

    assert_int_equal(item("a=:aGk=:")->type, RCACHE_SF_BYTES);
    unit_assert_str(item("a=:aGk=:")->text, "aGk=");
    assert_int_equal(item("a=::")->text.len, 0);

    assert_int_equal(members("a=:aGk"), -1);
    assert_int_equal(members("a=:a-k:"), -1);
    assert_int_equal(members("a=&"), -1);
}


static void
rfc9651_4_2_dates_and_display_strings(void **state)
{
    (void) state;

    assert_int_equal(item("a=@-1659578233")->type, RCACHE_SF_DATE);
    assert_int_equal(item("a=@1659578233")->integer, 1659578233);
    assert_int_equal(item("a=%\"f%c3%bc\"")->type, RCACHE_SF_DISPLAY);

    assert_int_equal(members("a=@1.5"), -1);
    assert_int_equal(members("a=@"), -1);
    assert_int_equal(members("a=%"), -1);
    assert_int_equal(members("a=%\"%c3%BC\""), -1);
    assert_int_equal(members("a=%\"%c3\""), -1);
    assert_int_equal(members("a=%\"%c3a\""), -1);
    assert_int_equal(members("a=%\"%c0%80\""), -1);
    assert_int_equal(members("a=%\"%ed%a0%80\""), -1);
    assert_int_equal(members("a=%\"%e0%80%80\""), -1);
    assert_int_equal(members("a=%\"%f0%8f%80%80\""), -1);
    assert_int_equal(members("a=%\"%f4%90%80%80\""), -1);
    assert_int_equal(members("a=%\"%f4%8f%bf%bf%e2%82%ac\""), 1);
    assert_int_equal(members("a=%\"%c"), -1);
    assert_int_equal(members("a=%\"b"), -1);
}


static void
rfc8941_4_2_1_2_inner_lists(void **state)
{
    (void) state;

    assert_int_equal(item("a=(1 \"b\";x  c);y=2")->type, RCACHE_SF_LIST);
    unit_assert_str(item("a=(1 b)")->text, "1 b");
    assert_int_equal(members("a=()"), 1);
    assert_int_equal(members("a=(  )"), 1);

    assert_int_equal(members("a=("), -1);
    assert_int_equal(members("a=(1"), -1);
    assert_int_equal(members("a=(1,2)"), -1);
    assert_int_equal(members("a=(1\"b\")"), -1);
    assert_int_equal(members("a=((1))"), -1);
    assert_int_equal(members("a=1;b=(1)"), -1);
}


static int
lines(const char *a, const char *b)
{
    int           n, rc;
    rcache_sf_t   sf;
    rcache_str_t  two[2];

    two[0] = unit_cstr(a);
    two[1] = unit_cstr(b);

    rcache_sf_init(&sf, two, 2);

    for (n = 0; (rc = rcache_sf_next(&sf, &member)) == RCACHE_OK; n++) {
        /* void */
    }

    return (rc == RCACHE_DONE) ? n : -1;
}


static void
rfc8941_4_2_several_lines(void **state)
{
    (void) state;

    assert_int_equal(lines("a=1", "b, c"), 3);
    assert_int_equal(lines("a=1 ", " b"), 2);

    assert_int_equal(lines("a=1,", "b"), -1);
    assert_int_equal(lines("a=1", ",b"), -1);
    assert_int_equal(lines("a", ""), -1);
    assert_int_equal(lines("", "a"), -1);
    assert_int_equal(lines("", ""), -1);
    assert_int_equal(lines("a=\"b", "c\""), -1);
    assert_int_equal(lines("a=(b", "c)"), -1);
}


static void
no_lines(void **state)
{
    rcache_sf_t  sf;

    (void) state;

    rcache_sf_init(&sf, NULL, 0);

    assert_int_equal(rcache_sf_next(&sf, &member), RCACHE_DONE);
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(rfc8941_4_2_2_dictionaries),
        cmocka_unit_test(rfc8941_4_2_3_3_keys),
        cmocka_unit_test(rfc8941_4_2_booleans),
        cmocka_unit_test(rfc8941_4_2_4_numbers),
        cmocka_unit_test(rfc8941_4_2_5_strings),
        cmocka_unit_test(rfc8941_4_2_6_tokens_and_4_2_7_bytes),
        cmocka_unit_test(rfc9651_4_2_dates_and_display_strings),
        cmocka_unit_test(rfc8941_4_2_1_2_inner_lists),
        cmocka_unit_test(rfc8941_4_2_several_lines),
        cmocka_unit_test(no_lines)
    };

    return cmocka_run_group_tests_name("rcache_sf", tests, NULL, NULL);
}
