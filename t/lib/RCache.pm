# The stage of a test: a temporary folder with nginx, Redis and origins in
# it, all of them gone when the test ends, however it ends.
#
#     my $t = RCache->new();
#     my $redis = $t->redis();
#     my $origin = $t->origin(\&origin);
#     my $nginx = $t->nginx(<<'EOF');
#     ...
#     EOF
#     is($nginx->get('/')->verdict, 'MISS -', 'the first is a miss');
#     $t->done();
#
# Environment: TEST_NGINX_BINARY, TEST_NGINX_MODULE (empty: built in),
# TEST_NGINX_GLOBALS (lines for nginx.conf), TEST_REDIS_BINARY, TEST_KEEP
# (the folder stays), TEST_PATIENCE (seconds), TEST_LOG_LEVEL.

package RCache;

use strict;
use warnings;

use Exporter 'import';
use File::Path ();
use File::Temp ();
use Test::More;
use Time::HiRes ();

use RCache::Certs;
use RCache::Cluster;
use RCache::Crowd;
use RCache::Entry;
use RCache::FakeRedis;
use RCache::HTTP qw(http_date);
use RCache::Nginx;
use RCache::Origin;
use RCache::Raw;
use RCache::Redis;
use RCache::Relay;
use RCache::Throng;
use RCache::Util qw(
    wait_for free_port slurp spit spawn stop_pid patience noise kept_waiting
);

our @EXPORT = qw(wait_for free_port slurp spit response http_date noise clock);

my $current;


sub new {
    my ($class) = @_;

    if (RCache::Nginx::module() ne '' && !-e RCache::Nginx::module()) {
        die 'there is no ' . RCache::Nginx::module() . ": run make first\n";
    }

    my $self = bless {
        dir => File::Temp::tempdir('rcache-XXXXXX', TMPDIR => 1),
        pid => $$, started => [], nginxes => [], redises => [],
        origins => [], vars => {}
    }, $class;

    chmod 0755, $self->{dir};
    $current = $self;

    $SIG{$_} = sub { exit 1 } for qw(INT TERM HUP PIPE);
    $SIG{ALRM} = sub { die "the test took too long\n" };
    alarm($ENV{TEST_TIMEOUT} || 900);

    return $self;
}


sub dir { return $_[0]{dir} }


# %%NAME%% of configurations made from now on.

sub set {
    my ($self, %vars) = @_;

    $self->{vars}{$_} = $vars{$_} for CORE::keys %vars;
    return;
}


# A started redis-server; %%REDIS%% is its URL.  %o as in RCache::Redis, and
# name: another than REDIS.

sub redis {
    my ($self, %o) = @_;

    my $name = delete $o{name} || 'REDIS';
    my $redis = RCache::Redis->new(dir => "$self->{dir}/" . lc $name, %o);

    push @{ $self->{redises} }, $redis;
    push @{ $self->{started} }, $redis;
    $self->{redis} ||= $redis;
    $self->set($name => $redis->url());

    return $redis;
}


# Three Sentinels that know a master, the first of these servers, as "shop",
# and its replicas, which are the others.

sub sentinels {
    my ($self, $redis, @config) = @_;

    my @sentinels = map {
        $self->redis(name => "S$_", sentinel => 1, config => [
            'sentinel monitor shop 127.0.0.1 ' . $redis->[0]->port . ' 2',
            'sentinel down-after-milliseconds shop 1500',
            'sentinel failover-timeout shop 8000', @config
        ])
    } 1 .. 3;

    # they have no keys

    @{ $self->{redises} } = grep { !$_->{sentinel} } @{ $self->{redises} };

    ok((wait_for {
        !grep {
            my %m = @{ $_->cmd(qw(SENTINEL MASTER shop)) };
            $m{'num-other-sentinels'} != 2 || $m{'num-slaves'} != $#$redis
        } @sentinels
    }), 'the Sentinels know each other');

    return @sentinels;
}


# A started Redis Cluster; %%NAME%% are its servers, each as "server=<url>".

sub cluster {
    my ($self, %o) = @_;

    my $name = delete $o{name} || 'CLUSTER';
    my $cluster = RCache::Cluster->new(dir => "$self->{dir}/" . lc $name, %o);

    push @{ $self->{clusters} }, $cluster;
    push @{ $self->{started} }, $cluster;
    $self->set($name => $cluster->urls());

    return $cluster;
}


sub fake_redis {
    my ($self, $script, %o) = @_;

    my $fake = RCache::FakeRedis->new(
        dir => "$self->{dir}/fake-" . ++$self->{fakes},
        script => $script, %o
    );

    push @{ $self->{started} }, $fake;
    return $fake;
}


# A started origin; %%ORIGIN%% is its address and port.

