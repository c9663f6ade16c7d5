# The public suite http-cache-tests: its origin server, its client, and what
# came out of a run.

package Suite;

use strict;
use warnings;

use Cwd ();
use File::Basename ();
use IO::Socket::INET;
use JSON::PP ();

use RCache::Util qw(free_port slurp spawn stop_pid alive wait_for);

my $here = Cwd::abs_path(File::Basename::dirname(__FILE__));
my $root = Cwd::abs_path("$here/../..");
my $suite = "$root/build/conformance/node_modules/http-cache-tests";

our @kinds = qw(required optimal check);


# The reason for which the suite cannot be run, or nothing.

sub missing {
    return 'there is no node: make deps installs it'
        if !grep { -x "$_/node" } split /:/, $ENV{PATH};

    return 'http-cache-tests could not be fetched'
        if system("$here/install.sh >&2") != 0;

    return;
}


# The suite's origin, started, with its files in the folder dir.

sub new {
    my ($class, %o) = @_;

    my $self = bless { %o, port => free_port(), runs => 0 }, $class;
    mkdir $self->{dir};

    local $ENV{npm_config_protocol} = 'http';
    local $ENV{npm_config_port} = $self->{port};
    local $ENV{npm_config_pidfile} = "$self->{dir}/origin.pid";

    $self->{pid} = spawn(argv => [ 'node', "$suite/server/server.mjs" ],
                         log => "$self->{dir}/origin.log");

    my $up = wait_for {
        alive($self->{pid}) or return 1;
        return IO::Socket::INET->new(PeerAddr => $self->addr());
    };

    die "the suite's origin does not start: "
        . slurp("$self->{dir}/origin.log") if !$up || !alive($self->{pid});

    return $self;
}


sub addr { return "127.0.0.1:$_[0]{port}" }


sub stop {
    my ($self) = @_;

    stop_pid($_, 'TERM') for delete @{ $self->{clients} || {} }{
        keys %{ $self->{clients} || {} } };
    stop_pid(delete $self->{pid}, 'TERM') if $self->{pid};

    return;
}


# Starts a run against caches on these ports; returns what finish() wants.

sub start {
    my ($self, @ports) = @_;

    my $out = "$self->{dir}/run-" . ++$self->{runs};
    my $pid = spawn(
        argv => [ 'node', "$here/run.mjs", $suite, "$out.json",
                  $ENV{CONFORMANCE_CHUNK} || 120,
                  map { "http://127.0.0.1:$_" } @ports ],
        log => "$out.log"
    );

    $self->{clients}{$pid} = $pid;
    return { pid => $pid, out => $out };
}


# Its rows: id, kind, group, name, depends, result, and passed.

sub finish {
    my ($self, $run) = @_;

    stop_pid($run->{pid}, 0, 300);
    delete $self->{clients}{ $run->{pid} };

    my $json = slurp("$run->{out}.json");
    die "the suite did not run: " . slurp("$run->{out}.log") if $json eq '';

    my $rows = JSON::PP::decode_json($json);

    for my $row (@$rows) {
        my $result = $row->{result};
        $row->{passed} = JSON::PP::is_bool($result) && $result ? 1 : 0;
        $row->{why} = $row->{passed} ? 'passed'
                    : ref $result eq 'ARRAY' ? join ': ', @$result
                    : 'was not run';
    }

    return $rows;
}


# kind => [passed, tests, passed with all that the test depends on].  The last
# is what the tables of the suite count: there, "must not be reused" is no
# success of a cache that does not reuse anything.

sub counts {
    my ($rows) = @_;

    my %row = map { $_->{id} => $_ } @$rows;
    my %counts = map { $_ => [ 0, 0, 0 ] } @kinds;

    my $whole;
    $whole = sub {
        my ($row) = @_;

        return $row && $row->{passed}
               && !grep { !$whole->($row{$_}) } @{ $row->{depends} };
    };

    for my $row (@$rows) {
        my $count = $counts{ $row->{kind} };

        $count->[0] += $row->{passed};
        $count->[1]++;
        $count->[2]++ if $whole->($row);
    }

    undef $whole;
    return \%counts;
}


# The results of another cache that come with the suite, as JSON.

sub published {
    my ($name) = @_;

    my $json = slurp("$suite/results/$name.json");
    die "there are no results of $name in the suite\n" if $json eq '';

    return $json;
}


# The list of the tests that are not passed: id => { mode => reason }.
# A line is an id, a mode or "both", a word for the kind of the reason, and
# the reason.

sub expected {
    my ($file, @modes) = @_;

    my %expected;
    my $n = 0;

    for my $line (split /\n/, slurp($file)) {
        $n++;
        next if $line =~ /^\s*(?:#|$)/;

        my ($id, $mode, $word, $why) = split ' ', $line, 4;

        die "$file:$n: not an id, a mode, a word and a reason\n"
            if !defined $why
               || $mode ne 'both' && !grep { $_ eq $mode } @modes;
        die "$file:$n: $word is none of the words for a reason\n"
            if $word !~ /^(?:rfc|test|nginx|choice|depends)$/;

        # what holds for newer versions of nginx only says so

        next if $why =~ /^since nginx (\d+)\.(\d+)/
                && nginx_version() < $1 * 1000 + $2;

        for my $m ($mode eq 'both' ? @modes : $mode) {
            die "$file:$n: $id is listed twice\n" if $expected{$id}{$m};
            $expected{$id}{$m} = "$word: $why";
        }
    }

    return \%expected;
}


# 1022 for nginx 1.22

sub nginx_version {
    my $nginx = RCache::Nginx::binary();
    my ($major, $minor) = `$nginx -v 2>&1` =~ m{nginx/(\d+)\.(\d+)}
        or die "$nginx has no version\n";
    return $major * 1000 + $minor;
}


1;
