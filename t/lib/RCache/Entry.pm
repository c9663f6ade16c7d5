# A stored entry, as docs/storage-format.md describes it, for tests that want
# to know what is in it.

package RCache::Entry;

use strict;
use warnings;

use Time::HiRes ();

use RCache::Util qw(wait_for);

my %flag = (shared => 1, no_cache => 2, must_revalidate => 4, heuristic => 8,
            vary => 0x10, segmented => 0x40, coded => 0x80, tags => 0x0100,
            position => 0x0200, private => 0x0400, signed => 0x0800,
            varies => 0x8000, aged => 0x10000, windows => 0x20000);


# The entry under that Redis key; nothing if there is none.

sub read {
    my ($class, $redis, $key) = @_;

    my $value = $redis->get($key) // return;
    return if ref $value || length $value < 64;

    my %e;

    @e{qw(magic fixed status sum body_sum created lifetime body_len flags
          fetch key_len head_len)} =
        unpack 'a4 v v a8 a8 q< q< Q< V V V V', $value;

    @e{qw(generation vary_len variant_len age dated swr sie)} = (0) x 7;

    my $at = 64;

    my $block = sub {
        my ($flag, $format, @names) = @_;

        return if !($e{flags} & $flag{$flag});

        @e{@names} = unpack $format, substr $value, $at;
        $at += length pack $format, @e{@names};
    };

    $block->('segmented', 'Q< V V', qw(id segment segments));
    $block->('coded', 'V V Q<', qw(coding crc plain_len));
    $block->('varies', 'V V V', qw(generation vary_len variant_len));
    $block->('aged', 'V l<', qw(age dated));
    $block->('windows', 'V V', qw(swr sie));

    $e{id} = sprintf '%016x', $e{id} if defined $e{id};

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


# Date, in seconds as of time(), of one whose head does not say it.

sub date { return int($_[0]{created} / 1000) - $_[0]{dated} }


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
