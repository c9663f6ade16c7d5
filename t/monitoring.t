#!/usr/bin/perl

# What operators copy from docs/monitoring must work: the rules, by promtool,
# against made-up series; and each metric that rules and panels ask for is one
# that nginx shows.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use JSON::PP ();
use Test::More;
use RCache;
use RCache::Status;

my $docs = "$FindBin::Bin/../docs/monitoring";
my $t = RCache->new();
my $redis = $t->redis();
my $nginx = $t->nginx(<<'CONF', settle => 0);
    redis_proxy_cache_zone  api:1m server=%%REDIS%%;

    server {
        listen  127.0.0.1:%%PORT%%;

        location /status {
            redis_proxy_cache_status;
        }
    }
CONF

like(RCache::Status::complaint($t->dir, '', qw(promtool check rules),
                               "$docs/alerts.yml"), qr/SUCCESS: 11 rules/,
     'promtool can read the rules');
like(RCache::Status::complaint($t->dir, '', qw(promtool test rules),
                               "$docs/alerts.test.yml"), qr/SUCCESS/,
     'and they ring when they should');

my $text = $nginx->get('/status')->body;
my %shown;

# reasons that did not occur are not shown, but announced

$shown{$_} = 1 for $text =~ /^(redis_proxy_cache_\w+)[{ ]/mg;
$shown{$_} = 1 for $text =~ /^# TYPE (\w+)/mg;

my $panels = JSON::PP::decode_json(slurp("$docs/grafana.json"));
my @asked = map { $_->{expr} }
            map { @{ $_->{targets} } } @{ $panels->{panels} };

cmp_ok(scalar @asked, '>', 20, 'there are panels');

my %asked = map { $_ => 1 }
            join("\n", @asked, slurp("$docs/alerts.yml"))
            =~ /\b(redis_proxy_cache_\w+)(?=\{|\[| |$)/mg;

delete $asked{redis_proxy_cache_not_hit_total};
my @missing = grep { !$shown{$_} && !/_budget$|_timeout$|_label$/ }
              sort keys %asked;
is_deeply(\@missing, [], 'what is asked for is shown');
cmp_ok(scalar keys %asked, '>', 12, 'most of it');

# every expression, by Prometheus's own parser

my $n;
my $rules = join '', "groups:\n- name: panels\n  rules:\n", map {
    my $expr = $_;
    $expr =~ s/\$__rate_interval/5m/g;
    $expr =~ s/\$\w+/.*/g;
    '  - record: panel_' . ++$n . "\n    expr: '$expr'\n";
} @asked;
spit($t->dir . '/panels.yml', $rules);
like(RCache::Status::complaint($t->dir, '', qw(promtool check rules),
                               $t->dir . '/panels.yml'),
     qr/SUCCESS: \d+ rules/, 'the panels can be asked');

$t->done();
