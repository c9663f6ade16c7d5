# An origin that answers thousands of requests at the same time: one process
# and an event loop, where RCache::Origin has a process for each.  A handler
# cannot wait here; it returns a list of what is to be done instead:
#
#     1.5         wait so many seconds
#     \'word'     wait until the test says that word
#     'bytes'     send them
#
# and then the connection is closed.  response() makes the bytes of one.

package RCache::Throng;

use strict;
use warnings;

use Errno qw(EAGAIN EINTR);
use Exporter 'import';
use IO::Socket::INET;
use Time::HiRes qw(time);

use RCache::Origin;
use RCache::Util qw(free_port spawn);

our @ISA = ('RCache::Origin');
our @EXPORT = qw(response);


# %o: dir, port, handler: called with an RCache::Origin::Request.

sub start {
    my ($self) = @_;

    $self->{listen} = IO::Socket::INET->new(
        LocalAddr => '127.0.0.1', LocalPort => $self->{port}, Listen => 4096,
        ReuseAddr => 1, Blocking => 0
    ) or die "cannot listen on $self->{port}: $!\n";

    $self->{pids} = [ spawn(code => sub { $self->loop() },
                            keep => [ $self->{listen} ],
                            log => "$self->{dir}/origin.log") ];

    return $self;
}


# A word may be a URI.

sub word {
    my ($self, $word) = @_;

    return "$self->{dir}/said-" . $word =~ s{/}{%2f}gr;
}


sub say {
    my ($self, @words) = @_;

    RCache::Util::spit($self->word($_), '') for @words;
    return;
}


sub is_time { return defined $_[0] && $_[0] =~ /^\d+(?:\.\d+)?\z/ }


sub response {
    my ($status, $headers, $body) = @_;

    my @pairs = (@$headers, 'Content-Length', length $body);
    my $out = "HTTP/1.1 $status " . ($status == 200 ? 'OK' : 'Whatever')
              . "\r\n";

    while (@pairs) {
        my ($name, $value) = splice @pairs, 0, 2;
        $out .= "$name: $value\r\n";
    }

    return "${out}Connection: close\r\n\r\n$body";
}


sub loop {
    my ($self) = @_;

    my (%conn, $n);
    my $listen = fileno $self->{listen};

    $SIG{PIPE} = 'IGNORE';
    open my $record, '>>', "$self->{dir}/requests" or die "requests: $!\n";

    for (;;) {
        my ($read, $write, $wait) = ('', '', 1);
        my $now = time();

        vec($read, $listen, 1) = 1;

        for my $fd (keys %conn) {
            my $c = $conn{$fd};
            my $next = $c->{todo} && $c->{todo}[0];

            if (!$c->{todo}) {
                vec($read, $fd, 1) = 1;

            } elsif (ref $next) {
                $wait = 0.005;

                # who waits notices that the other end goes away
                vec($read, $fd, 1) = 1 if !$c->{gone};

            } elsif (is_time($next)) {
                $c->{at} //= $now + $next;
                my $left = $c->{at} - $now;
                $wait = $left < 0 ? 0 : $left if $left < $wait;
                vec($read, $fd, 1) = 1 if !$c->{gone};

            } else {
                vec($write, $fd, 1) = 1;
            }
        }

        select $read, $write, undef, $wait;
        $now = time();

        if (vec($read, $listen, 1)) {
            while (my $sock = $self->{listen}->accept()) {
                $sock->blocking(0);
                $conn{ fileno $sock } = { sock => $sock, in => '' };
            }
        }

        my %said;

        for my $fd (keys %conn) {
            my $c = $conn{$fd};

            if (vec($read, $fd, 1)) {
                my $got = sysread $c->{sock}, $c->{in}, 65536,
                                  length $c->{in};

                if (!$got && !(!defined $got && $! == EAGAIN)) {
                    $c->{gone} = 1;
                    delete $conn{$fd} if !$c->{todo};
                    next;
                }

                if (!$c->{todo} && whole($c->{in})) {
                    my $req = request($c->{in}, ++$n);

                    syswrite $record, $req->record();
                    $c->{todo} = [ $self->{handler}->($req) ];
                }
            }

            my $todo = $c->{todo} or next;
            my $next = $todo->[0];

            if (ref $next) {
                $said{$$next} //= -e $self->word($$next) ? 1 : 0;
                shift @$todo if $said{$$next};

            } elsif (is_time($next)) {
                if (defined $c->{at} && $c->{at} <= $now) {
                    shift @$todo;
                    delete $c->{at};
                }

            } elsif (defined $next && vec($write, $fd, 1)) {
                my $sent = syswrite $c->{sock}, $next;

                if (defined $sent) {
                    substr $todo->[0], 0, $sent, '';
                    shift @$todo if $todo->[0] eq '';

                } elsif ($! != EAGAIN && $! != EINTR) {
                    @$todo = ();
                }
            }

            delete $conn{$fd} if !@$todo;
        }
    }
}


# Who answers before the body is there breaks the pipe of who sends it.

sub whole {
    my ($in) = @_;

    my $end = index $in, "\r\n\r\n";
    return 0 if $end < 0;

    my ($length) = substr($in, 0, $end) =~ /^Content-Length: (\d+)/mi;
    return length $in >= $end + 4 + ($length // 0);
}


sub request {
    my ($in, $n) = @_;

    my ($first, @lines) = split /\r\n/, $in =~ s/\r\n\r\n.*//sr;
    my ($method, $uri, $version) = split / /, $first;

    return bless {
        method => $method, uri => $uri, version => $version, n => $n,
        body => '', pairs => [ map { [ /^([^:]*):[ \t]*(.*)$/s ] } @lines ],
    }, 'RCache::Origin::Request';
}


1;
