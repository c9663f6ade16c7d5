# The budgets: how a figure of this module may relate to one of a contender
# in the same cell of the same run.
#
#   what      words for the table
#   cell      scenario, bytes, connections
#   measure   cpu (of the worker), backend (CPU of Redis), p50, memory (of
#             Redis, to the body)
#   of        contenders of this module; module-unix and module-tcp if absent
#   to        contender, and its scenario where that is another; none if the
#             limit is one for the figure itself
#   limit     the ratio that is allowed
#
# The budgets for srcache speak of Redis through modules in C, which Debian
# does not have.  They are held against them where the bench is given them, and
# against both of the stand-ins: Redis through Lua, and memcached through a
# module in C.

use strict;
use warnings;


my @with_redis = (
    ['srcache-redis2', 'srcache, redis2, unix'],
    ['srcache-redis2-tcp', 'srcache, redis2, TCP'],
    ['srcache-redis', 'srcache, Redis by Lua'],
);

my @of_srcache = (@with_redis, ['srcache-memc', 'srcache, memcached']);

my @budget;


sub budget {
    my ($what, $cell, $measure, $to, $limit, @of) = @_;

    push @budget, {
        what => $what, cell => $cell, measure => $measure,
        to => ref $to || !defined $to ? $to : [$to, $cell->[0]],
        limit => $limit,
        of => @of ? \@of : ['module-unix', 'module-tcp'],
    };
}


# what is there over both transports is held against the same one

sub of {
    my ($to) = @_;

    return $to eq 'srcache-redis2' ? 'module-unix'
           : $to eq 'srcache-redis2-tcp' ? 'module-tcp' : ();
}


for ([1024, '1 KiB', 0.62], [16384, '16 KiB', 0.62],
     [262144, '256 KiB', 0.5])
{
    my ($size, $words, $limit) = @$_;

    for my $to (@of_srcache) {
        budget("hit, $words, to $to->[1]", ['hot', $size, 64], 'cpu',
               $to->[0], $limit, of($to->[0]));
    }
}

budget('hit, 1 KiB, to proxy_cache', ['hot', 1024, 64], 'cpu',
       'proxy_cache', 0.66);

budget('hit, 16 KiB, to proxy_cache', ['hot', 16384, 64], 'cpu',
       'proxy_cache', 1.05);

budget('hit, 1 KiB, to `return`', ['hot', 1024, 64], 'cpu', 'return', 1.4);

for ([1024, '1 KiB', 0.4], [262144, '256 KiB', 0.9]) {
    my ($size, $words, $limit) = @$_;

    for my $to (@with_redis) {
        budget("hit, $words, CPU of Redis, to $to->[1]", ['hot', $size, 64],
               'backend', $to->[0], $limit, of($to->[0]));
    }
}

budget('hit, 1 KiB, 1 connection, p50, to proxy_cache', ['hot', 1024, 1],
       'p50', 'proxy_cache', 1.05);

budget('near hit, 1 KiB, to proxy_cache', ['hot', 1024, 64], 'cpu',
       'proxy_cache', 0.53, 'module-near');

budget('near hit, 16 KiB, to proxy_cache', ['hot', 16384, 64], 'cpu',
       'proxy_cache', 0.75, 'module-near');

budget('near hit, 1 KiB, to `return`', ['hot', 1024, 64], 'cpu', 'return',
       1.1, 'module-near');

budget('near hit, 1 KiB, 1 connection, p50, to proxy_cache',
       ['hot', 1024, 1], 'p50', 'proxy_cache', 1.05, 'module-near');

for ([1024, '1 KiB'], [16384, '16 KiB']) {
    my ($size, $words) = @$_;

    for my $to (@of_srcache) {
        budget("stored miss, $words, to $to->[1]", ['miss', $size, 64],
               'cpu', $to->[0], 0.7, of($to->[0]));
    }

    budget("stored miss, $words, to proxy_pass", ['miss', $size, 64], 'cpu',
           ['proxy_pass', 'plain'], 1.5);
}

for ([1024, '1 KiB'], [16384, '16 KiB'], [262144, '256 KiB']) {
    my ($size, $words) = @$_;

    budget("bypassed, $words, to proxy_pass", ['plain', $size, 64], 'cpu',
           'proxy_pass', 1.02, 'module-bypass');

    budget("not cacheable, $words, to proxy_pass", ['nostore', $size, 64],
           'cpu', ['proxy_pass', 'plain'], 1.02, 'module-nostore');

    budget("known as such, $words, to proxy_pass", ['known', $size, 64],
           'cpu', ['proxy_pass', 'plain'], 1.02, 'module-known');

    budget("Redis gone, $words, to proxy_pass", ['plain', $size, 64], 'cpu',
           'proxy_pass', 1.05, 'module-gone');
}

budget('Redis memory, 1 KiB, to the body', ['miss', 1024, 64], 'memory',
       undef, 1.37);

return @budget;
