# A connection that speaks RESP2, from either end: the client that tests use
# to look into Redis, and the peer's side in RCache::FakeRedis.

package RCache::Resp;

use strict;
use warnings;

use RCache::Util qw(readable);


sub new {
    my ($class, $sock) = @_;

    $sock->blocking(1);
    return bless { sock => $sock, in => '' }, $class;
}


sub fill {
    my ($self) = @_;

    readable($self->{sock}, $self->{wait})
        or die "nothing from the RESP peer\n";

    my $n = sysread $self->{sock}, $self->{in}, 1 << 20,
        length $self->{in};
    die "the RESP peer closed the connection\n" if !$n;

    return;
}


sub send {
    my ($self, @data) = @_;

    local $SIG{PIPE} = 'IGNORE';
    my $data = join '', @data;

    while (length $data) {
        my $n = syswrite($self->{sock}, $data)
            // die "cannot write to the RESP peer: $!\n";
        substr $data, 0, $n, '';
    }

    return;
}


sub send_command {
    my ($self, @argv) = @_;

    $self->send('*' . @argv . "\r\n",
                map { '$' . length($_) . "\r\n$_\r\n" } @argv);
    return;
}


sub line {
    my ($self) = @_;

    my $at;
    $self->fill() while ($at = index $self->{in}, "\r\n") < 0;

    my $line = substr $self->{in}, 0, $at + 2, '';
    return substr $line, 0, -2;
}


sub bytes {
    my ($self, $n) = @_;

    $self->fill() while length $self->{in} < $n + 2;

    my $data = substr $self->{in}, 0, $n + 2, '';
    return substr $data, 0, -2;
}


# One value: a string or number, undef for a null, an array reference, or a
# reference to the text of an error.

sub value {
    my ($self) = @_;

    my $rest = $self->line();
    my $type = substr $rest, 0, 1, '';

    return $rest if $type eq '+' || $type eq ':';
    return \$rest if $type eq '-';

    if ($type eq '$') {
        return $rest < 0 ? undef : $self->bytes($rest);
    }

    if ($type eq '*') {
        return undef if $rest < 0;
        return [ map { $self->value() } 1 .. $rest ];
    }

    die "not RESP: $type$rest\n";
}


1;
