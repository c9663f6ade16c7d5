# A raw HTTP/1 client.  It shows what came over the wire and mends nothing:
# the headers are ordered pairs, and "complete" tells whether the body ended
# as its framing said it would.

package RCache::HTTP;

use strict;
use warnings;

use Exporter 'import';
use Socket qw(
    AF_INET SOCK_STREAM SOL_SOCKET SO_LINGER inet_aton pack_sockaddr_in
);
use Time::HiRes qw(time);

use RCache::Util qw(readable);

our @EXPORT_OK = qw(http_date);

my @days = qw(Sun Mon Tue Wed Thu Fri Sat);
my @months = qw(Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec);


# host: an address of IPv4.  No IO::Socket, which takes longer than nginx does.

sub new {
    my ($class, %o) = @_;

    socket(my $sock, AF_INET, SOCK_STREAM, 0) or die "no socket: $!\n";
    connect($sock, pack_sockaddr_in($o{port},
                                    inet_aton($o{host} || '127.0.0.1')))
        or die "cannot connect to port $o{port}: $!\n";

    return bless { sock => $sock, in => '', eof => 0 }, $class;
}


# What a header says of that time, or of now.

sub http_date {
    my ($at) = @_;

    my ($s, $min, $h, $day, $month, $year, $weekday) = gmtime($at // time());

    return sprintf '%s, %02d %s %d %02d:%02d:%02d GMT', $days[$weekday], $day,
                   $months[$month], $year + 1900, $h, $min, $s;
}


# The bytes of a request; %o: headers as a flat list, body, version, host.
# A header whose value is undef is left out, also "Host" and "Connection".

sub format_request {
    my ($method, $uri, %o) = @_;

    my @given = @{ $o{headers} || [] };
    my @pairs;
    my %seen;

    while (@given) {
        my ($name, $value) = splice @given, 0, 2;
        $seen{lc $name} = 1;
        push @pairs, [ $name, $value ] if defined $value;
    }

    unshift @pairs, [ 'Host', $o{host} || 'localhost' ] unless $seen{host};
    push @pairs, [ 'Connection', 'close' ]
        unless $o{keepalive} || $seen{connection};
    push @pairs, [ 'Content-Length', length $o{body} ]
        if defined $o{body} && !$seen{'content-length'};

    my $version = $o{version} || '1.1';

    return "$method $uri HTTP/$version\r\n"
        . join('', map { "$_->[0]: $_->[1]\r\n" } @pairs) . "\r\n"
        . ($o{body} // '');
}


sub send {
    my ($self, @data) = @_;

    local $SIG{PIPE} = 'IGNORE';
    my $data = join '', @data;
    my $done = 0;

    while ($done < length $data) {
        my $n = syswrite $self->{sock}, $data, length($data) - $done, $done;
        return 0 if !defined $n;
        $done += $n;
    }

    return 1;
}


sub request {
    my ($self, $method, $uri, %o) = @_;

    $self->send(format_request($method, $uri, %o));
    return $self->response($method);
}


# Waits for so many bytes of input, none of which is taken.

sub fill_to {
    my ($self, $n) = @_;

    while (length $self->{in} < $n) {
        $self->fill() or die 'only ' . length($self->{in}) . " bytes\n";
    }

    return;
}


# Waits for more input; false at its end or after too long.

sub fill {
    my ($self, $seconds) = @_;

    return 0 if $self->{eof};

    if (!readable($self->{sock}, $seconds)) {
        $self->{timedout} = 1;
        return 0;
    }

    my $n = sysread $self->{sock}, $self->{in}, 65536, length $self->{in};
    $self->{eof} = 1 if !$n;
    $self->{broken} = 1 if !defined $n;

    return $n ? 1 : 0;
}


sub take {
    my ($self, $n) = @_;

    while (length $self->{in} < $n) {
        $self->fill() or last;
    }

    return substr $self->{in}, 0, $n, '';
}


sub take_line {
    my ($self) = @_;

    my $at;
    while (($at = index $self->{in}, "\n") < 0) {
        $self->fill() or return;
    }

    my $line = substr $self->{in}, 0, $at + 1, '';
    $line =~ s/\r?\n\z//;
    return $line;
}


# The next response on this connection, interim ones skipped; undef if there
# is none.

sub response {
    my ($self, $method) = @_;

    my $r = RCache::Response->new();
    my $start = time();

    for (;;) {
        my $line = $self->take_line() // return;
        $line =~ m{^(HTTP/\d\.\d) (\d{3})(?: (.*))?$}
            or die "not a status line: $line\n";

        $r->{line} = $line;
        $r->{version} = $1;
        $r->{status} = $2;
        $r->{phrase} = $3 // '';
        $r->{pairs} = [];

        for (;;) {
            my $header = $self->take_line() // return $r;
            last if $header eq '';
            my ($name, $value) = $header =~ /^([^:]*):[ \t]*(.*?)[ \t]*$/s;
            push @{ $r->{pairs} }, [ $name, $value ];
        }

        last if $r->{status} >= 200 || $r->{status} == 101;
    }

    if (($method // '') eq 'HEAD' || $r->{status} =~ /^(?:101|204|304)$/) {
        $r->{complete} = 1;

    } elsif (lc($r->header('Transfer-Encoding') // '') eq 'chunked') {
        $self->chunked($r);

    } elsif (defined(my $length = $r->header('Content-Length'))) {
        $r->{body} = $self->take($length);
        $r->{complete} = length $r->{body} == $length;

    } else {
        1 while $self->fill();
        $r->{body} = $self->{in};
        $self->{in} = '';
        $r->{complete} = $self->{eof} && !$self->{broken};
    }

    $r->{took} = time() - $start;
    return $r;
}


# The next response, an empty one if there is none.

sub answer {
    my ($self, $method) = @_;

    return $self->response($method) || RCache::Response->new();
}


sub chunked {
    my ($self, $r) = @_;

    for (;;) {
        my $line = $self->take_line() // return;
        my $size = hex(($line =~ /^([0-9a-fA-F]+)/)[0] // return);

        if ($size == 0) {
            while (defined(my $trailer = $self->take_line())) {
                if ($trailer eq '') {
                    $r->{complete} = 1;
                    return;
                }
            }
            return;
        }

        my $data = $self->take($size);
        $r->{body} .= $data;
        return if length $data < $size;
        $self->take_line() // return;
    }
}


# True if the peer closes the connection without another byte.

sub closed {
    my ($self) = @_;

    1 while $self->fill();
    return $self->{eof} && $self->{in} eq '';
}


sub close {
    my ($self) = @_;

    CORE::close(delete $self->{sock}) if $self->{sock};
    return;
}


# Ends the connection with RST instead of FIN.

sub reset {
    my ($self) = @_;

    setsockopt($self->{sock}, SOL_SOCKET, SO_LINGER, pack('ii', 1, 0));
    $self->close();
    return;
}


package RCache::Response;

sub new {
    return bless { status => 0, line => '', phrase => '', version => '',
                   pairs => [], body => '', complete => 0, took => 0 },
                 $_[0];
}

sub status   { return $_[0]{status} }
sub line     { return $_[0]{line} }
sub phrase   { return $_[0]{phrase} }
sub version  { return $_[0]{version} }
sub body     { return $_[0]{body} }
sub complete { return $_[0]{complete} }
sub took     { return $_[0]{took} }
sub pairs    { return @{ $_[0]{pairs} } }


sub headers {
    my ($self, $name) = @_;

    return map { $_->[1] } grep { lc $_->[0] eq lc $name }
        @{ $self->{pairs} };
}


sub header {
    my ($self, $name) = @_;

    return ($self->headers($name))[0];
}


# All that a cache must give back as it was: the headers in their order,
# without those that nginx writes anew into each response.

sub lasting {
    my ($self) = @_;

    return [ map { "$_->[0]: $_->[1]" }
             grep { $_->[0] !~ /^(?:Date|Age|Server|Connection)$/i }
             @{ $self->{pairs} } ];
}


# What the access log says of this request; RCache::Nginx sets "log".

sub logged {
    my ($self, $name) = @_;

    $self->{logged} ||= $self->{log} ? $self->{log}->() : {};
    return $self->{logged}{$name} // '';
}


# The cache's status and reason: "HIT -", "MISS no_store", "BYPASS bypass".
# A response that was stored is "MISS -".

sub verdict {
    my ($self) = @_;

    return join ' ', $self->logged('cache'), $self->logged('reason');
}


1;
