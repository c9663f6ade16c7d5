package Bench::Callgrind;

# Counts the instructions of a worker, by valgrind's callgrind: its stage is one
# of the tests, a Redis and an origin that is an nginx.

use strict;
use warnings;

use RCache;
use RCache::Util qw(wait_for free_port slurp spit spawn stop_pid);


# [ name, path, is each request's path another one? ], in this order

my @paths = (
    [ 'return'        => '/return', 0 ],
    [ 'proxy_pass'    => '/proxy/1024/', 1 ],
    [ 'hit, 1 KiB'    => '/hot/1024/x', 0 ],
    [ 'hit, 16 KiB'   => '/hot/16384/x', 0 ],
    [ 'near hit, 1 KiB' => '/near/1024/x', 0 ],
    [ 'stored miss'   => '/cold/1024/', 1 ],
    [ 'bypass'        => '/bypass/1024/', 1 ],
    [ 'not cacheable' => '/no/1024/', 1 ],
    [ 'known as such' => '/no/1024/x', 0 ],
    [ 'Redis gone'    => '/gone/1024/', 1 ],
);


sub paths { return @paths }


# the stage: one worker under callgrind, a Redis, an origin that is an nginx
#
#     Bench::Callgrind::measure(paths => [ ... ], requests => 400,
#                               module => PATH, profile => NAME)
#
# gives a list of [ name, { function => instructions of its own a request, and
# all => their sum }, allocations a request ], in the order of the paths.

