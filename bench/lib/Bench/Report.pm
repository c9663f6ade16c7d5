package Bench::Report;

# The tables, in Markdown, ready for docs/performance.md.

use strict;
use warnings;

use POSIX ();

use Bench::Process;


my %title = (
    hot  => 'Hot hit',
    miss => 'Stored miss',
    rest => 'Not stored',
);


sub make {
    my (%arg) = @_;

    return join "\n", machine(\%arg),
           scenario(\%arg, 'hot'), ways(\%arg),
           (map { scenario(\%arg, $_) } qw(miss rest)), budgets(\%arg),
           first_byte(\%arg), memory(\%arg), redis_memory(\%arg),
           faults(\%arg);
}


sub machine {
    my ($arg) = @_;
    my $o = $arg->{options};
    my @u = POSIX::uname();
    my ($cpu) = (Bench::Process::slurp('/proc/cpuinfo') // '')
                =~ /^model name\s*:\s*(.+)$/m;
    my $n = () = (Bench::Process::slurp('/proc/cpuinfo') // '')
                 =~ /^processor\s*:/mg;
    my ($kib) = (Bench::Process::slurp('/proc/meminfo') // '')
                =~ /^MemTotal:\s+(\d+)/;
    my ($os) = (Bench::Process::slurp('/etc/os-release') // '')
               =~ /^PRETTY_NAME="?([^"\n]+)/m;

    my @version = (
        version("$arg->{nginx} -v 2>&1", qr{nginx/(\S+)}, 'nginx'),
        version('redis-server --version', qr{v=(\S+)}, 'Redis'),
        version('memcached -V', qr{(\d\S+)}, 'memcached'),
        version('varnishd -V 2>&1', qr{varnish-(\d\S+)}, 'Varnish'),
        version('node --version', qr{v(\S+)}, 'Node.js'),
        version('wrk -v', qr{wrk (\S+)}, 'wrk'),
        map { version("dpkg-query -W -f '\${Version}' $_ 2>/dev/null",
                      qr{(\S+)}, $_) }
            qw(libnginx-mod-http-srcache-filter libnginx-mod-http-lua
               libnginx-mod-http-memc),
    );

    my $noise = $arg->{quality}{foreign} > 3
                ? ' **That is too much for the figures to be relied on.**'
                : '';
    my $text = sprintf 'Made on %s with `%s`: %d rounds of %d s a cell. '
        . 'Machine: %d x %s, %.0f GiB, %s, Linux %s; meanwhile the host '
        . 'kept %.1f %% of its CPU time, and other programs took %.1f %%.%s '
        . 'Versions: %s. The worker that is '
        . 'measured ran on core %s; wrk, the origin, Redis and memcached on '
        . 'core %s, in %s. CPU is in microseconds per request, p50 '
        . 'and p99 are in microseconds; all are medians over the rounds, '
        . 'and +- is half the range over the rounds.%s',
        POSIX::strftime('%Y-%m-%d', gmtime), $arg->{command}, $o->{rounds},
        $o->{seconds}, $n, $cpu // $u[4], ($kib // 0) / 1048576,
        $os // $u[0], $u[2], @{ $arg->{quality} }{qw(stolen foreign)},
        $noise, join(', ', @version),
        @{ $arg->{cores} }, Bench::Process::network(),
        $o->{pace} ? " Misses of 16 KiB and more over several connections "
                     . "were paced to at most $o->{pace} MiB/s." : '';

    return wrap($text);
}


sub wrap {
    my ($text) = @_;

    $text =~ s/(.{1,78})(?: |$)/$1\n/g;

    return $text;
}


# puts the text between the two comments of a document that have that mark

sub update {
    my ($file, $mark, $text) = @_;
    my $all = Bench::Process::slurp($file) // die "$file: $!\n";

    $all =~ s/(<!-- $mark -->\n).*(<!-- end of $mark -->)/$1\n$text\n$2/s
        or die "$file has no \"<!-- $mark -->\"\n";

    open my $fh, '>', $file or die "$file: $!\n";
    print $fh $all;
    close $fh or die "$file: $!\n";
}


sub version {
    my ($command, $re, $name) = @_;
    my $out = `$command` // '';

    return $out =~ $re ? ("$name $1") : ();
}


# The tables of figures.  A ratio over 1 says that the contender is dearer.

sub scenario {
    my ($arg, $which) = @_;
    my %in = (
        hot  => ['hot'],
        miss => ['miss'],
        rest => ['plain', 'nostore', 'known'],
    );
    my (@rows, %blocks);

    for my $key (keys %{ $arg->{cells} }) {
        my ($s, $size, $conns, $name) = split / /, $key;

        next if !grep { $_ eq $s
                        || ($which eq 'miss' && $s eq 'plain'
                            && $name eq 'proxy_pass') } @{ $in{$which} }, '';

        $blocks{"$size $conns"}{$name} = $key;
    }

    # a table of proxy_pass alone says nothing

    for (keys %blocks) {
        delete $blocks{$_} if !grep { $_ ne 'proxy_pass' }
                              keys %{ $blocks{$_} };
    }

    return () if !%blocks;

    my @head = ('body', 'conn.', 'contender', 'worker CPU', '+-',
                'backend CPU', 'req/s', 'p50', 'p99');

    push @head, 'to proxy_pass' if $which ne 'hot';
    push @head, 'to this module' if $which ne 'rest';

    for my $block (sort { by_block($a, $b) } keys %blocks) {
        my ($size, $conns) = split / /, $block;
        my $keys = $blocks{$block};
        my $own = grep({ exists $keys->{$_} } 'module-unix')
                  ? 'module-unix' : 'module-tcp';

        for my $c (@{ $arg->{contenders} }) {
            my $key = $keys->{$c->{name}} // next;
            my $cpu = median($arg, $key, 'cpu') // next;

            my @row = (size($size), $conns, $c->{title},
                       number($cpu), spread($arg, $key, 'cpu'),
                       map { number(median($arg, $key, $_)) }
                           qw(backend rps p50 p99));

            for my $to ($which ne 'hot' ? 'proxy_pass' : (),
                        $which ne 'rest' ? $own : ())
            {
                my @r = ratios($arg, $key, $keys->{$to} // '', 'cpu');

                push @row, @r ? sprintf('%.2f', middle(@r)) : '';
            }

            push @rows, \@row;
        }
    }

    return "### $title{$which}\n\n" . table(\@head, @rows);
}


# what TLS and a cluster add to a hit from a single Redis

sub ways {
    my ($arg) = @_;
    my @rows;

    for my $key (sort { by_block((split / /, $a, 2)[1],
                                 (split / /, $b, 2)[1]) }
                 keys %{ $arg->{cells} })
    {
        my ($s, $size, $conns, $name) = split / /, $key;
        my ($c) = grep { $_->{name} eq $name } @{ $arg->{contenders} };

        next if $s ne 'hot' || $name !~ /^module-(?:tls|cluster|replica)$/;

        push @rows, [size($size), $conns, $c->{title}, map {
            my @r = ratios($arg, $key, "$s $size $conns module-tcp", $_)
                or next;
            @r = sort { $a <=> $b } @r;
            sprintf('%.2f', middle(@r))
            . (@r > 1 ? sprintf ' (%.2f-%.2f)', @r[0, -1] : '');
        } qw(cpu backend p50)];
    }

    return () if !@rows;

    return "### TLS and Cluster\n\n"
           . wrap('A hit, to one over TCP from a single Redis: the median of '
                  . 'the ratios of each round, and their range.')
           . "\n"
           . table(['body', 'conn.', 'contender', 'worker CPU',
                    'backend CPU', 'p50'], @rows);
}


sub budgets {
    my ($arg) = @_;
    my @rows;

    for my $budget (@{ $arg->{budgets} }) {
        my ($s, $size, $conns) = @{ $budget->{cell} };
        my ($to, $to_s) = @{ $budget->{to} // [] };
        my (@shown, @verdict);

        for my $name (@{ $budget->{of} }) {
            my @r = ratios($arg, "$s $size $conns $name",
                           $to && "$to_s $size $conns $to", $budget->{measure})
                or next;
            my $r = sprintf '%.2f', middle(@r);
            my ($way) = $name =~ /-(unix|tcp)$/;

            @r = sort { $a <=> $b } @r;

            push @verdict, $r <= $budget->{limit} ? 1 : 0;
            push @shown, $r . (@r > 1 ? sprintf ' (%.2f-%.2f)', @r[0, -1]
                                      : '')
                         . ($way ? $way eq 'tcp' ? ' TCP' : ' unix' : '');
        }

        next if !@shown;

        push @rows, [
            $budget->{what}, sprintf('%.2f', $budget->{limit}),
            join(', ', @shown),
            !grep({ !$_ } @verdict) ? 'met'
            : grep({ $_ } @verdict) ? 'met by one' : '**missed**',
        ];
    }

    return () if !@rows;

    return "### Budgets\n\n"
           . table(['path', 'at most', 'measured', ''], @rows);
}


# how much later an answer comes because Redis is asked first

sub first_byte {
    my ($arg) = @_;
    my @rows;

    for my $name (qw(module-unix module-tcp)) {
        my $own = median($arg, "miss 1024 1 $name", 'p50') // next;
        my $base = median($arg, 'plain 1024 1 proxy_pass', 'p50') // next;

        push @rows, [$name, number($base), number($own),
                     number($own - $base), number($arg->{trips}{$name})];
    }

    return () if !@rows;

    return "### First byte of a miss\n\n"
           . wrap('p50 of a stored miss of 1 KiB over one connection, and '
                  . 'the time of a PING to the same Redis from the worker\'s '
                  . 'core.')
           . "\n"
           . table(['contender', 'proxy_pass', 'miss', 'later by', 'PING'],
                   @rows);
}


sub memory {
    my ($arg) = @_;
    my @rows = map {
        [ $_->{title}, map { mib($_) } $_->{peak}, $_->{peak_shared} ]
    } grep { $_->{peak} } @{ $arg->{contenders} };
    my $text = "### Memory\n\nThe worker's peak resident memory over all of "
               . "its cells, and how much of it was\nshared memory (zones) "
               . "then.\n\n"
               . table(['contender', 'peak, MiB', 'shared, MiB'], @rows);

    if (%{ $arg->{large} }) {
        $text .= "\nBodies of 20 MiB, 50 connections, in a worker that has "
                 . "just started:\n\n"
                 . table(['contender', 'idle, MiB', 'peak, MiB', 'requests',
                          'stored'],
                         map { my $l = $arg->{large}{$_};
                               [$_, mib($l->{idle}), mib($l->{peak}),
                                @$l{qw(requests stored)}] }
                             sort keys %{ $arg->{large} });
    }

    return $text;
}


sub redis_memory {
    my ($arg) = @_;
    my @rows;

    for my $key (sort { by_block((split / /, $a, 2)[1],
                                 (split / /, $b, 2)[1]) }
                 keys %{ $arg->{cells} })
    {
        my ($s, $size, $conns, $name) = split / /, $key;
        my $m = median($arg, $key, 'memory') // next;

        next if !grep { $_ eq $name } qw(srcache-redis module-unix);

        push @rows, [size($size), $conns, $name, sprintf '%.2f', $m];
    }

    return () if !@rows;

    return "### Redis memory\n\nBytes that Redis uses for an entry, to the "
           . "bytes of its body.\n\n"
           . table(['body', 'conn.', 'contender', 'ratio'], @rows);
}


sub faults {
    my ($arg) = @_;

    return () if !@{ $arg->{faults} };

    return "### Faults\n\nThe figures of these cells are not to be "
           . "trusted.\n\n" . join('', map { "- $_\n" } @{ $arg->{faults} });
}


sub median {
    my ($arg, $key, $what) = @_;

    return middle(grep { defined } map { $_->{$what} }
                  @{ $arg->{cells}{$key} // [] });
}


sub middle {
    my @v = sort { $a <=> $b } @_;

    return undef if !@v;

    return @v % 2 ? $v[$#v / 2] : ($v[@v / 2 - 1] + $v[@v / 2]) / 2;
}


sub spread {
    my ($arg, $key, $what) = @_;
    my @v = sort { $a <=> $b } map { $_->{$what} } @{ $arg->{cells}{$key} };

    return '' if @v < 2;

    return sprintf '%.0f%%', 50 * ($v[-1] - $v[0])
                             / median($arg, $key, $what);
}


# What a figure is to that of another cell, or as it is without one: a value
# for each round that has both.

sub ratios {
    my ($arg, $key, $to, $what) = @_;
    my %base = map { $_->{round} => $_->{$what} }
               @{ $arg->{cells}{$to // ''} // [] };

    return map { defined $to ? $_->{$what} / $base{$_->{round}}
                             : $_->{$what} }
           grep { defined $_->{$what}
                  && (!defined $to || $base{$_->{round}}) }
           @{ $arg->{cells}{$key} // [] };
}


sub number {
    my ($n) = @_;

    return '' if !defined $n;

    return sprintf $n < 100 ? '%.1f' : '%.0f', $n;
}


sub mib {
    my ($kib) = @_;

    return defined $kib ? sprintf '%.1f', $kib / 1024 : '';
}


sub size {
    my ($n) = @_;

    return $n % 1048576 == 0 ? $n / 1048576 . ' MiB'
           : $n % 1024 == 0 ? $n / 1024 . ' KiB' : "$n B";
}


sub by_block {
    my ($x, $y) = @_;
    my @x = split / /, $x;
    my @y = split / /, $y;

    return $x[0] <=> $y[0] || $x[1] <=> $y[1]
           || ($x[2] // '') cmp ($y[2] // '');
}


sub table {
    my ($head, @rows) = @_;
    my @width = map { length } @$head;
    my @left = map { 0 } @$head;

    for my $row (@rows) {
        for my $i (0 .. $#$head) {
            my $n = length $row->[$i];

            $width[$i] = $n if $n > $width[$i];
            $left[$i] = 1 if $row->[$i] =~ /^\W*[a-zA-Z]/;
        }
    }

    return join '', map { "$_\n" }
        line(\@width, \@left, $head),
        '|' . join('|', map { '-' x ($width[$_] + 1)
                              . ($left[$_] ? '-' : ':') } 0 .. $#width)
        . '|',
        map { line(\@width, \@left, $_) } @rows;
}


sub line {
    my ($width, $left, $row) = @_;

    return '| ' . join(' | ', map {
        sprintf $left->[$_] ? '%-*s' : '%*s', $width->[$_], $row->[$_]
    } 0 .. $#$width) . ' |';
}


1;
