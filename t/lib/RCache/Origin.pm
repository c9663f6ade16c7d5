# A scripted origin: an HTTP/1 server of a few processes whose answers are
# given by a sub.  Every request is put on record before it is answered, so
# that a test can ask how often, and with which headers, the origin was
# reached.

package RCache::Origin;

use strict;
use warnings;

use Fcntl qw(:flock O_RDWR O_CREAT O_APPEND O_WRONLY);
use IO::Socket::INET;
use Storable ();

use RCache::Util qw(free_port spawn stop_pid slurp);


# %o: dir, port, workers, handler: called with an RCache::Origin::Request and
# an RCache::Origin::Reply.

sub new {
    my ($class, %o) = @_;

    my $self = bless { port => free_port(), workers => 4, read => 0,
                       records => [], %o }, $class;
    mkdir $self->{dir};

    return $self->start();
}


sub start {
    my ($self) = @_;

    $self->{listen} = IO::Socket::INET->new(
        LocalAddr => '127.0.0.1', LocalPort => $self->{port}, Listen => 511,
        ReuseAddr => 1
    ) or die "cannot listen on $self->{port}: $!\n";

    $self->{pids} = [ map {
        spawn(code => sub { $self->work() }, keep => [ $self->{listen} ],
              log => "$self->{dir}/origin.log")
    } 1 .. $self->{workers} ];

    return $self;
}


sub stop {
    my ($self) = @_;

    close delete $self->{listen} if $self->{listen};
    stop_pid($_, 'KILL') for splice @{ $self->{pids} };

    return;
}


sub port { return $_[0]{port} }
sub addr { return "127.0.0.1:$_[0]{port}" }


# What went wrong in the script itself.

sub complaints { return slurp("$_[0]{dir}/origin.log") }


sub work {
    my ($self) = @_;

    $SIG{PIPE} = 'IGNORE';

    sysopen $self->{count}, "$self->{dir}/count", O_RDWR | O_CREAT;
    sysopen $self->{record}, "$self->{dir}/requests",
        O_WRONLY | O_CREAT | O_APPEND;

    for (;;) {
        my $sock = $self->{listen}->accept() or next;
        eval { $self->converse($sock); 1 } or print "$@\n";
        close $sock;
    }
}