sub measure {
    my (%arg) = @_;

    for my $tool (qw(valgrind callgrind_control)) {
        grep { -x "$_/$tool" } split /:/, $ENV{PATH}
            or die "$tool is not installed: install the package valgrind\n";
    }

    local $ENV{TEST_NGINX_MODULE} = $arg{module} if defined $arg{module};

    my $t = RCache->new();
    my @count;

    $t->redis();
    $t->set(DEAD => free_port(), BODY => 'x' x 1024);

    my $origin = $t->nginx_new(origin_conf(), plain => 1);
    spit("$origin->{dir}/html/$_", 'x' x $_) for 1024, 16384;
    $origin->start();
    $t->set(ORIGIN => '127.0.0.1:' . $origin->port());

    my $nginx = $t->nginx_new(conf(), settle => 0, level => 'warn');
    my $conf = $nginx->write_conf();

    # callgrind takes orders in the process that it was started with only

    spit($conf, slurp($conf) =~ s/master_process on/master_process off/r);

    my $pid = spawn(
        argv => [ 'valgrind', '--tool=callgrind', '-q',
                  '--compress-strings=no',
                  '--callgrind-out-file=' . $t->dir() . '/callgrind',
                  RCache::Nginx::binary(), '-p', $nginx->{dir}, '-c', $conf ],
        log => $t->dir() . '/nginx.log'
    );

    wait_for { eval { run($nginx->connect(), '/return', ''); 1 } }
        or die 'nginx does not start: ' . slurp($t->dir() . '/nginx.log');

    for my $path (@{ $arg{paths} }) {
        push @count, [ $path->[0],
                       count($t, $nginx, $pid, $path, $arg{requests}) ];

        profile($count[-1][1]) if ($arg{profile} // '') eq $path->[0];
    }

    stop_pid($pid, 'TERM');
    $t->cleanup();

    return @count;
}


# a first run, not counted, opens connections and fills what is to be hit

sub count {
    my ($t, $nginx, $pid, $path, $requests) = @_;
    my ($name, $uri, $unique) = @$path;
    my $c = $nginx->connect();

    run($c, $uri, $unique ? "warm-$_" : '') for 1 .. 20;
    counted($t, $pid);

    run($c, $uri, $unique ? $_ : '') for 1 .. $requests;
    my ($self, $allocations) = counted($t, $pid);

    $c->close();

    $_ /= $requests for values %$self;

    return ($self, $allocations / $requests);
}


sub run {
    my ($c, $uri, $unique) = @_;
    my $r = $c->request('GET', "$uri$unique", keepalive => 1);

    $r && $r->status == 200 && length $r->body
        or die "$uri$unique: ", $r ? $r->status : 'no answer', "\n";
}


# the instructions since the last call, and how often memory was asked for

sub counted {
    my ($t, $pid) = @_;
    my $dir = $t->dir();

    unlink glob "$dir/callgrind.*";
    system("callgrind_control --dump $pid > $dir/control 2>&1") == 0
        or die slurp("$dir/control");

    my ($file) = glob "$dir/callgrind.*" or die "callgrind wrote nothing\n";
    my $dump = slurp($file);
    my ($n) = $dump =~ /^totals: (\d+)/m or die "no counters in $file\n";

    return ({ %{ selves($dump) }, all => $n }, allocations($dump));
}


# calls from outside of the C library, which does one by the other

sub allocations {
    my ($dump) = @_;
    my ($object, $called, $calls, $n) = ('', '', 0, 0);

    for (split /\n/, $dump) {

        if (/^ob=(.*)/) {
            $object = $1;

        } elsif (/^cfn=(.*)/) {
            $called = $1;

        } elsif (/^calls=(\d+)/) {
            $calls = $1;
            $n += $calls
                if $called =~ /^(?:malloc|calloc|realloc|posix_memalign)$/
                   && $object !~ m{/libc\.so};
        }
    }

    return $n;
}


# what each function takes itself

sub selves {
    my ($dump) = @_;
    my ($in, $call, %self) = ('', 0);

    for (split /\n/, $dump) {

        if (/^fn=(.*)/) {
            $in = $1;

        } elsif (/^calls=/) {

            # the line behind it is what the called one takes

            $call = 1;

        } elsif (/^[-+*\d]\S* (\d+)/) {
            $self{$in} += $1 if !$call;
            $call = 0;
        }
    }

    return \%self;
}


# where they go

sub profile {
    my ($self) = @_;

    for (sort { $self->{$b} <=> $self->{$a} || $a cmp $b } keys %$self) {
        printf "%10d %s\n", $self->{$_}, $_ if $self->{$_} >= 1 && $_ ne 'all';
    }

    print "\n";

    return;
}


sub origin_conf {
    return <<'EOC';
    keepalive_requests  1000000;

    server {
        listen  127.0.0.1:%%PORT%%;
        root    %%DIR%%/html;

        location ~ ^/[a-z]+/(1024|16384)/ {
            add_header  Cache-Control  max-age=600;
            try_files   /$1 =404;
        }

        location ^~ /no/ {
            add_header  Cache-Control  no-store;
            try_files   /1024 =404;
        }
    }
EOC
}


sub conf {
    return <<'EOC';
    keepalive_requests  1000000;
    access_log          off;

    proxy_http_version  1.1;
    proxy_set_header    Connection "";
    proxy_buffers       8 32k;

    upstream origin {
        server     %%ORIGIN%%;
        keepalive  4;
    }

    redis_proxy_cache_zone  hot:1m server=%%REDIS%%;
    redis_proxy_cache_zone  near:1m server=%%REDIS%% near=4m;
    redis_proxy_cache_zone  gone:1m server=redis://127.0.0.1:%%DEAD%%;

    server {
        listen  127.0.0.1:%%PORT%%;

        location /return {
            return  200 %%BODY%%;
        }

        location /proxy/ {
            proxy_pass  http://origin;
        }

        location / {
            proxy_pass         http://origin;
            redis_proxy_cache  hot;
        }

        location /near/ {
            proxy_pass              http://origin;
            redis_proxy_cache       near;
            redis_proxy_cache_near  1h;
        }

        location /bypass/ {
            proxy_pass                http://origin;
            redis_proxy_cache         hot;
            redis_proxy_cache_bypass  1;
            redis_proxy_no_cache      1;
        }

        location /gone/ {
            proxy_pass         http://origin;
            redis_proxy_cache  gone;
        }
    }
EOC
}


1;
