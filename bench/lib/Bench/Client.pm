package Bench::Client;

# What the bench asks servers itself: one HTTP request, one Redis command,
# the statistics of memcached; and the body that it expects.

use strict;
use warnings;

use IO::Socket::INET;
use IO::Socket::UNIX;
use POSIX ();
use Socket;
use Time::HiRes qw(time);


# an address is a port on 127.0.0.1 or the path of a unix socket

sub open_socket {
    my ($addr) = @_;

    return $addr =~ m{^/}
           ? IO::Socket::UNIX->new(Peer => $addr)
           : IO::Socket::INET->new(PeerAddr => '127.0.0.1',
                                   PeerPort => $addr, Timeout => 5);
}


# wrk with load.lua, and what it says: a hash.  core; port; connections; path;
# keys: 0, that path alone, 1, a new key behind it with each request, or one of
# so many; seconds; delay, in milliseconds; timeout; with: a command that starts
# it.

sub wrk {
    my (%o) = @_;
    my $lua = __FILE__ =~ s{[^/]*\z}{../../load.lua}r;
    my @cmd = ('taskset', '-c', $o{core}, @{ $o{with} // [] }, 'wrk', '-t1',
               "-c$o{connections}", "-d$o{seconds}s", '--latency',
               '--timeout', $o{timeout} // '2s', '-s', $lua,
               "http://127.0.0.1:$o{port}$o{path}", '--', $o{path},
               $o{keys} // 0, $o{delay} // 0);

    open my $fh, '-|', @cmd or die "wrk: $!\n";
    my $out = do { local $/; <$fh> } // '';
    close $fh;

    my ($line) = $out =~ /^FIGURES (.*)/m or die "wrk failed:\n$out";

    return { $line =~ /(\w+)=(\d+)/g };
}


# a port that nobody listens on, and that no call before returned

my %given;

sub free_port {
    for (1 .. 100) {
        my $s = IO::Socket::INET->new(LocalAddr => '127.0.0.1',
                                      LocalPort => 0, Listen => 1)
                or die "cannot listen on 127.0.0.1: $!\n";
        my $port = $s->sockport();

        return $port if !$given{$port}++;
    }

    die "no free port found\n";
}


# ($status, \%headers in lower case, $body), or nothing

sub get {
    my ($port, $path) = @_;
    my $s = open_socket($port) or return;
    my ($text, %h) = ('');

    print $s "GET $path HTTP/1.1\r\nHost: 127.0.0.1:$port\r\n"
             . "Connection: close\r\n\r\n";

    local $/;
    $text = <$s> // '';

    my ($head, $body) = split /\r\n\r\n/, $text, 2;

    return if !defined $body;

    my ($line, @lines) = split /\r\n/, $head;

    for (@lines) {
        my ($name, $value) = split /:\s*/, $_, 2;
        $h{lc $name} = $value;
    }

    if (($h{'transfer-encoding'} // '') eq 'chunked') {
        my $plain = '';

        while ($body =~ s/^([0-9a-fA-F]+)\r\n//) {
            my $n = hex $1;

            last if $n == 0;
            $plain .= substr $body, 0, $n + 2, '';
            $plain =~ s/\r\n\z// or return;
        }

        $body = $plain;
    }

    return ($line =~ /^HTTP\/1\.1 (\d+)/ ? $1 : 0, \%h, $body);
}


# status, integer and bulk replies; dies on an error reply

sub redis {
    my ($s, @args) = @_;

    print $s '*' . @args . "\r\n",
             map { '$' . length($_) . "\r\n$_\r\n" } @args;

    local $/ = "\r\n";

    my $line = <$s> // die "redis closed the connection\n";

    chomp $line;

    return $1 if $line =~ /^[+:](.*)/;
    die "redis: $1\n" if $line =~ /^-(.*)/;
    return undef if $line =~ /^\$-1/;

    my ($n) = $line =~ /^\$(\d+)/ or die "redis: unexpected \"$line\"\n";

    read($s, my $data, $n + 2) == $n + 2 or die "redis: short reply\n";

    return substr $data, 0, $n;
}


# A process on that core, which keeps the connection for itself: its pid, and a
# function that returns how long a PING from there takes, in seconds, or undef.
# A worker waits longer for Redis than who shares a core with it.

sub pinger {
    my ($s, $core) = @_;

    socketpair my $ours, my $theirs, AF_UNIX, SOCK_STREAM, PF_UNSPEC
        or die "no socket pair: $!\n";

    my $pid = fork() // die "cannot fork: $!\n";

    if ($pid == 0) {
        close $ours;
        system("taskset -p -c $core $$ > /dev/null");

        while (sysread $theirs, my $word, 1) {
            my $began = time();

            eval { redis($s, 'PING') } or last;
            syswrite $theirs, pack 'd', time() - $began;
        }

        # nothing of the parent's is undone
        POSIX::_exit(0);
    }

    close $theirs;

    return ($pid, sub {
        my $took;

        syswrite $ours, '.';

        return sysread($ours, $took, 8) == 8 ? unpack 'd', $took : undef;
    });
}


sub redis_info {
    my ($s, $section) = @_;

    return { redis($s, 'INFO', $section) =~ /^(\w+):([^\r\n]*)/mg };
}


sub memcached_stats {
    my ($s) = @_;
    my %h;

    print $s "stats\r\n";

    local $/ = "\r\n";

    while (defined(my $line = <$s>)) {
        last if $line =~ /^END/;
        $h{$1} = $2 if $line =~ /^STAT (\S+) (\S+)/;
    }

    return \%h;
}


sub memcached_flush {
    my ($s) = @_;

    print $s "flush_all\r\n";

    local $/ = "\r\n";

    return scalar <$s>;
}


# the body that the origin has, of n bytes; text that does not repeat, the
# same in each run

my %body;

sub body {
    my ($n) = @_;

    return $body{$n} if defined $body{$n};

    my ($text, $x) = ('', $n);

    while (length $text < $n) {
        $x = ($x * 1103515245 + 12345) & 0x7fffffff;
        $text .= sprintf '%08x', $x;
    }

    return $body{$n} = substr $text, 0, $n;
}


1;
