# Many clients at once, with one request each: a few processes, each with
# hundreds of sockets.  All of them are connected before the first request is
# sent, so that what is measured is the crowd and not its arrival.
#
#     my $crowd = $t->crowd(ports => [ map { $_->port() } @nginx ],
#                           clients => 2000, uri => '/page');
#     $crowd->go();
#     my @answers = $crowd->answers();

package RCache::Crowd;

use strict;
use warnings;

use Digest::MD5 qw(md5_hex);
use IO::Socket::INET;
use Time::HiRes qw(time sleep);

use RCache::HTTP;
use RCache::Util qw(wait_for slurp spit spawn stop_pid patience);


# %o: dir; ports: the clients take them in turn; clients: how many; uri;
# method, headers: of all of them, or a sub that is called with the number
# of the client and returns a reference to the list; processes.

sub new {
    my ($class, %o) = @_;

    my $self = bless {
        clients => 100, processes => 4, uri => '/', method => 'GET',
        headers => [], %o
    }, $class;

    mkdir $self->{dir};
    $self->{processes} = $self->{clients}
        if $self->{processes} > $self->{clients};

    for my $n (1 .. $self->{processes}) {
        my @mine = grep { $_ % $self->{processes} == $n - 1 }
                   0 .. $self->{clients} - 1;

        push @{ $self->{pids} }, spawn(
            code => sub { $self->run($n, @mine) },
            log => "$self->{dir}/log-$n"
        );
    }

    wait_for {
        $self->{processes} == grep { -e "$self->{dir}/ready-$_" }
                              1 .. $self->{processes};
    } or die 'the crowd does not get through: '
             . slurp("$self->{dir}/log-1") . "\n";

    return $self;
}


# All send their requests now, and have when it returns.

sub go {
    my ($self) = @_;

    spit("$self->{dir}/go", '');

    wait_for {
        $self->{processes} == grep { -e "$self->{dir}/sent-$_" }
                              1 .. $self->{processes};
    } or die "the crowd does not send its requests\n";

    return $self;
}


# Waits for all; a hash for each client, in their order, of @fields: done is
# the time of the last byte, undef if it did not come; head has the header
# lines.

my @fields = qw(n port began done status length md5 complete head);

sub answers {
    my ($self) = @_;

    my @answers;

    for my $n (1 .. $self->{processes}) {
        stop_pid($self->{pids}[$n - 1], 0, 2 * patience());

        for my $line (split /\n/, slurp("$self->{dir}/answers-$n")) {
            my %answer;

            @answer{@fields} = split /\t/, $line, @fields;
            $answer{done} = undef if $answer{done} eq '';
            $answer{head} =~ s/\x01/\r\n/g;
            $answers[ $answer{n} ] = \%answer;
        }
    }

    return @answers;
}


# True as soon as so many clients have an answer, all if it is not said.

sub answered {
    my ($self, $count, $seconds) = @_;

    $count //= $self->{clients};

    return wait_for {
        my $sum = 0;
        $sum += length slurp("$self->{dir}/done-$_")
            for 1 .. $self->{processes};
        return $sum >= $count;
    } $seconds;
}


# How often each value is there: of a header, or of what the hashes have.

sub tally {
    my ($what, @answers) = @_;

    my %tally;

    for my $answer (@answers) {
        my $value = exists $answer->{$what} ? $answer->{$what}
            : $answer->{head} =~ /^\Q$what\E:[ ]*(.*?)\r?$/mi ? $1 : '-';
        $tally{$value}++;
    }

    return \%tally;
}


# In a process of clients.

sub run {
    my ($self, $process, @mine) = @_;

    my (%client, $want);

    $SIG{PIPE} = 'IGNORE';

    for my $n (@mine) {
        my $port = $self->{ports}[ $n % @{ $self->{ports} } ];
        my $sock = wait_for { IO::Socket::INET->new(
            PeerAddr => '127.0.0.1', PeerPort => $port) }
            or die "cannot connect to port $port: $@\n";

        $client{ fileno $sock } = { n => $n, port => $port, sock => $sock,
                                    in => '' };
    }

    spit("$self->{dir}/ready-$process", '');
    wait_for { -e "$self->{dir}/go" } 600 or return;

    for my $c (values %client) {
        my $headers = ref $self->{headers} eq 'CODE'
            ? $self->{headers}->($c->{n}) : $self->{headers};

        $c->{began} = time();
        syswrite $c->{sock}, RCache::HTTP::format_request(
            $self->{method}, $self->{uri}, headers => $headers);
        vec($want, fileno $c->{sock}, 1) = 1;
    }

    spit("$self->{dir}/sent-$process", '');

    open my $done, '>', "$self->{dir}/done-$process" or die "done: $!\n";
    my $until = time() + patience();
    my @answers;

    while (%client && time() < $until) {
        select my $ready = $want, undef, undef, 1 or next;

        for my $fd (grep { vec($ready, $_, 1) } keys %client) {
            my $c = $client{$fd};

            next if sysread $c->{sock}, $c->{in}, 262144, length $c->{in};

            $c->{done} = time();
            vec($want, $fd, 1) = 0;
            syswrite $done, '.';
            push @answers, delete $client{$fd};
            close $c->{sock};
        }
    }

    spit("$self->{dir}/answers-$process",
         map { join("\t", digest($_)) . "\n" } @answers, values %client);

    return;
}


# What becomes of a client's answer, in the order of @fields.

sub digest {
    my ($c) = @_;

    my ($head, $body) = split /\r\n\r\n/, $c->{in}, 2;
    $head //= '';
    $body //= '';

    my $complete = defined $c->{done} && $head ne '';

    if ($head =~ /^Transfer-Encoding: chunked/mi) {
        my $plain = '';

        $complete = 0;

        while ($body =~ s/^([0-9a-fA-F]+)\r\n//) {
            my $size = hex $1;

            if ($size == 0) {
                $complete = $body eq "\r\n";
                last;
            }

            $plain .= substr $body, 0, $size, '';
            $body =~ s/^\r\n// or last;
        }

        $body = $plain;

    } elsif ($head =~ /^Content-Length: (\d+)/mi) {
        $complete = $complete && length $body == $1;
    }

    $head =~ s/\r\n/\x01/g;
    $head =~ tr/\t\n/ /;

    return (@$c{qw(n port began)}, $c->{done} // '',
            $head =~ m{^HTTP/\S+ (\d+)} ? $1 : 0, length $body,
            md5_hex($body), $complete ? 1 : 0, $head);
}


1;
