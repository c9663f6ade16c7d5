package Bench::Process;

# Starts programs on a given core and stops them; CPU time and memory of a
# process.  What was started dies with the bench, whatever ends it.

use strict;
use warnings;

use POSIX ();
use Time::HiRes qw(sleep time);


my %running;                # pid => name, of what start() started
my $setpriv;


# Starts the script once more in a network namespace of its own, where reno
# rules: with bbr, which paces on loopback as well, what waits for a timer of
# the kernel would be measured.  Where that is not allowed it goes on as it is.

sub isolate {
    my $control = '/proc/sys/net/ipv4/tcp_congestion_control';

    if (!$ENV{BENCH_ISOLATED}) {
        my @unshare = ('unshare', $> == 0 ? '-n' : '-rn', '--');

        return if system("@unshare ip link set lo up > /dev/null 2>&1");

        # thousands of connections want as many files

        $ENV{BENCH_ISOLATED} = 1;
        exec @unshare, 'sh', '-c', 'ulimit -n "$(ulimit -Hn)"; exec "$@"',
             'sh', $^X, $0, @ARGV;
        die "exec unshare: $!\n";
    }

    system('ip', 'link', 'set', 'lo', 'up');

    open my $fh, '>', $control or return;
    print $fh "reno\n";
    close $fh;
}


# in words, for the report

sub network {
    my $how = slurp('/proc/sys/net/ipv4/tcp_congestion_control') // '';

    chomp $how;

    return ($ENV{BENCH_ISOLATED} ? 'a network namespace of its own'
                                 : 'the network of the machine')
           . ", TCP $how";
}


# the cores for the worker that is measured and for all else: the last and the
# first of those that there are

sub cores {
    my ($list) = (slurp('/proc/self/status') // '')
                 =~ /^Cpus_allowed_list:\s+(\S+)/m;
    my @core = map { /(\d+)-(\d+)/ ? ($1 .. $2) : $_ }
               split /,/, $list // '0';

    return ($ENV{BENCH_WORKER_CORE} // $core[-1],
            $ENV{BENCH_LOAD_CORE} // $core[0]);
}


sub start {
    my ($core, $log, @cmd) = @_;
    my ($pid);

    $setpriv //= (`setpriv --help 2>/dev/null` // '') =~ /pdeathsig/ ? 1 : 0;

    unshift @cmd, 'taskset', '-c', $core if defined $core;
    unshift @cmd, 'setpriv', '--pdeathsig', 'TERM', '--' if $setpriv;

    $pid = fork();
    die "fork: $!\n" if !defined $pid;

    if ($pid == 0) {
        $SIG{$_} = 'DEFAULT' for qw(INT TERM HUP);

        # a Ctrl-C is ours to handle, in order
        setpgrp(0, 0);

        open STDIN, '<', '/dev/null';
        open STDOUT, '>>', $log;
        open STDERR, '>&', \*STDOUT;

        exec { $cmd[0] } @cmd or POSIX::_exit(127);
    }

    $running{$pid} = $cmd[-1];

    return $pid;
}


sub alive {
    my ($pid) = @_;

    return 0 if !$running{$pid};

    if (waitpid($pid, POSIX::WNOHANG()) != 0) {
        delete $running{$pid};
        return 0;
    }

    return 1;
}


sub stop {
    my ($pid) = @_;
    my $until = time() + 5;

    kill 'TERM', $pid if $running{$pid};

    while (alive($pid)) {
        kill 'KILL', $pid if time() > $until;
        sleep(0.01);
    }
}


sub stop_all {
    kill 'TERM', $_ for keys %running;
    stop($_) for keys %running;
}


# Comes before all that has no priority, or a lower one; 1 to 99.  Returns false
# where that is not allowed.

sub precede {
    my ($priority, @pids) = @_;
    my $wrong = 0;

    for my $pid (@pids) {
        $wrong++ if system("chrt -a -f -p $priority $pid > /dev/null 2>&1");
    }

    return !$wrong;
}


# and back

sub follow {
    my (@pids) = @_;

    system("chrt -a -o -p 0 $_ > /dev/null 2>&1") for @pids;
    return;
}


# Keeps a core awake, with what gives way to all else: one that sleeps in a
# virtual machine may take its time to wake up.

sub awake {
    my ($log, @cores) = @_;

    return if system('chrt -i 0 true > /dev/null 2>&1');

    start($_, $log, 'chrt', '-i', '0', $^X, '-e', '1 while 1') for @cores;
    return;
}


# how long it has waited for a core so far, in seconds

sub waited {
    my ($pid) = @_;

    return (split ' ', slurp("/proc/$pid/schedstat") // '0 0')[1] / 1e9;
}


# the process whose command line matches that a master makes a moment after its
# start

sub child {
    my ($master, $what) = @_;
    my $until = time() + 5;

    while (alive($master) && time() < $until) {
        for my $file (glob '/proc/[0-9]*/stat') {
            my $stat = slurp($file) // next;
            my ($pid, $ppid) = $stat =~ /^(\d+) \(.*\) \S (\d+)/s or next;

            next if $ppid != $master;

            return $pid
                if (slurp("/proc/$pid/cmdline") // '') =~ $what;
        }

        sleep(0.02);
    }

    return undef;
}


# CPU time of all threads in microseconds: the sum of which utime and stime
# are the parts, in nanoseconds where the kernel tells, else in clock ticks

sub cpu {
    my ($pid) = @_;
    my ($sum, $text) = (0);

    for my $file (glob "/proc/$pid/task/*/schedstat") {
        $text = slurp($file) // next;
        $sum += (split ' ', $text)[0];
    }

    return $sum / 1000 if $sum;

    $text = slurp("/proc/$pid/stat") // return 0;
    $text =~ s/^.*\) //s;

    my @field = split ' ', $text;

    return ($field[11] + $field[12]) * 1e6
           / POSIX::sysconf(&POSIX::_SC_CLK_TCK);
}


# VmHWM, RssShmem, ... in KiB

sub memory {
    my ($pid, $what) = @_;
    my $text = slurp("/proc/$pid/status") // return undef;

    return $text =~ /^\Q$what\E:\s+(\d+) kB/m ? $1 : undef;
}


# lets VmHWM start again from what is resident now

sub reset_peak {
    my ($pid) = @_;

    open my $fh, '>', "/proc/$pid/clear_refs" or return 0;
    syswrite $fh, "5\n" or return 0;

    return 1;
}


sub slurp {
    my ($file) = @_;

    local $/;
    open my $fh, '<', $file or return undef;

    return scalar <$fh>;
}


1;
