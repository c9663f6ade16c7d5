# A peer that speaks as much RESP as its script wants: for what a sound
# redis-server never does.  One process a connection.

package RCache::FakeRedis;

use strict;
use warnings;

use IO::Select;
use IO::Socket::INET;
use POSIX ();
use Socket qw(SOL_SOCKET SO_LINGER);

use RCache::Resp;
use RCache::Util qw(free_port spawn stop_pid slurp);


# %o: dir, port, script: a sub that is called with an RCache::FakeRedis::Peer
# for each connection.

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
        log => "$self->{dir}/fake.log", group => 1
    );
    setpgrp($self->{pid}, $self->{pid});

    return $self;
}


sub accept_loop {
    my ($self) = @_;

    $SIG{CHLD} = 'IGNORE';

    for (;;) {
        my $sock = $self->{listen}->accept() or next;

        my $pid = fork() // next;
        if ($pid == 0) {
            close $self->{listen};
            my $peer = RCache::FakeRedis::Peer->new($sock);
            $peer->{wait} = 3600;
            $peer->{seen} = "$self->{dir}/commands";
            eval { $self->{script}->($peer); 1 }
                or $@ =~ /^(?:the RESP peer closed|cannot write)/
                or print "$@\n";
            POSIX::_exit(0);
        }

        close $sock;
    }
}


sub stop {
    my ($self) = @_;

    my $pid = delete $self->{pid} or return;
    close delete $self->{listen};
    kill '-KILL', $pid;
    stop_pid($pid, 'KILL');

    return;
}


sub port { return $_[0]{port} }
sub url  { return "redis://127.0.0.1:$_[0]{port}" }


# The commands that have come so far, each in one string.

sub commands {
    my ($self) = @_;

    return split /\n/, slurp("$self->{dir}/commands");
}


package RCache::FakeRedis::Peer;

our @ISA = ('RCache::Resp');


# The next command as a list, empty at the end of the connection.

sub command {
    my ($self) = @_;

    my $argv = eval { $self->value() } or return;

    if (open my $fh, '>>', $self->{seen}) {
        syswrite $fh, join(' ', map { s/[\r\n]/./gr } @$argv[0 .. ($#$argv > 1
                                     ? 1 : $#$argv)]) . "\n";
    }

    return @$argv;
}


# The same, with the commands of the handshake answered on the way.

sub request {
    my ($self) = @_;

    while (my @argv = $self->command()) {
        return @argv if $argv[0] !~ /^(?:AUTH|SELECT|CLIENT|HELLO|PING)$/i;
        $self->send($argv[0] =~ /^PING$/i ? "+PONG\r\n" : "+OK\r\n");
    }

    return;
}


# Holds the connection open and says nothing until the other end goes.

sub hang {
    my ($self) = @_;

    1 while sysread $self->{sock}, my $buf, 65536;
    return;
}


sub reset {
    my ($self) = @_;

    setsockopt($self->{sock}, Socket::SOL_SOCKET(), Socket::SO_LINGER(),
               pack('ii', 1, 0));
    close $self->{sock};
    return;
}


1;
