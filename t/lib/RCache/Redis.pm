# A private redis-server with a client to look into it.

package RCache::Redis;

use strict;
use warnings;

use IO::Socket::IP;
use IO::Socket::UNIX;

use RCache::Resp;
use RCache::Util qw(wait_for free_port spawn stop_pid alive slurp);

my @all;


# %o: dir, port (0 for none), unix (true for a socket too), host, config
# (lines as in redis.conf), password and user for the client of the tests,
# sentinel (true: it is one).

sub new {
    my ($class, %o) = @_;

    my $self = bless {
        config => [], host => '127.0.0.1', port => free_port(), %o
    }, $class;

    mkdir $self->{dir};
    $self->{unix} = "$self->{dir}/redis.sock" if $self->{unix};
    push @all, $self;

    return $self->start();
}


sub start {
    my ($self) = @_;

    die "redis-server runs already\n" if $self->{pid};

    my $conf = join "\n",
        "bind $self->{host}", "port $self->{port}", 'protected-mode no',
        "dir $self->{dir}", 'daemonize no',
        ($self->{sentinel} ? ()
            : ('save ""', 'appendonly no', 'databases 16',
               'activedefrag no')),
        ($self->{unix} ? "unixsocket $self->{unix}" : ()),
        @{ $self->{config} };

    RCache::Util::spit("$self->{dir}/redis.conf", "$conf\n");

    $self->{pid} = spawn(
        argv => [ $ENV{TEST_REDIS_BINARY} || 'redis-server',
                  "$self->{dir}/redis.conf",
                  ($self->{sentinel} ? '--sentinel' : ()) ],
        log => "$self->{dir}/redis.log"
    );

    my $up = wait_for {
        alive($self->{pid}) or return 1;
        my $pong = eval { $self->cmd('PING') } // '';
        return $pong eq 'PONG' || ref $pong;
    };

    die "redis-server does not start: " . slurp("$self->{dir}/redis.log")
        if !$up || !alive($self->{pid});

    return $self;
}


sub stop {
    my ($self, $signal) = @_;

    my $pid = delete $self->{pid} or return;

    delete @$self{qw(conn frozen)};
    kill 'CONT', $pid;
    stop_pid($pid, $signal || 'KILL');
    unlink $self->{unix} if $self->{unix};

    return;
}


sub restart { my ($self) = @_; $self->stop(); return $self->start() }
sub running { return $_[0]{pid} }
sub port    { return $_[0]{port} }
sub addr    { return "$_[0]{host}:$_[0]{port}" }
sub url     { return "redis://$_[0]{host}:$_[0]{port}" }
sub socket  { return $_[0]{unix} }


sub freeze {
    my ($self) = @_;

    kill 'STOP', $self->{pid};
    wait_for { slurp("/proc/$self->{pid}/stat") =~ /\) T/ };
    $self->{frozen} = 1;
    return;
}


sub thaw {
    my ($self) = @_;

    kill 'CONT', $self->{pid};
    delete $self->{frozen};
    return;
}


# Runs a command, behind those that nginx is about to send; the reply as
# RCache::Resp::value() gives it.  Which of two connections Redis reads first is
# not always the one that it got something on first, but all that was there
# before the ECHO has been read before that is answered.

sub cmd {
    my ($self, @argv) = @_;

    RCache::Nginx::turn_over();

    my $reply;
    my $done = eval {
        $self->conn()->send_command('ECHO', '');
        $self->conn()->value();
        $self->conn()->send_command(@argv);
        $reply = $self->conn()->value();
        1;
    };

    if (!$done) {
        my $why = $@;
        delete $self->{conn};
        die $why;
    }

    return $reply;
}


# Returns when nothing goes on any more between nginx and any Redis: what is
# asked has been answered, and so has what followed from that.  A request has
# three questions at most: for its entry, for the variant and for the lock.

sub quiet {
    for (1 .. 4) {
        $_->cmd('ECHO', '') for grep { $_->{pid} && !$_->{frozen} } @all;
        RCache::Nginx::turn_over();
    }

    return;
}


sub conn {
    my ($self) = @_;

    return $self->{conn} if $self->{conn};

    my $sock = $self->{port}
        ? IO::Socket::IP->new(PeerHost => $self->{host},
                              PeerPort => $self->{port})
        : IO::Socket::UNIX->new(Peer => $self->{unix});
    $sock or die "cannot connect to redis\n";

    my $conn = RCache::Resp->new($sock);
    if (defined $self->{password}) {
        $conn->send_command('AUTH', $self->{user} // 'default',
                            $self->{password});
        $conn->value();
    }

    return $self->{conn} = $conn;
}


# The keys, sorted, without those that RCache::Nginx::settle() makes.

sub keys {
    my ($self, $pattern) = @_;

    return sort grep { !/settle-/ } @{ $self->cmd('KEYS', $pattern // '*') };
}


sub get    { my ($self, $key) = @_; return $self->cmd('GET', $key) }
sub pttl   { my ($self, $key) = @_; return $self->cmd('PTTL', $key) }
sub exists { my ($self, $key) = @_; return $self->cmd('EXISTS', $key) }
sub flush  { my ($self) = @_; return $self->cmd('FLUSHALL') }


# How often it was given that command.

sub calls {
    my ($self, $command) = @_;

    my ($n) = $self->cmd(qw(INFO commandstats))
              =~ /^cmdstat_\Q$command\E:calls=(\d+)/m;

    return $n // 0;
}


sub wait_key {
    my ($self, $key) = @_;

    return wait_for { $self->exists($key) };
}


# Cache entries that would stay for ever.  A key of our form always has
# braces; other keys are a test's own.

sub immortal {
    my ($self) = @_;

    my @keys = grep { /\{.*\}/s } $self->keys();
    my @immortal;

    # all at once, as far as buffers go

    while (my @some = splice @keys, 0, 500) {
        $self->conn()->send_command('PTTL', $_) for @some;
        push @immortal, grep { $self->conn()->value() == -1 } @some;
    }

    return @immortal;
}


1;
