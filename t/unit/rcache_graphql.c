
/*
 * Copyright (C) the authors of ngx_http_redis_proxy_cache_module
 */


#include "unit.h"

#include "rcache_graphql.h"


static int
query(const char *text)
{
    int            rc;
    u_char        *p;
    rcache_str_t   s;

    p = unit_copy(text, strlen(text));
    s.data = p;
    s.len = strlen(text);

    rc = rcache_graphql_query(&s);

    free(p);

    return rc;
}


static void
queries(void **state)
{
    size_t  i;

    static const char  *docs[] = {
        "{a}",
        "query{a}",
        "query Q($a: Int = 1, $o: I = {x: [1]}) @d(x: {y: 1}) { a(b: $a) }",
        "\xef\xbb\xbf # mutation\n , query { a }",
        "fragment F on T { a } query { ...F }",
        "query { mutation }",
        "query { a(text: \"mutation { b }\") }",
        "query { a(text: \"\\\"} mutation { b\") }",
        "query { a(text: \"\"\"x \" \\\"\"\" } mutation {\"\"\") }",
        "query A { a } query B { b }",
        "query mutation { a }",
        "query { a(x: -1.5e+3, y: \"\") { b { c } } }"
    };

    (void) state;

    for (i = 0; i < sizeof(docs) / sizeof(docs[0]); i++) {
        if (!query(docs[i])) {
            fail_msg("%s", docs[i]);
        }
    }
}


static void
others(void **state)
{
    size_t  i;

    static const char  *docs[] = {
        "", " ", "#", "fragment F on T { a }",
        "mutation{a}", "mutation M { a }", "subscription{a}",
        "query A { a } mutation B { b }",
        "mutation B { b } query A { a }",
        "{a} mutation{b}",
        "# query\nmutation{a}",
        "#\rmutation{a}",
        "query { a(text: \"\\\") } mutation { b }",
        "query { a(text: \"\"\"x\"\"\") } mutation { b }",
        "query { a(text: \"\"\"\\\"\"\"\"\"\") } mutation { b }",
        "Query{a}", "queries{a}", "que ry{a}",
        "query", "query {", "query { a", "query }", "query ( { a }",
        "query { a } }", "query { \"", "query { \"\"\" }", "query { \"\n\" }",
        "type T { a: Int }", "schema { query: Q }", "extend type T { a: B }",
        "\"text\" query { a }", "query { % }", "1", "{a} 1",
        "query { a \\u007d mutation }"
    };

    (void) state;

    for (i = 0; i < sizeof(docs) / sizeof(docs[0]); i++) {
        if (query(docs[i])) {
            fail_msg("%s", docs[i]);
        }
    }
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(queries),
        cmocka_unit_test(others)
    };

    return cmocka_run_group_tests_name("rcache_graphql", tests, NULL, NULL);
}
