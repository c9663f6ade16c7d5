package RCache::Near;

# What tests of the near cache ask of an nginx that adds X-Source.

use strict;
use warnings;

use Exporter qw(import);
use Test::More;

use RCache::Util qw(wait_for);

our @EXPORT = qw(near soon);


# asks until it is a copy that answers; its body

sub near {
    my ($nginx, $path, @headers) = @_;
    my $body;

    ok((wait_for {
        my $r = $nginx->get($path, @headers);
        $body = $r->body;
        return ($r->header('X-Source') // '') eq 'near';
    }), "$path is near");

    return $body;
}


# within a second, which is what is promised whatever happens

sub soon {
    my ($check) = @_;

    return wait_for { $check->() } 1;
}


1;
