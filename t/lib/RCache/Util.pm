# Small things that all of the test library needs: waiting, ports, files and
# child processes.  Nothing here knows nginx, Redis or HTTP.

package RCache::Util;

use strict;
use warnings;
no warnings 'exec';

use Exporter 'import';
use IO::Socket::INET;
use POSIX ();
use Time::HiRes qw(time sleep);

our @EXPORT_OK = qw(
    wait_for free_port slurp spit spawn stop_pid alive children
    patience readable end_all noise kept_waiting
);

my %given;
my %running;
my %waited;


# How long a thing may take that must happen: generous, as the same tests run
# on a sanitizer build and on slow machines.

sub patience { return $ENV{TEST_PATIENCE} || 40 }


# Waits until the block returns true, and returns that; false after a while.

sub wait_for(&;$) {
    my ($check, $seconds) = @_;

    my $until = time() + ($seconds // patience());
    my $pause = 0.001;

    for (;;) {
        my $got = $check->();
        return $got if $got;

        return if time() > $until;

        sleep($pause);
        $pause *= 1.5 if $pause < 0.05;
    }
}


# Waits until there is something to read from a socket, or it has ended.

sub readable {
    my ($sock, $seconds) = @_;

    my $bits = '';
    vec($bits, fileno $sock, 1) = 1;

    return select($bits, undef, undef, $seconds // patience()) > 0;
}


# Below the range that the kernel takes for outgoing connections, so that no
# connection of a neighbour lands on it between this call and the bind.  The
# port of that number for UDP is held until the test ends: tests run at the
# same time, and none may take what another one's server will come back to.

sub free_port {
    for (1 .. 1000) {
        my $port = 20000 + int(rand(12000));
        next if $given{$port};

        my $hold = IO::Socket::INET->new(
            Proto => 'udp', LocalAddr => '127.0.0.1', LocalPort => $port
        ) or next;
        my $s = IO::Socket::INET->new(
            Listen => 1, LocalAddr => '127.0.0.1', LocalPort => $port,
            ReuseAddr => 1
        ) or next;
        close $s;

        $given{$port} = $hold;
        return $port;
    }

    die "no free port\n";
}


sub slurp {
    my ($name) = @_;

    open my $fh, '<:raw', $name or return '';
    local $/;
    return scalar(<$fh>) // '';
}


sub spit {
    my ($name, @data) = @_;

    open my $fh, '>:raw', $name or die "cannot write $name: $!\n";
    print $fh @data;
    close $fh or die "cannot write $name: $!\n";
    return $name;
}


# So many bytes, the same each time, that no compression makes much of.

sub noise {
    my ($size) = @_;

    return substr join('abcdefgh', map { pack 'N64',
        map { $_ * 2654435761 % 4294967296 } 64 * $_ .. 64 * $_ + 63 }
        1 .. 1 + $size / 256), 0, $size;
}


# Starts a child: a program (argv) or Perl (code).  What it says goes to the
# file log.  keep lists handles that Perl code goes on using; all others
# lead nowhere, so that no child holds a connection of the test open.

sub spawn {
    my (%o) = @_;

    my $pid = fork() // die "cannot fork: $!\n";

    if ($pid) {
        $running{$pid} = $o{group} ? -$pid : $pid;
        return $pid;
    }

    $SIG{$_} = 'DEFAULT' for qw(INT TERM HUP PIPE ALRM CHLD);
    alarm 0;

    open STDIN, '<', '/dev/null';
    open STDOUT, '>>', $o{log} or POSIX::_exit(1);
    open STDERR, '>&', \*STDOUT;
    STDOUT->autoflush(1);

    setpgrp() if $o{group};

    if ($o{argv}) {
        exec { $o{argv}[0] } @{ $o{argv} };
        print "cannot run $o{argv}[0]: $!\n";
        POSIX::_exit(127);
    }

    # a number that is merely closed would be given out again, and Perl, which
    # counts handles by number, would then not close the new one
    my %keep = map { fileno($_) => 1 } @{ $o{keep} || [] };
    if (opendir my $dh, '/proc/self/fd') {
        my @fds = grep { /^\d+$/ && $_ > 2 && !$keep{$_} } readdir $dh;
        closedir $dh;
        POSIX::dup2(0, $_) for grep { -e "/proc/self/fd/$_" } @fds;
    }

    eval { $o{code}->(); 1 } or print "$@\n";
    POSIX::_exit(0);
}


# Ends a child and collects it; returns its wait status, or nothing if it
# went only when killed.

sub stop_pid {
    my ($pid, $signal, $seconds) = @_;

    kill $signal, $pid;
    delete $running{$pid};

    my $status;
    my $gone = wait_for {
        my $got = waitpid($pid, POSIX::WNOHANG());
        $status = $? if $got == $pid;
        return $got != 0;
    } $seconds;

    return $status // 0 if $gone;

    kill 'KILL', $pid;
    waitpid($pid, 0);
    return;
}


# Ends what is left of the children when a test ends before its time.

sub end_all {
    kill 'KILL', values %running;
    waitpid $_, 0 for keys %running;
    %running = ();
    return;
}


sub alive {
    my ($pid) = @_;

    my ($state) = slurp("/proc/$pid/stat") =~ /\) (\S)/;
    return defined $state && $state ne 'Z';
}


# For how many seconds these processes, and those of the calls before, would
# have run but had to wait for a processor.  Not every kernel tells.

sub kept_waiting {
    my $sum = 0;

    for my $pid (@_) {
        my (undef, $waited) = split ' ', slurp("/proc/$pid/schedstat");
        $waited{$pid} = $waited / 1e9 if defined $waited;
    }

    $sum += $_ for values %waited;
    return $sum;
}


# Not every kernel keeps a list.

sub children {
    my ($parent) = @_;

    my $list = "/proc/$parent/task/$parent/children";
    my @pids = -e $list ? split ' ', slurp($list)
                        : map { m{(\d+)} } glob '/proc/[0-9]*';

    return grep {
        my ($state, $ppid) = slurp("/proc/$_/stat") =~ /\) (\S) (\d+)/;
        defined $ppid && $ppid == $parent && $state ne 'Z';
    } @pids;
}


1;
