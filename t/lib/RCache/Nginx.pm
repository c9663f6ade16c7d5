# One nginx with the module in it: started, reloaded, stopped, questioned.

package RCache::Nginx;

use strict;
use warnings;

use Cwd ();
use File::Basename ();

use RCache::HTTP;
use RCache::Util qw(
    wait_for free_port slurp spit spawn stop_pid alive children patience
);

my $root = Cwd::abs_path(File::Basename::dirname(__FILE__) . '/../../..');
my $tag = 0;
my @all;


sub binary { return $ENV{TEST_NGINX_BINARY} || 'nginx' }


sub module {
    return $ENV{TEST_NGINX_MODULE}
        // "$root/build/ngx_http_redis_proxy_cache_module.so";
}


# %o: dir; http: what is in the http block, with %%NAME%% for what vars
# gives and %%PORT%%, %%PORT_ANY%% for free ports; main: what stands outside
# of it; workers; connections: of each worker; redis: for settle(); settle: 0
# if that is not needed; plain: without the module.

sub new {
    my ($class, %o) = @_;

    my $self = bless {
        workers => 1, connections => 2048, settle => 1, vars => {},
        ports => {}, main => '', http => '', tolerated => [], log_at => 0,
        entries => {}, asked => [], %o
    }, $class;

    mkdir $self->{dir};
    mkdir "$self->{dir}/html";
    push @all, $self;

    return $self;
}


# A client may have the end of a response before its store is on its way, but
# that is so when no worker of any nginx runs any longer: the end of the turn.

sub turn_over {
    return wait_for {
        !grep { slurp("/proc/$_/stat") =~ /\) [RD] / }
            map { $_->workers() } grep { $_->{pid} } @all;
    } 10;
}


sub write_conf {
    my ($self) = @_;

    my $dir = $self->{dir};
    my $module = $self->{plain} ? '' : module();
    my ($zone) = $self->{http} =~ /^\s*redis_proxy_cache_zone\s+([\w-]+):/m;

    my $conf = join "\n",
        ($module ne '' ? "load_module $module;" : ()),
        ($> == 0 ? 'user root root;' : ()),
        'daemon off;', 'master_process on;',
        "worker_processes $self->{workers};",
        "pid $dir/nginx.pid;", "error_log $dir/error.log "
            . ($ENV{TEST_LOG_LEVEL} || $self->{level} || 'info') . ';',
        ($ENV{TEST_NGINX_GLOBALS} || ''), $self->{main},
        "events { worker_connections $self->{connections}; }", '',
        'http {',
        (map { "    ${_}_temp_path $dir/${_}_temp;" }
            qw(client_body proxy fastcgi uwsgi scgi)),
        '    log_format rcache escape=none \'$http_x_test|'
            . ($self->{plain} ? '||'
               : '$redis_proxy_cache_status|$redis_proxy_cache_reason|')
            . '$status|$http_range|$http_if_none_match|$body_bytes_sent|'
            . '$request_completion|'
            . ($self->{plain} ? '' : '$redis_proxy_cache_key') . '\';',
        "    access_log $dir/access.log rcache;",
        '    default_type text/plain;', '',
        $self->{http},
        (defined $zone && $self->{settle} && !$self->{plain}
            ? settle_conf($zone) : ()),
        '}', '';

    $conf =~ s/%%(\w+)%%/$self->expand($1)/ge;

    return spit("$dir/nginx.conf", $conf);
}


sub settle_conf {
    my ($zone) = @_;

    return <<"CONF";

    server {
        listen      127.0.0.1:%%PORT_SETTLE%%;
        access_log  off;

        location / {
            proxy_pass                http://127.0.0.1:%%PORT_SETTLED%%;
            redis_proxy_cache         $zone;
            redis_proxy_cache_key     settle-\$request_uri;
            redis_proxy_cache_valid   any 1m;
            redis_proxy_cache_bypass  0;
            redis_proxy_no_cache      0;
        }
    }

    server {
        listen      127.0.0.1:%%PORT_SETTLED%%;
        access_log  off;
        return      200 settled;
    }
CONF
}


