#!/usr/bin/perl

# Rules on the text of the sources and on what the documentation must have.
# Core modules only; prints file:line: complaint.

use strict;
use warnings;

use Cwd qw(abs_path);
use File::Basename qw(dirname);
use File::Find qw(find);
use File::Spec;


my $long = 'ngx_http_redis_proxy_cache_module';
my $module = "$long.c";
my $failed = 0;

chdir dirname(abs_path($0)) . '/..' or die "chdir: $!\n";


sub complain {
    my ($file, $line, $what) = @_;

    print "$file:$line: $what\n";
    $failed = 1;
}


sub lines {
    my ($file) = @_;

    open my $fh, '<', $file or return;
    chomp(my @lines = <$fh>);

    return @lines;
}


# Numbered matches of a pattern: [line, what the group caught].

sub matches {
    my ($file, $re) = @_;
    my (@found, $n);

    for my $line (lines($file)) {
        $n++;
        push @found, map { [$n, $_] } $line =~ /$re/g;
    }

    return @found;
}


my @files;

find({
    no_chdir => 1,
    wanted   => sub {
        my $name = $File::Find::name =~ s{^\./}{}r;

        if ($name =~ m{^(?:\.git|build)$} || $name =~ m{/corpus$}) {
            $File::Find::prune = 1;

        } elsif (-f $name && -T $name) {
            push @files, $name;
        }
    }
}, '.');

@files = sort @files;

my @c = grep { m{^(?:src|t|bench)/.*\.[ch]$} || m{^[^/]*\.[ch]$} } @files;
my @src = grep { m{^src/} || $_ eq $module } @c;

check_form();
check_pools();
check_rooms();
check_config();
check_docs();

exit $failed;


