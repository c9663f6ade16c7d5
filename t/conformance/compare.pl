#!/usr/bin/perl

# Runs http-cache-tests against this module, nginx's proxy_cache and srcache,
# puts the results beside those that the suite's package has of others, and
# prints a table in Markdown, and a list of what this module does not pass.
# With --update FILE both go into that document; with --differences it prints
# who passes what this module does not.
#
#     bench/deps                        srcache, from Debian; as root
#     make && t/conformance/compare.pl

use strict;
use warnings;

use Cwd ();
use File::Basename ();
use Getopt::Long qw(GetOptions);

my ($here, $root);

BEGIN {
    $here = Cwd::abs_path(File::Basename::dirname(__FILE__));
    $root = Cwd::abs_path("$here/../..");
}

use lib "$root/t/lib", $here;

use JSON::PP ();
use RCache;
use RCache::Redis;
use Suite;

my $modules = $ENV{NGINX_MODULES} || '/usr/lib/nginx/modules';
my ($differences, $document);

GetOptions('differences' => \$differences, 'update=s' => \$document)
    or exit 2;

# name, version, and file in results/, of the package
my @published = (
    [ 'Varnish',       '6.4.0',  'varnish' ],
    [ 'Squid',         '4.13',   'squid' ],
    [ 'Traffic Server', '8.0.8', 'trafficserver' ],
    [ 'httpd',         '2.4.46', 'apache' ],
    [ 'nuster',        'master', 'nuster' ],
    [ 'Fastly',        '2019',   'fastly' ],
    [ 'nginx proxy_cache', '1.18.0', 'nginx' ],
);

my ($lua) = grep { -f "$_/nginx/redis.lua" }
    "$root/build/bench/lua/usr/share/lua/5.1", '/usr/share/lua/5.1';

die Suite::missing(), "\n" if Suite::missing();

my $t = RCache->new();
my $redis = $t->redis();
my $suite = Suite->new(dir => $t->dir . '/suite');
push @{ $t->{started} }, $suite;

$t->set(SUITE => $suite->addr(), MODULES => $modules, BENCH => "$root/bench",
        LUA => $lua // '', REDIS_PORT => $redis->port());

my @columns;

run('this module', '', ours('one'));
run('this module, two instances', '', ours('two'), ours('two'));
run('nginx proxy_cache', version(), theirs('proxy_cache'));
srcache();
published($_) for @published;

if ($differences) {
    differences();

} elsif (defined $document) {
    update(table => table(), list => list());

} else {
    print table(), "\n", list();
}


sub ours {
    my ($prefix) = @_;

    $t->set(PREFIX => $prefix);
    return $t->nginx(slurp("$here/nginx.conf"), settle => 0);
}


sub theirs {
    my ($name) = @_;

    my $conf = slurp("$here/$name.conf");
    my $main = $conf =~ s/\A(load_module [^}]*?;\n)\n// ? $1 : '';

    return $t->nginx($conf, plain => 1, main => $main);
}


sub srcache {
    if (!defined $lua || !-e "$modules/ngx_http_srcache_filter_module.so") {
        warn "srcache is left out: bench/deps installs what it needs\n";
        return;
    }

    run('srcache, Redis by Lua', '0.33', theirs('srcache'));
    return;
}


sub version {
    my $said = `@{[ RCache::Nginx::binary() ]} -v 2>&1`;
    return $said =~ m{nginx/([\d.]+)} ? $1 : '';
}


sub run {
    my ($name, $version, @nginxes) = @_;

    my $rows = $suite->finish($suite->start(map { $_->port() } @nginxes));
    $_->stop() for @nginxes;

    push @columns, { name => $name, version => $version, rows => $rows };
    return;
}


# Results of others, in the same form; a test that they had not is not passed.

sub published {
    my ($name, $version, $file) = @{ $_[0] };

    my $results = JSON::PP::decode_json(Suite::published($file));
    my @rows = map {
        my $result = $results->{ $_->{id} };
        +{ %$_, passed => JSON::PP::is_bool($result) && $result ? 1 : 0,
           known => defined $result }
    } @{ $columns[0]{rows} };

    push @columns, { name => $name, version => $version, rows => \@rows,
                     unknown => scalar grep { !$_->{known} } @rows };
    return;
}


sub table {
    my $all = Suite::counts($columns[0]{rows});

    my @lines = (
        [ 'cache', 'version', (map { "$_, of $all->{$_}[1]" } @Suite::kinds),
          'no result' ],
        [ '---', '---', ('---:') x 4 ]
    );

    for my $column (@columns) {
        my $counts = Suite::counts($column->{rows});

        push @lines, [ @$column{qw(name version)}, (map {
            my ($passed, $n, $whole) = @{ $counts->{$_} };
            $passed == $whole ? $passed : "$passed ($whole)"
        } @Suite::kinds), $column->{unknown} || '' ];
    }

    return join '', map { '| ' . join(' | ', @$_) . " |\n" } @lines;
}


# What is not passed of what has a right answer, with the reason.

sub list {
    my $expected = Suite::expected("$here/expected.txt", qw(one two));
    my %lines;

    for my $row (@{ $columns[0]{rows} }) {
        next if $row->{kind} eq 'check' || $row->{passed};

        my $why = $expected->{ $row->{id} }{one} // 'unexpected';
        push @{ $lines{ $row->{kind} }{$why} }, "`$row->{id}`";
    }

    return join '', "| kind | tests | why |\n|---|---|---|\n", map {
        my $kind = $_;
        map { "| $kind | " . join(', ', @{ $lines{$kind}{$_} })
              . ' | ' . s/^\w+: //r . " |\n" } sort keys %{ $lines{$kind} }
    } @Suite::kinds[ 0, 1 ];
}


sub update {
    my (%parts) = @_;

    my $text = slurp($document);

    for my $name (keys %parts) {
        $text =~ s/(<!-- $name -->\n).*?(<!-- end -->)/$1\n$parts{$name}\n$2/s
            or die "$document has no place for the $name\n";
    }

    spit($document, $text);
    return;
}


sub differences {
    my @others = @columns[ 2 .. $#columns ];

    for my $n (0 .. $#{ $columns[0]{rows} }) {
        my ($one, $two) = map { $_->{rows}[$n] } @columns[ 0, 1 ];
        next if $one->{passed} && $two->{passed};

        printf "%s %s: %s\n", $one->{kind}, $one->{id}, join(', ',
            map { $_->{name} } grep { $_->{rows}[$n]{passed} } @others)
            || 'nobody';
    }

    return;
}
