# A stored entry, as docs/storage-format.md describes it, for tests that want
# to know what is in it.

package RCache::Entry;

use strict;
use warnings;

use Time::HiRes ();

use RCache::Util qw(wait_for);

my %flag = (shared => 1, no_cache => 2, must_revalidate => 4, heuristic => 8,
            vary => 16, segmented => 64);


# The entry under that Redis key; nothing if there is none.

sub read {
    my ($class, $redis, $key) = @_;

    my $value = $redis->get($key) // return;
    return if ref $value || length $value < 88;

    my %e;

    @e{qw(magic fixed status sum body_sum created lifetime body_len age fetch
          flags key_len head_len vary_len variant_len swr sie generation)} =
        unpack 'a4 v v a8 a8 q< q< Q< V V V V V V V V V V', $value;

    my $at = 88;

    if ($e{flags} & $flag{segmented}) {
        @e{qw(id segment segments)} = unpack 'Q< V V', substr $value, $at, 16;
        $e{id} = sprintf '%016x', $e{id};
        $at += 16;
    }

    $at = $e{fixed};

    for my $part (qw(key vary variant head)) {
        my $length = $e{"${part}_len"};
        $e{$part} = substr $value, $at, $length;
        $at += $length;
    }

    $e{body} = substr $value, $at;

    return bless \%e, $class;
}


sub has { my ($self, $flag) = @_; return $self->{flags} & $flag{$flag} }

sub header {
    my ($self, $name) = @_;

    return $self->{head} =~ /^\Q$name\E:[ ]*(.*?)\r$/mi ? $1 : undef;
}


# When it ceases to be fresh, in seconds as of time().

sub expires { return ($_[0]{created} + $_[0]{lifetime}) / 1000 }


# Waits until it is there and has been stale for so many seconds.

sub wait_stale {
    my ($class, $redis, $key, $seconds) = @_;

    my $entry = wait_for { $class->read($redis, $key) }
        or die "there is no entry $key\n";
    my $until = $entry->expires() + ($seconds // 0);

    wait_for { Time::HiRes::time() > $until + 0.02 } 60;

    return $entry;
}


1;
