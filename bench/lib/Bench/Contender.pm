package Bench::Contender;

# One entry of contenders.pl at work: its nginx, its backend, their counters.

use strict;
use warnings;

use File::Path qw(make_path remove_tree);
use Time::HiRes qw(sleep time);

use Bench::Client;
use Bench::Process;


sub new {
    my ($class, %arg) = @_;
    my $self = bless { %{ delete $arg{entry} }, %arg }, $class;

    $self->{backend} //= '';
    $self->{backends} = [];
    $self->{serial} = 0;
    $self->{peak} = 0;

    # where the Lua library is: unpacked by bench/deps, or installed

    ($self->{lua}) = grep { -f "$_/nginx/redis.lua" }
                     "$self->{root}/build/bench/lua/usr/share/lua/5.1",
                     '/usr/share/lua/5.1';
    $self->{lua} //= '/usr/share/lua/5.1';

    return $self;
}


# what is missing to run it, in words, or undef

sub lacks {
    my ($self) = @_;
    my %binary = (redis => ['redis-server'], memcached => ['memcached'],
                  'redis-tls' => ['redis-server', 'openssl']);
    my ($what) = $self->{backend} =~ /^(redis-tls|\w+)/;

    for (@{ $self->{load} // [] }) {
        my $file = $self->module_file($_)
            // return 'Debian does not have its modules, and BENCH_PEERS '
                      . '(--peers) does not say where they are';

        return "there is no $file"
               . ($_ eq '@module@' ? ', run make'
                  : /^\@peers\@/ ? '' : ', run bench/deps')
            if !-f $file;
    }

    if ($self->{program}
        && !grep { -x "$_/$self->{program}[0]" } split(/:/, $ENV{PATH}),
                                                 '/usr/sbin')
    {
        return "$self->{program}[0] is not installed, run bench/deps";
    }

    for (map { $self->fill($_) } @{ $self->{files} // [] }) {
        return "there is no $_, run bench/deps" if !-f $_;
    }

    for my $binary (defined $what ? @{ $binary{$what} } : ()) {
        return "$binary is not installed, run bench/deps"
            if !grep { -x "$_/$binary" } split(/:/, $ENV{PATH}), '/usr/sbin';
    }

    return undef;
}


# where a module is that its "load" names; undef if nobody has said

sub module_file {
    my ($self, $name) = @_;

    return $self->{module} if $name eq '@module@';
    return "$self->{modules}/$name" if $name !~ s/^\@peers\@//;
    return $self->{peers} ? $self->{peers} . $name : undef;
}


# starts both; dies with a reason that ends in a line feed

sub start {
    my ($self, %arg) = @_;

    $self->{origin} = $arg{origin};
    $self->{port} = Bench::Client::free_port();

    make_path($self->{dir});

    if ($self->{backend}) {
        $self->start_backend() for 1 .. $self->{servers} // 1;
        $self->join_cluster() if $self->{backend} eq 'redis-cluster';
    }

    $self->start_nginx();

    if ($self->{gone}) {

        # it has seen its Redis well before it loses it

        Bench::Client::get($self->{port}, '/m/1k/before');
        Bench::Process::stop($_) for $self->backend_pids();

        undef $self->{backend_socket};

        for (1 .. 20) {
            Bench::Client::get($self->{port}, '/m/1k/after');
        }
    }

    return 1;
}


# One more.  Of a Redis with TLS the bench itself uses a unix socket.

sub start_backend {
    my ($self) = @_;
    my ($dir, @cmd) = ("$self->{dir}/" . @{ $self->{backends} });
    my $way = $self->{backend};
    my $port = Bench::Client::free_port();
    my $addr = $way =~ /^redis-(?:tcp|cluster)$/ ? $port
                                                 : "$dir/backend.sock";

    make_path($dir);

    if ($way eq 'memcached') {
        @cmd = ('memcached', '-s', $addr, '-a', '0777',
                '-t', '1', '-m', '2048', '-I', '2m', '-c', '1024',
                $> == 0 ? ('-u', 'root') : ());

    } else {
        @cmd = ('redis-server', '--save', '', '--appendonly', 'no',
                '--daemonize', 'no', '--dir', $dir,
                '--maxmemory', $ENV{BENCH_REDIS_MEMORY} // '2gb',
                '--maxmemory-policy', 'allkeys-lru',
                $addr eq $port ? ('--bind', '127.0.0.1', '--port', $port)
                               : ('--port', '0', '--unixsocket', $addr));

        push @cmd, '--tls-port', $port, '--tls-auth-clients', 'no',
                   certificate($dir)
            if $way eq 'redis-tls';

        push @cmd, '--cluster-enabled', 'yes', '--cluster-port',
                   Bench::Client::free_port()
            if $way eq 'redis-cluster';
    }

    my $pid = Bench::Process::start($self->{load_core}, "$dir/backend.log",
                                    @cmd);
    my $server = { pid => $pid, port => $port, bus => $cmd[-1] };

    push @{ $self->{backends} }, $server;

    for (1 .. 100) {
        $server->{socket} = Bench::Client::open_socket($addr);
        last if $server->{socket};
        sleep(0.05);
    }

    die "$cmd[0] does not start: ", last_lines("$dir/backend.log"), "\n"
        if !$server->{socket};

    if (@{ $self->{backends} } == 1) {
        @$self{qw(backend_addr backend_port backend_socket)} =
            ($addr, $port, $server->{socket});
    }
}


# the options for it

sub certificate {
    my ($dir) = @_;

    system("openssl req -x509 -newkey rsa:2048 -nodes -days 2 "
           . "-subj /CN=127.0.0.1 -addext subjectAltName=IP:127.0.0.1 "
           . "-keyout $dir/key.pem -out $dir/cert.pem 2> $dir/openssl.log")
        == 0 or die "openssl: ", last_lines("$dir/openssl.log"), "\n";

    return ('--tls-cert-file', "$dir/cert.pem", '--tls-key-file',
            "$dir/key.pem", '--tls-ca-cert-file', "$dir/cert.pem");
}


# Masters, and a replica for each if there are as many servers more.

sub join_cluster {
    my ($self) = @_;
    my @all = @{ $self->{backends} };
    my @masters = @all[0 .. $self->{masters} - 1];
    my $slot = 0;

    for my $n (1 .. @masters) {
        my $end = int(16384 * $n / @masters);

        Bench::Client::redis($masters[$n - 1]{socket}, 'CLUSTER', 'ADDSLOTS',
                             $slot .. $end - 1);
        Bench::Client::redis($masters[$n - 1]{socket}, 'CLUSTER',
                             'SET-CONFIG-EPOCH', $n);
        $slot = $end;
    }

    Bench::Client::redis($all[0]{socket}, 'CLUSTER', 'MEET', '127.0.0.1',
                         @$_{qw(port bus)}) for @all[1 .. $#all];

    until_all(sub { cluster_info($_[0])->{cluster_known_nodes} == @all },
              @all);

    for my $n ($self->{masters} .. $#all) {
        my $id = Bench::Client::redis($all[$n - @masters]{socket},
                                      'CLUSTER', 'MYID');

        Bench::Client::redis($all[$n]{socket}, 'CLUSTER', 'REPLICATE', $id);
    }

    until_all(sub {
        my $h = Bench::Client::redis_info($_[0], 'replication');

        return cluster_info($_[0])->{cluster_state} eq 'ok'
               && ($h->{role} eq 'master' || $h->{master_link_status} eq 'up');
    }, @all);

    $self->{backends} = \@masters;
    $self->{replicas} = [@all[$self->{masters} .. $#all]];
}


sub until_all {
    my ($test, @servers) = @_;

    for my $s (@servers) {
        my $until = time() + 20;

        while (!$test->($s->{socket})) {
            die "the cluster does not come up\n" if time() > $until;
            sleep(0.05);
        }
    }
}


sub cluster_info {
    my ($s) = @_;

    return { Bench::Client::redis($s, 'CLUSTER', 'INFO')
             =~ /^(\w+):([^\r\n]*)/mg };
}


sub backend_pids {
    my ($self) = @_;

    return map { $_->{pid} } @{ $self->{backends} },
                             @{ $self->{replicas} // [] };
}


sub start_nginx {
    my ($self) = @_;
    my $dir = $self->{dir};
    my @cmd = ($self->{nginx}, '-p', $dir, '-e', "$dir/error.log", '-c',
               "$dir/conf");
    my $child = qr/^nginx: worker process/;

    if ($self->{program}) {
        @cmd = map { $self->fill($_) } @{ $self->{program} };
        $child = $self->{child};
    }

    open my $fh, '>', "$dir/conf" or die "$dir: $!\n";
    print $fh $self->{program} ? $self->fill($self->{conf} // '')
                               : $self->conf();
    close $fh or die "$dir: $!\n";

    $self->{master} = Bench::Process::start($self->{worker_core},
                                            "$dir/start.log", @cmd);

    $self->{pid} = $child ? Bench::Process::child($self->{master}, $child)
                          : $self->{master};

    $self->{pid}
        or die "$cmd[0] does not start: ", last_lines("$dir/start.log"),
               "\n";

    for (1 .. 100) {
        return if Bench::Client::open_socket($self->{port});
        sleep(0.05);
    }

    die "$cmd[0] does not listen\n";
}


# The same for all, but for what the entry adds.

sub conf {
    my ($self) = @_;
    my $user = $> == 0 ? 'user root root;' : '';
    my $load = join "\n", map { "load_module \"$_\";" }
                          map { $self->module_file($_) }
                          @{ $self->{load} // [] };
    my $location = $self->{location} // '';

    $location .= <<'EOC' if !$self->{answers};
            proxy_pass  http://origin;
EOC

    return $self->fill(<<"EOC");
$load
$user
daemon            off;
worker_processes  1;
pid               \@dir\@/nginx.pid;
error_log         \@dir\@/error.log error;

events {
    worker_connections  12288;
}

http {
    access_log          off;
    default_type        text/plain;
    sendfile            on;
    tcp_nopush          on;
    keepalive_requests  1000000000;
    keepalive_timeout   1h;

    client_body_temp_path  \@dir\@/temp-body;
    proxy_temp_path        \@dir\@/temp-proxy;
    fastcgi_temp_path      \@dir\@/temp-fastcgi;
    uwsgi_temp_path        \@dir\@/temp-uwsgi;
    scgi_temp_path         \@dir\@/temp-scgi;

    proxy_http_version       1.1;
    proxy_set_header         Connection "";
    proxy_buffering          on;
    proxy_buffer_size        16k;
    proxy_buffers            20 16k;
    proxy_busy_buffers_size  64k;

    upstream origin {
        server              127.0.0.1:$self->{origin};
        keepalive           256;
        keepalive_requests  1000000000;
        keepalive_timeout   1h;
    }

@{[ $self->{http} // '' ]}
    server {
        listen      127.0.0.1:$self->{port} backlog=4096;
        add_header  X-Cache $self->{status};

@{[ $self->{server} // '' ]}
        location / {
            $location
        }
    }
}
EOC
}


sub fill {
    my ($self, $text) = @_;
    my $addr = $self->{backend_addr} // '';
    my %value = (
        dir => $self->{dir}, bench => $self->{bench}, lua => $self->{lua},
        module => $self->{module}, sock => $addr,
        port => $self->{backend_port}, listen => $self->{port},
        origin => $self->{origin}, root => $self->{root},
        body => Bench::Client::body(1024),
    );

    $text =~ s/@(\w+)@/$value{$1} \/\/ die "contenders.pl: \@$1\@\n"/ge;

    return $text;
}


sub stop {
    my ($self) = @_;

    Bench::Process::stop($_)
        for grep { defined } $self->{master}, $self->backend_pids();
}


# a worker with a memory that nothing was done in yet

sub restart {
    my ($self) = @_;

    $self->flush();
    Bench::Process::stop($self->{master});

    return eval { $self->start_nginx(); 1 };
}


sub alive {
    my ($self) = @_;

    return Bench::Process::alive($self->{master})
           && -d "/proc/$self->{pid}";
}


# Forgets what is stored, outside of the time that is measured.

sub flush {
    my ($self) = @_;
    my $s = $self->{backend_socket};

    if ($self->{backend} =~ /^redis/ && $s) {
        Bench::Client::redis($_->{socket}, 'FLUSHALL', 'SYNC')
            for @{ $self->{backends} };

        # what the allocator does after that is not for the next cell
        sleep(0.02);

        $self->{evicted} =
            Bench::Client::redis_info($s, 'stats')->{evicted_keys};

    } elsif ($self->{flush}) {
        my $cmd = join ' ', map { "'" . $self->fill($_) . "'" }
                            @{ $self->{flush} };

        system("$cmd > /dev/null") == 0 or die "$cmd failed\n";

    } elsif ($self->{backend} eq 'memcached') {
        Bench::Client::memcached_flush($s);

    } elsif (($self->{counts} // '') eq 'files') {
        remove_tree("$self->{dir}/cache", { keep_root => 1 });
    }
}


# how many responses have been stored; undef if nothing counts them

sub counted {
    my ($self) = @_;
    my $how = $self->{counts} // return undef;
    my $s = $self->{backend_socket};

    if ($how eq 'redis') {
        return Bench::Client::redis($s, 'DBSIZE') + $self->evicted();
    }

    if ($how eq 'entries') {

        # a body of some length has keys of its own, and that a response
        # cannot be cached is remembered in its lock's place

        return Bench::Client::redis($s, 'EVAL',
                                    "return #redis.call('KEYS','*}')", 0);
    }

    if ($how eq 'memcached') {
        return Bench::Client::memcached_stats($s)->{total_items};
    }

    return files("$self->{dir}/cache");
}


# the same when it no longer changes: stores may end after the responses

sub settled {
    my ($self) = @_;
    my $until = time() + 5;
    my $n = $self->counted() // return undef;

    for ( ;; ) {
        sleep(0.05);

        my $now = $self->counted();

        return $now if $now == $n || time() > $until;
        $n = $now;
    }
}


sub evicted {
    my ($self) = @_;
    my $s = $self->{backend_socket};

    return 0 if $self->{backend} !~ /^redis/ || !$s;

    return Bench::Client::redis_info($s, 'stats')->{evicted_keys}
           - ($self->{evicted} // 0);
}


# bytes that Redis uses for what it holds

sub backend_memory {
    my ($self) = @_;
    my $s = $self->{backend_socket};

    return undef if $self->{backend} !~ /^redis/ || !$s;

    my $h = Bench::Client::redis_info($s, 'memory');

    return $h->{used_memory} - $h->{mem_clients_normal};
}


sub cpu {
    my ($self) = @_;

    return Bench::Process::cpu($self->{pid});
}


sub backend_cpu {
    my ($self) = @_;

    my $us;

    return undef if !$self->{backend_socket};

    $us += Bench::Process::cpu($_) // return undef for $self->backend_pids();

    return $us;
}


sub reset_peak {
    my ($self) = @_;

    $self->{resets} = Bench::Process::reset_peak($self->{pid});
}


sub peak_now {
    my ($self) = @_;

    return Bench::Process::memory($self->{pid}, 'VmHWM');
}


sub memory {
    my ($self) = @_;

    return Bench::Process::memory($self->{pid}, 'VmRSS');
}


sub peak {
    my ($self) = @_;
    my $kib = $self->peak_now() // return;

    if ($kib > $self->{peak}) {
        $self->{peak} = $kib;
        $self->{peak_shared} =
            Bench::Process::memory($self->{pid}, 'RssShmem') // 0;
    }
}


sub serial {
    my ($self) = @_;

    return ++$self->{serial};
}


# what its log says that it should not

sub complaints {
    my ($self) = @_;
    my @line = grep { /\[(?:error|crit|alert|emerg)\]/ }
               split /^/,
                     Bench::Process::slurp("$self->{dir}/error.log") // '';

    if ($self->{gone}) {
        @line = grep { !/redis "[^"]+" is down/ } @line;
    }

    return '' if !@line;

    return join '', @line > 5 ? (@line[0 .. 4], @line - 5 . " more\n")
                              : @line;
}


sub files {
    my ($dir) = @_;
    my $n = 0;

    opendir my $dh, $dir or return 0;

    for (readdir $dh) {
        next if /^\./;

        # a cached file has the name of an MD5 hash, a folder a short one
        $n += length == 32 ? 1 : length > 32 ? 0 : files("$dir/$_");
    }

    return $n;
}


sub last_lines {
    my ($file) = @_;
    my @line = split /^/, Bench::Process::slurp($file) // '';

    chomp @line;

    return join '; ', @line > 3 ? @line[-3 .. -1] : @line;
}


1;
