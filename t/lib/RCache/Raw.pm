# A server of bytes: for upstreams that do not speak HTTP/1.  The script is
# called with the socket of each connection and the number of connections so
# far; the connection ends when it returns.

package RCache::Raw;

use strict;
use warnings;

use IO::Socket::INET;

use RCache::Util qw(free_port spawn stop_pid slurp);


# %o: dir, port, script.

sub new {
    my ($class, %o) = @_;

    my $self = bless { port => free_port(), %o }, $class;
    mkdir $self->{dir};

    $self->{listen} = IO::Socket::INET->new(
        LocalAddr => '127.0.0.1', LocalPort => $self->{port}, Listen => 128,
        ReuseAddr => 1
    ) or die "cannot listen on $self->{port}: $!\n";

    $self->{pid} = spawn(
        code => sub { $self->accept_loop() }, keep => [ $self->{listen} ],
        log => "$self->{dir}/raw.log"
    );

    return $self;
}


sub accept_loop {
    my ($self) = @_;

    $SIG{PIPE} = 'IGNORE';
    open my $record, '>>', "$self->{dir}/connections";
    my $n = 0;

    for (;;) {
        my $sock = $self->{listen}->accept() or next;
        syswrite $record, "\n";
        eval { $self->{script}->($sock, ++$n); 1 }
            or $@ =~ /^the peer is gone/ or print "$@\n";
        close $sock;
    }
}


sub stop {
    my ($self) = @_;

    my $pid = delete $self->{pid} or return;
    close delete $self->{listen};
    stop_pid($pid, 'KILL');

    return;
}


sub addr       { return "127.0.0.1:$_[0]{port}" }
sub complaints { return slurp("$_[0]{dir}/raw.log") }
sub count      { return length slurp("$_[0]{dir}/connections") }


# Exactly so many bytes, or up to and with a string; for scripts.

sub take {
    my ($sock, $n) = @_;

    my $data = '';
    while (length $data < $n) {
        sysread $sock, $data, $n - length $data, length $data
            or die "the peer is gone\n";
    }

    return $data;
}


sub take_to {
    my ($sock, $end) = @_;

    my $data = '';
    $data .= take($sock, 1) while $data !~ /\Q$end\E\z/;

    return $data;
}


1;
