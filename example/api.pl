#!/usr/bin/perl

# api.pl PORT_FILE
#
# A slow HTTP API: each answer takes about 100 ms, however many are asked
# for at a time.  Listens on a free port of 127.0.0.1 and writes its number
# to PORT_FILE.
#
#     GET /api/products      the same for everybody, fresh for a minute
#     GET /api/search?q=...  says nothing of how long it may be kept
#     GET /api/me            another page for each user: private
#     GET /api/count         how many of the above were asked for, at once

use strict;
use warnings;

use IO::Select;
use IO::Socket::INET;
use Time::HiRes qw(time);


my @products = map {
    {
        id    => $_,
        name  => (qw(lamp chair table shelf clock mirror))[$_ % 6] . " $_",
        price => 995 + 250 * ($_ % 17)
    }
} 1 .. 40;

my $count = 0;
my (%input, @waiting);

$SIG{PIPE} = 'IGNORE';
$SIG{TERM} = sub { exit 0 };

my $listen = IO::Socket::INET->new(
    Listen => 511, LocalAddr => '127.0.0.1', LocalPort => 0
) or die "api.pl: cannot listen: $!\n";

my $select = IO::Select->new($listen);

open my $file, '>', "$ARGV[0].new" or die "api.pl: $ARGV[0]: $!\n";
print $file $listen->sockport, "\n";
close $file;
rename "$ARGV[0].new", $ARGV[0] or die "api.pl: $ARGV[0]: $!\n";

for ( ;; ) {
    my $pause = @waiting ? $waiting[0]{at} - time() : 60;

    for my $sock ($select->can_read($pause > 0 ? $pause : 0)) {
        if ($sock == $listen) {
            my $client = $listen->accept or next;
            $select->add($client);
            $input{$client} = '';

        } else {
            receive($sock);
        }
    }

    while (@waiting && $waiting[0]{at} <= time()) {
        my $answer = shift @waiting;

        $answer->{sock}->syswrite($answer->{text});
        close $answer->{sock};
    }
}


sub receive {
    my ($sock) = @_;

    my $n = sysread $sock, $input{$sock}, 65536, length $input{$sock};

    if ($n && $input{$sock} !~ /\r\n\r\n/) {
        return;
    }

    $select->remove($sock);

    my $request = delete $input{$sock};
    my ($uri) = $request =~ m{^[A-Z]+ (\S+) HTTP/1};

    if (!$n || !defined $uri) {
        close $sock;
        return;
    }

    my $delay = $uri eq '/api/count' ? 0 : 0.095 + rand 0.02;

    push @waiting, {
        sock => $sock, at => time() + $delay, text => answer($uri, $request)
    };

    @waiting = sort { $a->{at} <=> $b->{at} } @waiting;
}


sub answer {
    my ($uri, $request) = @_;
    my ($path, $query) = split /\?/, $uri, 2;

    if ($path eq '/api/count') {
        return response(200, "{\"count\":$count}", 'no-store');
    }

    $count++;

    if ($path eq '/api/products') {
        return response(200, list(@products), 'max-age=60');
    }

    if ($path eq '/api/search') {
        my ($q) = ($query // '') =~ /(?:^|&)q=([^&]*)/;

        return response(200, list(grep { index($_->{name}, $q // '') >= 0 }
                                  @products));
    }

    if ($path eq '/api/me') {
        my ($user) = $request =~ /^Cookie:.*\buser=(\w+)/mi;

        return response(200, '{"user":"' . ($user // 'guest') . '"}',
                        'private');
    }

    return response(404, '{"error":"there is no such page"}');
}


sub list {
    return '['
           . join(',', map { qq({"id":$_->{id},"name":"$_->{name}",)
                             . qq("price":$_->{price}}) } @_)
           . ']';
}


sub response {
    my ($status, $body, $control) = @_;

    return "HTTP/1.1 $status " . ($status == 200 ? 'OK' : 'Not Found')
           . "\r\nContent-Type: application/json\r\n"
           . (defined $control ? "Cache-Control: $control\r\n" : '')
           . 'Content-Length: ' . length($body) . "\r\n"
           . "Connection: close\r\n\r\n$body";
}