sub expand {
    my ($self, $name) = @_;

    return $self->{dir} if $name eq 'DIR';
    return $self->{vars}{$name} if defined $self->{vars}{$name};
    return $self->port($1 // 'MAIN') if $name =~ /^PORT(?:_(\w+))?$/;

    die "nothing is known of %%$name%%\n";
}


sub port {
    my ($self, $name) = @_;

    return $self->{ports}{ $name // 'MAIN' } ||= free_port();
}


# "nginx -t" on this configuration: its exit status and what it said.  With
# sanitizers all that it has read would be a leak.

sub check {
    my ($self) = @_;

    local $ENV{ASAN_OPTIONS} = "$ENV{ASAN_OPTIONS}:detect_leaks=0"
        if $ENV{ASAN_OPTIONS};

    my $conf = $self->write_conf();
    my $out = "$self->{dir}/check";

    unlink $out;
    my $pid = spawn(argv => [ binary(), '-t', '-p', $self->{dir}, '-c',
                              $conf ], log => $out);
    my $status = stop_pid($pid, 0);

    return ($status, slurp($out));
}


sub start {
    my ($self) = @_;

    my $conf = $self->write_conf();

    unlink "$self->{dir}/nginx.pid";
    $self->{pid} = spawn(
        argv => [ binary(), '-p', $self->{dir}, '-c', $conf ],
        log => "$self->{dir}/stderr.log"
    );

    my $up = wait_for {
        alive($self->{pid}) or return 1;
        -s "$self->{dir}/nginx.pid" or return 0;
        my @pids = $self->workers();
        return @pids >= $self->{workers};
    };

    die "nginx does not start: " . slurp("$self->{dir}/stderr.log")
        . slurp("$self->{dir}/error.log") if !$up || !alive($self->{pid});

    return $self;
}


# Ends it; graceful unless told otherwise.  True if it went by itself.

sub stop {
    my ($self, $signal) = @_;

    my $pid = delete $self->{pid} or return 1;
    my @workers = $self->workers($pid);

    my $status = stop_pid($pid, $signal || 'QUIT');
    return 1 if defined $status;

    kill 'KILL', @workers;
    return 0;
}


sub running { return $_[0]{pid} }


sub workers {
    my ($self, $pid) = @_;

    return grep { slurp("/proc/$_/cmdline") =~ /worker process/ }
        children($pid // $self->{pid});
}


# True when there are new workers; with old => 1, when the old ones are gone
# as well.

sub reload {
    my ($self, %o) = @_;

    my %old = map { $_ => 1 } $self->workers();

    $self->write_conf();
    kill 'HUP', $self->{pid};

    return wait_for {
        my @now = $self->workers();
        return 0 if $o{old} && grep { $old{$_} } @now;
        return $self->{workers} <= grep { !$old{$_} } @now;
    };
}


sub connect {
    my ($self, %o) = @_;

    return RCache::HTTP->new(
        host => $o{peer},
        port => $o{to} && $o{to} =~ /^\d+$/ ? $o{to} : $self->port($o{to})
    );
}


# A connection on which a request has been sent; %o as in request().

sub begin {
    my ($self, $method, $uri, %o) = @_;

    my $c = $self->connect(%o);
    $c->send(RCache::HTTP::format_request($method, $uri, %o));

    return $c;
}


# One request on a connection of its own; %o as in RCache::HTTP, and to: the
# name of the port, peer: another address than 127.0.0.1.

sub request {
    my ($self, $method, $uri, %o) = @_;

    my $id = $$ . '-' . ++$tag;
    my @tag = $o{untagged} ? () : ('X-Test', $id);

    my $c = $self->connect(%o);
    my $r = $c->request($method, $uri, %o,
                        headers => [ @{ $o{headers} || [] }, @tag ]);
    $c->close();

    $r ||= RCache::Response->new();
    return $r if $o{untagged};
    return $self->tie_log($r, $id);
}


sub get {
    my ($self, $uri, @headers) = @_;

    return $self->request('GET', $uri, headers => \@headers);
}


sub head {
    my ($self, $uri, @headers) = @_;

    return $self->request('HEAD', $uri, headers => \@headers);
}


# How often which verdict; an answer that is not 200 with that body, or one that
# matches, counts as one, too.

sub verdicts {
    my ($self, $body, @uris) = @_;

    my %found;

    for my $uri (@uris) {
        my $r = $self->get($uri);
        my $want = $body->($uri);
        my $right = $r->status == 200
            && (ref $want ? $r->body =~ $want : $r->body eq $want);
        $found{ $right ? $r->verdict : 'wrong: ' . $r->line }++;
    }

    return \%found;
}


# The same by curl, for TLS and HTTP/2: what curl gets, and the URL.

sub curl {
    my ($self, @args) = @_;

    my $id = $$ . '-' . ++$tag;
    my $name = "$self->{dir}/curl-$id";

    my $pid = spawn(argv => [ 'curl', '-s', '-S', '-k', '--max-time',
                              patience(), '-D', "$name.head", '-o',
                              "$name.body", '-H', "X-Test: $id", @args ],
                    log => "$name.err");
    my $status = stop_pid($pid, 0);

    my $r = RCache::Response->new();
    my ($first, @lines) = split /\r\n/, slurp("$name.head");
    $r->{line} = $first // '';
    ($r->{version}, $r->{status}, $r->{phrase}) =
        $r->{line} =~ m{^(HTTP/[\d.]+) (\d+) ?(.*)$};
    $r->{status} //= 0;
    $r->{pairs} = [ map { [ /^([^:]*): ?(.*)$/s ] } grep { $_ ne '' }
                    @lines ];
    $r->{body} = slurp("$name.body");
    $r->{complete} = defined $status && $status == 0;
    $r->{error} = slurp("$name.err");

    return $self->tie_log($r, $id);
}


sub tie_log {
    my ($self, $r, $id) = @_;

    $r->{log} = sub { return $self->log_entry($id) };
    push @{ $self->{asked} }, $id;
    return $r;
}


# What the access log says of the request with that tag.

sub log_entry {
    my ($self, $id) = @_;

    wait_for { $self->read_log(); $self->{entries}{$id} }
        or die "no line in the access log for request $id\n",
               map { "$_\n" } $self->faults();

    return $self->{entries}{$id};
}


sub read_log {
    my ($self) = @_;

    open my $fh, '<:raw', "$self->{dir}/access.log" or return;
    seek $fh, $self->{log_at}, 0;

    while (my $line = <$fh>) {
        last if $line !~ s/\n\z//;
        $self->{log_at} += 1 + length $line;

        my %e;
        @e{qw(id cache reason status range none_match sent completion key)} =
            split /\|/, $line, 9;
        $e{$_} = '' for grep { $_ ne 'reason' && ($e{$_} // '') eq '-' }
            CORE::keys(%e);
        $self->{entries}{ $e{id} } = \%e;
    }

    return;
}


# Returns when all requests have ended and all that this worker had to store is
# in Redis: stores leave in order, and one more is sent and waited for.  For one
# worker only.  Requests on a connection of the test's own are not known here;
# of the others a HEAD or a 304 can be answered before its body has come.

sub settle {
    my ($self, $redis) = @_;

    my @asked = splice @{ $self->{asked} };
    wait_for {
        $self->read_log();
        return !grep { !$self->{entries}{$_} } @asked;
    } 5;

    $redis ||= $self->{redis};
    my $n = ++$self->{settled};
    my $key = '*{settle-/' . "$$-$n}";

    for (1 .. 5) {
        my $c = $self->connect(to => 'SETTLE');
        $c->request('GET', "/$$-$n");
        $c->close();

        return 1 if wait_for { @{ $redis->cmd('KEYS', $key) } } 5;
    }

    die "a response that may be stored is not\n";
}


# error.log from where mark() was last called.

sub mark {
    my ($self) = @_;

    $self->{mark} = -s "$self->{dir}/error.log";
    return;
}


sub errors {
    my ($self) = @_;

    return substr slurp("$self->{dir}/error.log"), $self->{mark} || 0;
}


# The lines of it that match.

sub lines {
    my ($self, $pattern) = @_;

    return grep { /$pattern/ } split /\n/, $self->errors();
}


sub wait_line {
    my ($self, $pattern, $seconds) = @_;

    return wait_for { $self->lines($pattern) } $seconds;
}


# The test expects lines like this, of whatever level.

sub tolerate {
    my ($self, @patterns) = @_;

    push @{ $self->{tolerated} }, @patterns;
    return;
}


# What must never be in error.log.

sub faults {
    my ($self) = @_;

    my @bad;

    for my $line (split /\n/, slurp("$self->{dir}/error.log")
                              . slurp("$self->{dir}/stderr.log"))
    {
        next if $line !~ /
            \[ (?: alert | crit | emerg ) \]
            | AddressSanitizer | LeakSanitizer
            | (?: rcache | redis_proxy_cache ) .* runtime[ ]error:
            | exited[ ]on[ ]signal | exited[ ]with[ ]fatal
            | exited[ ]with[ ]code[ ][1-9]
        /x;
        next if grep { $line =~ /$_/ } @{ $self->{tolerated} };
        push @bad, $line;
    }

    return @bad;
}


# Resident memory of all workers, in KiB.

sub rss {
    my ($self) = @_;

    my $sum = 0;
    for ($self->workers()) {
        $sum += $1 if slurp("/proc/$_/status") =~ /^VmRSS:\s+(\d+)/m;
    }

    return $sum;
}


1;
