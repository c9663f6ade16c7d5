#!/usr/bin/perl

# show.pl PORT
#
# Asks the nginx of "make run" for the pages of the example API, and prints
# what the cache did and what it is worth.

use strict;
use warnings;

use IO::Select;
use IO::Socket::INET;
use Time::HiRes qw(time);


my $port = shift;
my $requests = 600;
my $clients = 20;

my @pages = ('/api/products', map { "/api/search?q=$_" }
                              qw(lamp chair table shelf clock));

$| = 1;

print "\nOne page after the other:\n\n";
printf "  %-23s %6s  %-6s  %-12s  %9s\n", qw(page status cache reason time);

for my $page ('/api/products', '/api/products', '/api/search?q=lamp',
              '/api/search?q=lamp', '/api/me', '/api/me')
{
    my $r = get($page);

    printf "  %-23s %6s  %-6s  %-12s  %6.1f ms\n", $page, $r->{status},
           $r->{'x-cache'} // '', $r->{'x-cache-reason'} // '',
           $r->{time} * 1000;
}

print "\n$requests requests for ", scalar(@pages),
      " pages, $clients at a time:\n\n";
printf "  %-15s %9s  %9s  %12s  %18s\n", '', 'p50', 'p95', 'requests/s',
       'the API was asked';

series('without a cache', '/nocache');
series('with it', '');

exit 0;


sub series {
    my ($name, $prefix) = @_;
    my (%flying, @times);

    my $before = count();
    my $start = time();
    my $sent = 0;
    my $select = IO::Select->new();

    while (@times < $requests) {
        while ($sent < $requests && keys(%flying) < $clients) {
            my $r = ask($prefix . $pages[$sent++ % @pages]);

            $select->add($r->{sock});
            $flying{$r->{sock}} = $r;
        }

        for my $sock ($select->can_read(10)) {
            my $r = $flying{$sock};

            next if sysread $sock, $r->{text}, 65536, length $r->{text};

            $r->{text} =~ m{^HTTP/1\.1 200 }
                or die "show.pl: a wrong answer: $r->{text}\n";

            push @times, time() - $r->{start};
            $select->remove($sock);
            delete $flying{$sock};
        }
    }

    my $seconds = time() - $start;

    @times = sort { $a <=> $b } @times;

    printf "  %-15s %6.1f ms  %6.1f ms  %12.0f  %12d times\n", $name,
           $times[@times * 0.5] * 1000, $times[@times * 0.95] * 1000,
           $requests / $seconds, count() - $before;
}


sub count {
    my ($n) = get('/nocache/api/count')->{text} =~ /"count":(\d+)/;

    return $n;
}


sub get {
    my ($uri) = @_;

    my $r = ask($uri);

    1 while sysread $r->{sock}, $r->{text}, 65536, length $r->{text};

    $r->{time} = time() - $r->{start};
    ($r->{status}) = $r->{text} =~ m{^HTTP/1\.1 (\d+)};
    $r->{status} // die "show.pl: no answer to $uri\n";

    my ($head) = split /\r\n\r\n/, $r->{text};
    $r->{lc $1} = $2 while $head =~ /^(X-[\w-]+): (.*?)\r?$/mg;

    return $r;
}


sub ask {
    my ($uri) = @_;

    my $start = time();
    my $sock = IO::Socket::INET->new("127.0.0.1:$port")
        or die "show.pl: cannot connect to port $port: $!\n";

    $sock->syswrite("GET $uri HTTP/1.1\r\nHost: localhost:$port\r\n"
                    . "Connection: close\r\n\r\n");

    return { sock => $sock, start => $start, text => '' };
}
