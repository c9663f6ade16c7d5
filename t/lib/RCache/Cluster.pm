# A Redis Cluster of the test's own: masters, and a replica for each.

package RCache::Cluster;

use strict;
use warnings;

use RCache::Redis;
use RCache::Util qw(wait_for free_port spawn stop_pid slurp alive);


# %o: dir, masters, replicas (of each), timeout (milliseconds until a node
# counts as failed), config (more lines), and what RCache::Redis takes.

sub new {
    my ($class, %o) = @_;

    my $self = bless { masters => 3, replicas => 1, timeout => 2000,
                       nodes => [], %o }, $class;

    mkdir $self->{dir};

    for my $n (1 .. $self->{masters} * (1 + $self->{replicas})) {
        push @{ $self->{nodes} }, RCache::Redis->new(
            %{ $o{node} || {} },
            dir => "$self->{dir}/$n",
            config => [
                'cluster-enabled yes', 'cluster-port ' . free_port(),
                "cluster-node-timeout $self->{timeout}",
                'cluster-replica-validity-factor 0',
                'repl-diskless-sync-delay 0',
                'repl-ping-replica-period 1',
                @{ $o{config} || [] }
            ]
        );
    }

    return $self->join();
}


sub join {
    my ($self) = @_;

    my @nodes = @{ $self->{nodes} };
    my @masters = @nodes[0 .. $self->{masters} - 1];
    my $from = 0;

    for my $n (0 .. $#masters) {
        my $to = int(16384 * ($n + 1) / @masters) - 1;
        $masters[$n]->cmd(qw(CLUSTER ADDSLOTSRANGE), $from, $to);
        $masters[$n]->cmd(qw(CLUSTER SET-CONFIG-EPOCH), $n + 1);
        $from = $to + 1;
    }

    for my $node (@nodes[1 .. $#nodes]) {
        my ($bus) = grep { s/^cluster-port // } map { "$_" }
                    @{ $node->{config} };
        $nodes[0]->cmd(qw(CLUSTER MEET), $node->{host}, $node->port, $bus);
    }

    wait_for { !grep { known($_) < @nodes } @nodes }
        or die "the nodes do not meet\n";

    for my $n ($self->{masters} .. $#nodes) {
        my $id = $nodes[$n % $self->{masters}]->cmd(qw(CLUSTER MYID));
        $nodes[$n]->cmd(qw(CLUSTER REPLICATE), $id);
    }

    wait_for { $self->well() } or die "the cluster does not come up\n";
    return $self;
}


sub known {
    my ($node) = @_;

    return scalar(() = $node->cmd(qw(CLUSTER NODES)) =~ /^\w+ \S+:\d/mg);
}


sub nodes   { return @{ $_[0]{nodes} } }
sub running { return grep { $_->running } $_[0]->nodes() }


# All that run say that all slots are served, and replicas are in step.

sub well {
    my ($self) = @_;

    for my $node ($self->running()) {
        my $info = eval { $node->cmd(qw(CLUSTER INFO)) } or return 0;
        return 0 if $info !~ /cluster_state:ok/;

        my $repl = $node->cmd(qw(INFO replication));
        return 0 if $repl =~ /role:slave/
                    && $repl !~ /master_link_status:up/;
    }

    return 1;
}


sub masters {
    my ($self) = @_;

    return grep { ($_->cmd('ROLE') || [''])->[0] eq 'master' }
           $self->running();
}


# The node that has the slot of a key, as it sees itself.

sub of {
    my ($self, $key) = @_;

    for my $node ($self->masters()) {
        return $node if !ref $node->cmd('TYPE', $key);
    }

    return;
}


# A key moves to another master, and its slot is half way until it has moved():
# who had it, and who has it.

sub half_way {
    my ($self, $key) = @_;

    my $from = $self->of($key);
    my ($to) = grep { $_ != $from } $self->masters();
    my $slot = $from->cmd(qw(CLUSTER KEYSLOT), $key);

    $to->cmd(qw(CLUSTER SETSLOT), $slot, 'IMPORTING',
             $from->cmd(qw(CLUSTER MYID)));
    $from->cmd(qw(CLUSTER SETSLOT), $slot, 'MIGRATING',
               $to->cmd(qw(CLUSTER MYID)));
    $from->cmd('MIGRATE', $to->{host}, $to->port, '', 0, 5000, 'KEYS', $key);

    return ($from, $to);
}


sub moved {
    my ($self, $key, $from, $to) = @_;

    my $slot = $from->cmd(qw(CLUSTER KEYSLOT), $key);
    my $id = $to->cmd(qw(CLUSTER MYID));

    $_->cmd(qw(CLUSTER SETSLOT), $slot, 'NODE', $id) for $to, $from;
    return;
}


sub urls {
    my ($self, @nodes) = @_;

    @nodes = $self->nodes() if !@nodes;
    return CORE::join ' ', map { 'server=' . $_->url } @nodes;
}


# All keys of all masters.

sub keys {
    my ($self) = @_;

    return sort map { $_->keys() } $self->masters();
}


# redis-cli --cluster, to its end; its exit status, and what it said.

sub cli {
    my ($self, @argv) = @_;

    my $log = "$self->{dir}/cli.log";
    my $pid = spawn(argv => [ 'redis-cli', '--cluster', @argv ], log => $log);

    return (stop_pid($pid, 0, 120), slurp($log));
}


sub stop {
    my ($self) = @_;

    $_->stop() for $self->nodes();
    return;
}


1;
