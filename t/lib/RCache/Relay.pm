# A relay between nginx and a server, which can be told to be slow, to swallow
# everything, or to cut all connections.

package RCache::Relay;

use strict;
use warnings;

use IO::Select;
use IO::Socket::INET;
use Time::HiRes qw(time);

use RCache::Util qw(free_port spawn stop_pid slurp spit);


# %o: dir, to: the port of the server, port.

sub new {
    my ($class, %o) = @_;

    my $self = bless { port => free_port(), %o }, $class;
    mkdir $self->{dir};

    $self->set('');

    $self->{listen} = IO::Socket::INET->new(
        LocalAddr => '127.0.0.1', LocalPort => $self->{port}, Listen => 512,
        ReuseAddr => 1, Blocking => 0
    ) or die "cannot listen on $self->{port}: $!\n";

    $self->{pid} = spawn(code => sub { $self->loop() },
                         keep => [ $self->{listen} ],
                         log => "$self->{dir}/relay.log");
    return $self;
}


sub port { return $_[0]{port} }
sub url  { return "redis://127.0.0.1:$_[0]{port}" }


# How it is to be: '' well; a number: answers take so many seconds, which keeps
# back what comes behind them on the same connection, and no other; 'keep': the
# same, until 'release'; 'hang': nothing goes through; 'cut': connections are
# closed, and new ones as well.

sub set {
    my ($self, $mode) = @_;

    spit("$self->{dir}/mode.new", $mode);
    rename "$self->{dir}/mode.new", "$self->{dir}/mode";
    return;
}


sub loop {
    my ($self) = @_;

    my $sel = IO::Select->new($self->{listen});
    my (%peer, %is_server, %later);

    local $SIG{PIPE} = 'IGNORE';

    my $close = sub {
        my ($s) = @_;
        for ($s, delete $peer{$s} || ()) {
            $sel->remove($_);
            delete $peer{$_};
            delete $is_server{$_};
            delete $later{$_};
            close $_;
        }
    };

    for (;;) {
        my $wait = 0.01;
        for (map { $_->[0][0] - time() } values %later) {
            $wait = $_ < 0 ? 0 : $_ if $_ < $wait;
        }
        my @ready = $sel->can_read($wait);
        my $mode = slurp("$self->{dir}/mode");

        for my $s (@ready) {

            if ($s == $self->{listen}) {
                my $c = $s->accept() or next;
                my $up = $mode eq 'cut' ? undef : IO::Socket::INET->new(
                    PeerAddr => '127.0.0.1', PeerPort => $self->{to});
                if (!$up) {
                    close $c;
                    next;
                }
                @peer{ $c, $up } = ($up, $c);
                $is_server{$up} = 1;
                $sel->add($c, $up);
                next;
            }

            next if !$peer{$s} || $mode eq 'hang';

            if (!sysread $s, my $data, 65536) {
                $close->($s);

            } else {
                my $slow = !$is_server{$s} ? 0
                    : $mode =~ /^[\d.]+$/ ? time() + $mode
                    : $mode eq 'keep' ? 'inf' : 0;
                push @{ $later{$peer{$s}} }, [ $slow, $peer{$s}, $data ];
            }
        }

        if ($mode eq 'cut') {
            $close->($_) for grep { $_ != $self->{listen} } $sel->handles();
        }

        if ($mode eq 'hang') {
            select undef, undef, undef, 0.005;
            next;
        }

        for my $key (keys %later) {
            my $queue = $later{$key};

            if ($mode eq 'release') {
                $_->[0] = 0 for @$queue;
            }

            while (@$queue && $queue->[0][0] <= time()) {
                my (undef, $to, $data) = @{ shift @$queue };
                while (length $data) {
                    my $n = syswrite $to, $data;
                    last if !$n;
                    substr $data, 0, $n, '';
                }
            }

            delete $later{$key} if !@$queue;
        }
    }
}


sub stop {
    my ($self) = @_;

    my $pid = delete $self->{pid} or return;
    close delete $self->{listen};
    stop_pid($pid, 'KILL');
    return;
}


1;