sub converse {
    my ($self, $sock) = @_;

    my $in = '';

    for (;;) {
        my $end;
        while (($end = index $in, "\r\n\r\n") < 0) {
            sysread $sock, $in, 65536, length $in or return;
        }

        my ($first, @lines) = split /\r\n/, substr $in, 0, $end + 4, '';
        my ($method, $uri, $version) = split / /, $first;

        my $req = bless {
            method => $method, uri => $uri, version => $version,
            pairs => [ map { [ /^([^:]*):[ \t]*(.*)$/s ] } @lines ],
        }, 'RCache::Origin::Request';

        my $length = $req->header('Content-Length') // 0;
        while (length $in < $length) {
            sysread $sock, $in, 65536, length $in or return;
        }
        $req->{body} = substr $in, 0, $length, '';
        $req->{n} = $self->number();

        syswrite $self->{record}, $req->record();

        my $keep = $version eq 'HTTP/1.1'
            && lc($req->header('Connection') // '') ne 'close';

        my $reply = bless { sock => $sock, req => $req, keep => $keep,
                            dir => $self->{dir} }, 'RCache::Origin::Reply';

        $self->{handler}->($req, $reply);

        return if !$reply->{keep};
    }
}


# The number of the request among all that this origin got.

sub number {
    my ($self) = @_;

    flock $self->{count}, LOCK_EX;
    sysseek $self->{count}, 0, 0;
    sysread $self->{count}, my $n, 20;
    $n = ($n || 0) + 1;
    sysseek $self->{count}, 0, 0;
    syswrite $self->{count}, $n;
    flock $self->{count}, LOCK_UN;

    return $n;
}


# The requests so far, in order; with an argument, those for that URI.

sub requests {
    my ($self, $uri) = @_;

    if (open my $fh, '<:raw', "$self->{dir}/requests") {
        seek $fh, $self->{read}, 0;
        local $/;
        my $data = <$fh> // '';

        while (length $data >= 4 && length $data >= 4 + unpack 'N', $data) {
            my $record = unpack 'N/a', $data;
            substr $data, 0, 4 + length $record, '';
            $self->{read} += 4 + length $record;
            push @{ $self->{records} }, Storable::thaw($record);
        }
    }

    return grep { !defined $uri || $_->{uri} eq $uri }
        @{ $self->{records} };
}


sub count  { my ($self, $uri) = @_; return scalar $self->requests($uri) }
sub latest { my ($self, $uri) = @_; return ($self->requests($uri))[-1] }


# True if it gets no more requests for that URI than so many for so long, from
# when all that has been asked of nginx waits, or is on its way to an origin.

sub stays {
    my ($self, $uri, $count, $seconds) = @_;

    RCache::Redis::quiet();

    return !RCache::Util::wait_for { $self->count($uri) > $count } $seconds;
}


# Lets replies go on that wait for this word.

sub say {
    my ($self, $word) = @_;

    RCache::Util::spit("$self->{dir}/said-$word", '');
    return;
}


package RCache::Origin::Request;

sub method { return $_[0]{method} }
sub uri    { return $_[0]{uri} }
sub n      { return $_[0]{n} }
sub body   { return $_[0]{body} }
sub path   { return $_[0]{uri} =~ s/\?.*//sr }
sub query  { return $_[0]{uri} =~ /\?(.*)/s ? $1 : '' }

sub headers {
    my ($self, $name) = @_;

    return map { $_->[1] } grep { lc $_->[0] eq lc $name }
        @{ $self->{pairs} };
}

sub header { my ($self, $name) = @_; return ($self->headers($name))[0] }
sub record { my ($self) = @_; return pack 'N/a*', Storable::freeze($self) }


package RCache::Origin::Reply;

use Socket ();
use Time::HiRes ();

my %phrase = (
    200 => 'OK', 204 => 'No Content', 206 => 'Partial Content',
    301 => 'Moved Permanently', 302 => 'Found', 304 => 'Not Modified',
    403 => 'Forbidden', 404 => 'Not Found', 500 => 'Internal Server Error',
    503 => 'Service Unavailable',
);


sub raw {
    my ($self, @data) = @_;

    my $data = join '', @data;
    while (length $data) {
        my $n = syswrite $self->{sock}, $data;
        if (!$n) {
            $self->{keep} = 0;
            return 0;
        }
        substr $data, 0, $n, '';
    }

    return 1;
}


# The status line and the headers as they are given: "200", or "200 Fine".

sub head {
    my ($self, $status, @headers) = @_;

    $status .= ' ' . ($phrase{$status} // 'Whatever') if $status !~ / /;
    my $out = ($self->{version} || 'HTTP/1.1') . " $status\r\n";

    while (@headers) {
        my ($name, $value) = splice @headers, 0, 2;
        $out .= "$name: $value\r\n";
    }

    $out .= "Connection: close\r\n" if !$self->{keep};
    return $self->raw("$out\r\n");
}


# A whole response with Content-Length.

sub send {
    my ($self, $status, $headers, $body) = @_;

    $body //= '';
    $self->head($status, @$headers, 'Content-Length', length $body)
        or return 0;
    return $self->{req}{method} eq 'HEAD' ? 1 : $self->raw($body);
}


# The response that the request itself asks for, so that a table in a test can
# say both: X-Say has the header lines with "|" between them, X-Status the
# status line, X-Body the body, which is otherwise "answer" and the number of
# the request.

sub obey {
    my ($self) = @_;

    my $req = $self->{req};
    my $status = $req->header('X-Status') // 200;
    my @headers = map { /^([^:]+): ?(.*)$/s }
        split /\|/, $req->header('X-Say') // '';

    return $self->head($status, @headers) if $status =~ /^(?:204|304)/;

    return $self->send($status, \@headers,
                       $req->header('X-Body') // 'answer ' . $req->n);
}


sub chunk {
    my ($self, @data) = @_;

    my $data = join '', @data;
    return $self->raw(sprintf("%x\r\n", length $data), $data, "\r\n");
}


sub last_chunk { my ($self) = @_; return $self->raw("0\r\n\r\n") }


sub delay { my ($self, $seconds) = @_; Time::HiRes::sleep($seconds); return }


# Waits until the test says the word.

sub wait_word {
    my ($self, $word) = @_;

    return RCache::Util::wait_for { -e "$self->{dir}/said-$word" };
}


# The connection ends when the handler returns.

sub close { my ($self) = @_; $self->{keep} = 0; return }


sub reset {
    my ($self) = @_;

    setsockopt($self->{sock}, Socket::SOL_SOCKET(), Socket::SO_LINGER(),
               pack('ii', 1, 0));
    $self->{keep} = 0;
    return;
}


1;
