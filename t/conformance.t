#!/usr/bin/perl

# What others hold a cache to: the public suite http-cache-tests, against one
# instance, and against two that take the requests in turn and share one
# Redis.  Each test that is not passed is in t/conformance/expected.txt with
# the reason; a result that is worse than the list, or better, fails here.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib", "$FindBin::Bin/conformance";

use Test::More;
use RCache;
use Suite;

my $list = "$FindBin::Bin/conformance/expected.txt";
my @modes = qw(one two);

if (my $missing = Suite::missing()) {
    die "$missing\n";
}

my $t = RCache->new();
my $redis = $t->redis();
my $suite = Suite->new(dir => $t->dir . '/suite');
push @{ $t->{started} }, $suite;

my %instances = (
    one => [ instance('one') ],
    two => [ instance('two'), instance('two') ]
);

# most of the time the suite waits, so both modes can wait together

my $expected = Suite::expected($list, @modes);
my %runs = map {
    $_ => $suite->start(map { $_->port() } @{ $instances{$_} })
} @modes;

my %rows = map { $_ => $suite->finish($runs{$_}) } @modes;

for my $mode (@modes) {
    my $rows = $rows{$mode};

    cmp_ok(scalar @$rows, '>=', 300, "$mode: the whole suite was run");

    # Some are about seconds, and the suite gives a response no longer than
    # that: what is not passed is tried once more, with nothing beside it.

    if (my %late = map { $_->{id} => 1 }
                   grep { !$_->{passed} && !$expected->{ $_->{id} }{$mode} }
                   @$rows)
    {
        diag("$mode: once more, for ", join ', ', sort keys %late);
        my %again = map { $_->{id} => $_ } @{ $suite->finish($suite->start(
            map { $_->port() } @{ $instances{$mode} })) };
        $rows = [ map { $late{ $_->{id} } ? $again{ $_->{id} } : $_ } @$rows ];
    }

    for my $row (@$rows) {
        my $why = delete $expected->{ $row->{id} }{$mode};
        my $name = "$mode: $row->{kind} $row->{id}";

        if ($row->{passed}) {
            ok(!defined $why, $name)
                or diag("passed, though expected.txt lists it ($why)");

        } else {
            ok(defined $why, "$name, not passed" . ($why ? ", $why" : ''))
                or diag("$row->{why}\nwanted: $row->{name}");
        }
    }

    my @unknown = grep { $expected->{$_}{$mode} } sort keys %$expected;
    is_deeply(\@unknown, [], "$mode: the list names tests of the suite only");

    my $counts = Suite::counts($rows);
    diag("$mode: ", join ', ', map {
        "$_ $counts->{$_}[0] of $counts->{$_}[1]" } @Suite::kinds);
}

$t->done();


sub instance {
    my ($prefix) = @_;

    $t->set(SUITE => $suite->addr(), PREFIX => $prefix);

    return $t->nginx(slurp("$FindBin::Bin/conformance/nginx.conf"),
                     settle => 0);
}
