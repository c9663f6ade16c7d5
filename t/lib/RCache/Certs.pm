# An authority of the test's own, and certificates by it.

package RCache::Certs;

use strict;
use warnings;

use RCache::Util qw(slurp spit spawn stop_pid);


sub new {
    my ($class, $dir) = @_;

    mkdir $dir;
    my $self = bless { dir => $dir }, $class;

    $self->openssl(qw(req -x509), key('ca'), qw(-days 2 -subj /CN=ca -out),
                   'ca.crt');
    return $self;
}


sub key { return (qw(-newkey rsa:2048 -nodes -keyout), "$_[0].key") }
sub ca  { return "$_[0]{dir}/ca.crt" }


# The files of a certificate and its key; names as in subjectAltName, days
# may be negative.

sub issue {
    my ($self, $name, $alt, $days) = @_;

    my $dir = $self->{dir};

    spit("$dir/$name.ext", "subjectAltName=$alt\n");
    $self->openssl('req', key($name), '-subj', "/CN=$name", '-out',
                   "$name.csr");
    $self->openssl(qw(x509 -req -CA ca.crt -CAkey ca.key -CAcreateserial),
                   '-in', "$name.csr", '-extfile', "$name.ext", '-out',
                   "$name.crt", '-days', $days // 2);

    return ("$dir/$name.crt", "$dir/$name.key");
}


sub openssl {
    my ($self, @argv) = @_;

    my $log = "$self->{dir}/openssl.log";
    my $pid = spawn(argv => [ 'sh', '-c', 'cd "$0" && exec openssl "$@"',
                              $self->{dir}, @argv ], log => $log);

    die "openssl @argv: " . slurp($log) if stop_pid($pid, 0) // 1;
    return;
}


1;