sub check_form {
    my $code = qr/\.(?:[chtsm]|pl|pm|sh|lua|mk|ci)$/;

    for my $file (@files) {
        my $is_code = $file =~ $code || $file =~ m{^(?:config|\.ci/run)$}
                      || $file eq 'Makefile';
        my $tabs = $file =~ m{(?:^|/)Makefile$|\.mk$};
        my $n = 0;

        for my $line (lines($file)) {
            $n++;

            if ($is_code && length($line) > 80) {
                complain($file, $n, 'longer than 80 columns');
            }

            if ($line =~ /\t/ && !$tabs && $file !~ /\.dict$/) {
                complain($file, $n, 'a tab');
            }

            if ($line =~ /\r/) {
                complain($file, $n, 'a carriage return');
            }

            if ($line =~ /[ \t]$/) {
                complain($file, $n, 'trailing blanks');
            }

            # two words, so that this file does not find itself
            if ($line =~ /\b(?:TO[D]O|FIX[M]E|XX[X])\b/) {
                complain($file, $n, 'work left undone');
            }
        }
    }

    for my $file (@c) {
        my $n = 0;

        for my $line (lines($file)) {
            $n++;

            if ($line =~ m{^(?:[^"'\\]|"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')*//}
                && $line !~ m{^\s*(?:/?\*|.*https?://)})
            {
                complain($file, $n, 'a // comment');
            }
        }
    }
}


# ngx_palloc() aligns the place before it compares it with the end, so a pool
# whose end is not aligned gives out memory behind it.

sub check_pools {
    for my $file (@src) {
        my $text = join "\n", lines($file);

        while ($text =~ /\bngx_create_pool\(([^;]*);/g) {
            my ($args, $before) = ($1, substr $text, 0, $-[0]);

            next if $args =~ /^ngx_align\(.*NGX_POOL_ALIGNMENT\)/s
                    || $args =~ /^NGX_HTTP_RCACHE_\w+_POOL,/;

            complain($file, 1 + ($before =~ tr/\n//),
                     'the size of a pool that is not aligned');
        }
    }
}


# Dependencies point down only.

sub check_rooms {
    my %below = (
        core  => [qw(core)],
        redis => [qw(redis core)],
        shm   => [qw(shm core)],
        http  => [qw(http redis shm core)],
        admin => [qw(admin http redis shm core)],
        top   => [qw(http admin)],
    );

    # what pure code may take from outside: the C library, a hash, a digest, a
    # parser that asks for its memory
    my $pure = qr{^(?:stddef|stdint|string|limits|setjmp|immintrin
                      |sys/types|openssl/\w+|xxhash|yajl/yajl_parse)\.h$}x;

    for my $file (@src) {
        my $room = $file =~ m{^src/([^/]+)/} ? $1 : 'top';
        my $n = 0;

        if (!$below{$room}) {
            complain($file, 1, "build-aux/lint.pl does not know src/$room");
            next;
        }

        for my $line (lines($file)) {
            $n++;

            if ($room eq 'core' && $file ne 'src/core/rcache_core.h'
                && $line =~ /\b(?!\Q$long\E)(ngx_\w+|NGX_\w+)/)
            {
                complain($file, $n, "$1 in the pure room");
            }

            next unless $line =~ /^\s*#\s*include\s*([<"])([^>"]+)/;
            my ($kind, $name) = ($1, $2);

            if ($kind eq '<') {
                if ($room eq 'core' && $name !~ $pure
                    && $file ne 'src/core/rcache_core.h')
                {
                    complain($file, $n, "src/core must not include <$name>");
                }

                if ($room =~ /^(?:redis|shm)$/ && $name =~ /^ngx_http/) {
                    complain($file, $n,
                             "src/$room must not know HTTP: <$name>");
                }

                if ($room =~ /^(?:shm|top)$/ && $name =~ /^hiredis/) {
                    complain($file, $n,
                             "$room must not know hiredis: <$name>");
                }

                next;
            }

            my $path = dirname($file) . "/$name";
            1 while $path =~ s{(?:^|/)\K(?!\.\./)[^/]+/\.\./}{};
            $path =~ s{(?:^|/)\K\./}{}g;

            if (!-f $path) {
                complain($file, $n, "there is no $path; include relative "
                                    . 'to the file');
                next;
            }

            my $target = $path =~ m{^src/([^/]+)/} ? $1 : 'top';

            if (!grep { $_ eq $target } @{ $below{$room} }) {
                complain($file, $n, "$room must not include $target: $name");
            }
        }
    }
}


# What is there is built, and what is built is there.

sub check_config {
    my %listed;

    for (matches('config', qr{\$(?:rcache_src|ngx_addon_dir)/([\w./-]+\.[ch])}))
    {
        my ($n, $name) = @$_;

        $name = "src/$name" if $name ne $module;
        $listed{$name} = 1;

        if (!-f $name) {
            complain('config', $n, "there is no $name");
        }
    }

    for my $file (grep { !$listed{$_} } @src) {
        complain($file, 1, 'is not listed in config');
    }
}


# The documentation has what the code has, and nothing else.

sub check_docs {
    my %directive = map { $_->[1] => $_->[0] }
                    matches($module, qr/ngx_string\("(redis_proxy\w*)"\)/);

    my (%variable, %where);

    for my $file (grep { m{^src/} } @src) {
        for (matches($file, qr/ngx_string\("(redis_proxy\w*)"\)/)) {
            $variable{$_->[1]} = $_->[0];
            $where{$_->[1]} = $file;
        }
    }

    my $reasons = 'src/core/rcache_reason.h';
    my %reason = map { $_->[1] => $_->[0] }
                 matches($reasons, qr/^\s*X\(\w+, "([^"]+)"/);

    %directive or complain($module, 1, 'no directive was found');
    %variable or complain('src', 1, 'no variable was found');
    %reason or complain($reasons, 1, 'no reason was found');

    my $directives = 'docs/directives.md';
    my $variables = 'docs/variables.md';

    for ($directives, $variables) {
        -f $_ or complain($_, 1, 'is missing');
    }

    my %heading = map { $_->[1] => $_->[0] }
                  matches($directives, qr/^#+\s+`?(redis_proxy\w*)`?\s*$/);

    for my $name (sort keys %directive) {
        if (!$heading{$name}) {
            complain($module, $directive{$name},
                     "$name has no heading in $directives");
        }
    }

    for my $name (sort keys %heading) {
        if (!$directive{$name}) {
            complain($directives, $heading{$name},
                     "there is no directive $name");
        }
    }

    my $text = join "\n", lines($variables);

    for my $name (sort keys %variable) {
        if ($text !~ /\$\Q$name\E\b/) {
            complain($where{$name}, $variable{$name},
                     "\$$name is not in $variables");
        }
    }

    for my $name (sort keys %reason) {
        if ($text !~ /`\Q$name\E`/) {
            complain($reasons, $reason{$name},
                     "the reason `$name` is not in $variables");
        }
    }

    for (matches($variables, qr/^\| `([a-z_]+)` \|/)) {
        my ($n, $name) = @$_;

        if (!$reason{$name}) {
            complain($variables, $n, "there is no reason $name");
        }
    }

    check_metrics(\%directive, \%variable);

    # what a user reads or copies must exist

    for my $file ('README.md', $directives, $variables,
                  glob 'example/*.in')
    {
        for (matches($file, qr/(\$?\bredis_proxy\w*)/)) {
            my ($n, $name) = @$_;

            if ($name =~ s/^\$//) {
                next if $variable{$name};
                complain($file, $n, "there is no variable \$$name");

            } elsif (!$directive{$name} && !$variable{$name}
                     && $name !~ /_$/)
            {
                complain($file, $n, "there is no directive $name");
            }
        }
    }
}


# The list of metrics and what users read of it.

sub check_metrics {
    my ($directive, $variable) = @_;

    my $list = 'src/core/rcache_metrics.h';
    my $docs = 'docs/metrics.md';
    my %metric = (build => 1);
    my $text = join "\n", lines($docs);

    # X(ENUM, "name", ... "help text"); those of counters have a family first

    my $code = join "\n", lines($list);

    while ($code =~ /\bX\([A-Z_]+, "([a-z_]+)",/g) {
        my ($name, $before) = ($1, substr $code, 0, $-[0]);

        $metric{$name} = 1 + ($before =~ tr/\n//);
    }

    $metric{$1} = 1 while $code =~ /RCACHE_REDIS_TIME\s+"(\w+)"/g;

    keys %metric > 20 or complain($list, 1, 'no metrics were found');

    for my $name (sort keys %metric) {
        if ($text !~ /`redis_proxy_cache_\Q$name\E(?:_total|_info)?`/) {
            complain($list, $metric{$name}, "$name is not in $docs");
        }
    }

    for (matches($docs, qr/`redis_proxy_cache_(\w+)/)) {
        my ($n, $name) = @$_;

        next if $directive->{"redis_proxy_cache_$name"}
                || $variable->{"redis_proxy_cache_$name"};

        $name =~ s/_(?:total|info|bucket|sum|count)$//;

        if (!$metric{$name}) {
            complain($docs, $n, "there is no metric $name");
        }
    }
}