sub origin {
    my ($self, $handler, %o) = @_;

    my $name = delete $o{name} || 'ORIGIN';
    my $origin = RCache::Origin->new(
        dir => "$self->{dir}/" . lc $name, handler => $handler, %o
    );

    push @{ $self->{origins} }, $origin;
    push @{ $self->{started} }, $origin;
    $self->set($name => $origin->addr());

    return $origin;
}


# The same for thousands of requests at once; the handler is that of
# RCache::Throng.

sub throng {
    my ($self, $handler, %o) = @_;

    my $name = delete $o{name} || 'ORIGIN';
    my $origin = RCache::Throng->new(
        dir => "$self->{dir}/" . lc $name, handler => $handler, %o
    );

    push @{ $self->{origins} }, $origin;
    push @{ $self->{started} }, $origin;
    $self->set($name => $origin->addr());

    return $origin;
}


# A started relay to a port of this machine; %%NAME%% is its port.

sub relay {
    my ($self, $to, %o) = @_;

    my $name = delete $o{name} || 'RELAY';
    my $relay = RCache::Relay->new(dir => "$self->{dir}/" . lc $name,
                                   to => $to, %o);

    push @{ $self->{started} }, $relay;
    $self->set($name => $relay->port());

    return $relay;
}


# Many clients at once, connected and waiting for go().

sub crowd {
    my ($self, %o) = @_;

    return RCache::Crowd->new(dir => "$self->{dir}/crowd-"
                              . ++$self->{crowds}, %o);
}


# A started server of whatever protocol the script speaks; %%NAME%% is its
# address and port.

sub raw {
    my ($self, $name, $script) = @_;

    my $raw = RCache::Raw->new(dir => "$self->{dir}/" . lc $name,
                               script => $script);

    push @{ $self->{origins} }, $raw;
    push @{ $self->{started} }, $raw;
    $self->set($name => $raw->addr());

    return $raw;
}


# nginx with this in its http block; %o as in RCache::Nginx.

sub nginx {
    my ($self, $http, %o) = @_;

    return $self->nginx_new($http, %o)->start();
}


sub nginx_new {
    my ($self, $http, %o) = @_;

    my $nginx = RCache::Nginx->new(
        dir => "$self->{dir}/nginx-" . ++$self->{nginx_count}, http => $http,
        redis => $self->{redis}, %o, vars => { %{ $self->{vars} },
                                              %{ $o{vars} || {} } }
    );

    push @{ $self->{nginxes} }, $nginx;
    return $nginx;
}


# A certificate and its key for "localhost"; the two file names.

sub certificate {
    my ($self) = @_;

    my ($crt, $key) = ("$self->{dir}/tls.crt", "$self->{dir}/tls.key");
    my $pid = spawn(
        argv => [ qw(openssl req -x509 -newkey ec -pkeyopt
                     ec_paramgen_curve:prime256v1 -nodes -days 2 -subj
                     /CN=localhost -keyout), $key, '-out', $crt ],
        log => "$self->{dir}/openssl.log"
    );
    stop_pid($pid, 0);

    die slurp("$self->{dir}/openssl.log") if !-s $crt;
    return ($crt, $key);
}


# A time in seconds that stands still while a busy machine lets the processes of
# the test wait: for a bound to what they may take.

sub clock {
    my @pids = map { @{ $_->{pids} || [] }, $_->{pid} || () }
               @{ $current->{started} },
               map { $_->nodes() } @{ $current->{clusters} || [] };

    push @pids, map { $_->workers() } grep { $_->running() }
                @{ $current->{nginxes} };

    return Time::HiRes::time() - kept_waiting($$, @pids);
}


# The end of a test: what must hold for all of them, and the count.

sub done {
    my ($self) = @_;

    for my $redis (grep { $_->running() } @{ $self->{redises} },
                   map { $_->masters() } @{ $self->{clusters} || [] })
    {
        my @immortal = eval { $redis->immortal() };
        is_deeply(\@immortal, [], 'every key in Redis has a TTL');
    }

    for my $nginx (@{ $self->{nginxes} }) {
        ok($nginx->stop(), 'nginx stops when it is told to')
            if $nginx->running();
        my @faults = $nginx->faults();
        is_deeply(\@faults, [], 'nothing alarming is in error.log');
    }

    for my $origin (@{ $self->{origins} }) {
        is($origin->complaints(), '', 'the origin followed its script');
    }

    done_testing();
    return;
}


sub cleanup {
    my ($self) = @_;

    $_->stop() for @{ $self->{nginxes} }, @{ $self->{started} };
    RCache::Util::end_all();

    if ($ENV{TEST_KEEP}) {
        diag("kept $self->{dir}");

    } else {
        File::Path::remove_tree($self->{dir});
    }

    return;
}


END {
    if ($current && $current->{pid} == $$) {
        my $status = $?;
        alarm 0;
        $SIG{$_} = 'IGNORE' for qw(INT TERM HUP PIPE);
        eval { $current->cleanup(); 1 } or warn $@;
        $? = $status;
    }
}


1;
