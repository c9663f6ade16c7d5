# Chromium without a window, by its debugging protocol over a pipe.
#
#     my $browser = RCache::Browser->new(dir => $t->dir . '/browser');
#     $browser->go('http://localhost:' . $nginx->port() . '/status');
#     wait_for { $browser->js('document.title') eq '...' };
#     $browser->picture('chart', $browser->box('chart'))->count(53, 208, 186);

package RCache::Browser;

use strict;
use warnings;

use Compress::Zlib ();
use IO::Select;
use JSON::PP ();
use MIME::Base64 ();
use POSIX ();
use Time::HiRes qw(time);

use RCache::Util qw(spawn stop_pid patience);


# %o: dir; width, height

sub new {
    my ($class, %o) = @_;

    mkdir $o{dir};
    pipe my $child_in, my $to or die "pipe: $!\n";
    pipe my $from, my $child_out or die "pipe: $!\n";

    my $pid = spawn(group => 1, log => "$o{dir}/log",
                    keep => [ $child_in, $child_out ], code => sub {
        $ENV{HOME} = $o{dir};
        POSIX::dup2(fileno $child_in, 200);
        POSIX::dup2(fileno $child_out, 201);
        POSIX::dup2(200, 3);
        POSIX::dup2(201, 4);
        exec qw(chromium --headless --no-sandbox --disable-gpu
                --disable-quic --no-first-run --disable-background-networking
                --disable-component-update --disable-sync --mute-audio
                --disable-dev-shm-usage --hide-scrollbars
                --remote-debugging-pipe), "--user-data-dir=$o{dir}/profile",
                'about:blank';
        die "cannot run chromium: $!\n";
    });

    close $child_in;
    close $child_out;

    my $self = bless { pid => $pid, to => $to, from => $from, in => '',
                       n => 0, events => [], width => 1280, height => 900,
                       %o }, $class;

    my $target = $self->call('Target.createTarget', { url => 'about:blank' });
    my $session = $self->call('Target.attachToTarget', {
        targetId => $target->{targetId}, flatten => JSON::PP::true
    });
    $self->{session} = $session->{sessionId};

    $self->call("$_.enable") for qw(Page Runtime Network Log);
    $self->size($self->{width}, $self->{height});

    return $self;
}


sub stop {
    my ($self) = @_;

    stop_pid($self->{pid}, 'KILL') if $self->{pid};
    delete $self->{pid};
    return;
}


# The result of a command of the protocol.

sub call {
    my ($self, $method, $params) = @_;

    my $n = ++$self->{n};
    my $text = JSON::PP::encode_json({
        id => $n, method => $method, params => $params || {},
        $self->{session} ? (sessionId => $self->{session}) : ()
    });

    local $SIG{PIPE} = 'IGNORE';
    syswrite $self->{to}, "$text\0";

    while (my $message = $self->message()) {
        if (!$message->{id}) {
            push @{ $self->{events} }, $message;

        } elsif ($message->{id} == $n) {
            die "$method: $message->{error}{message}\n" if $message->{error};
            return $message->{result};
        }
    }

    die "chromium does not answer $method: "
        . RCache::Util::slurp("$self->{dir}/log") . "\n";
}


sub message {
    my ($self) = @_;

    my $until = time + patience();
    my $end;

    while (($end = index $self->{in}, "\0") < 0) {
        return if time > $until;
        next if !IO::Select->new($self->{from})->can_read(1);
        sysread $self->{from}, $self->{in}, 65536, length $self->{in}
            or return;
    }

    my $text = substr $self->{in}, 0, $end + 1, '';
    chop $text;

    return JSON::PP::decode_json($text);
}


sub size {
    my ($self, $width, $height, $mobile) = @_;

    return $self->call('Emulation.setDeviceMetricsOverride', {
        width => $width, height => $height, deviceScaleFactor => 1,
        mobile => $mobile ? JSON::PP::true : JSON::PP::false
    });
}


sub scheme {
    my ($self, $scheme) = @_;

    return $self->call('Emulation.setEmulatedMedia', {
        features => [ { name => 'prefers-color-scheme', value => $scheme } ]
    });
}


sub go {
    my ($self, $url) = @_;

    $self->call('Page.navigate', { url => $url });

    RCache::Util::wait_for {
        eval { $self->js("location.href === '$url'"
                         . ' && document.readyState === "complete"') };
    } or die "$url does not open\n";

    return;
}


sub js {
    my ($self, $code) = @_;

    my $r = $self->call('Runtime.evaluate', {
        expression => $code, returnByValue => JSON::PP::true,
        awaitPromise => JSON::PP::true
    });

    die "$code: $r->{exceptionDetails}{exception}{description}\n"
        if $r->{exceptionDetails};
    return $r->{result}{value};
}


sub key {
    my ($self, $key, $code) = @_;

    for my $type ('rawKeyDown', 'char', 'keyUp') {
        $self->call('Input.dispatchKeyEvent', {
            type => $type, key => $key, code => $key,
            windowsVirtualKeyCode => $code,
            $type eq 'char' && $key eq 'Enter' ? (text => "\r") : ()
        }) if $type ne 'char' || $key eq 'Enter';
    }

    return;
}


# What went wrong, by the browser's own words.

sub complaints {
    my ($self) = @_;

    $self->js('1');

    return map {
        my $p = $_->{params};
        $_->{method} eq 'Runtime.exceptionThrown'
            ? $p->{exceptionDetails}{exception}{description}
        : $_->{method} eq 'Log.entryAdded' && $p->{entry}{level} eq 'error'
            ? "$p->{entry}{text} $p->{entry}{url}"
        : ()
    } @{ $self->{events} };
}


# The URLs that were asked for.

sub asked {
    my ($self) = @_;

    $self->js('1');

    return map { $_->{params}{request}{url} }
           grep { $_->{method} eq 'Network.requestWillBeSent' }
           @{ $self->{events} };
}


# What is seen of a box of the page; without one, of the whole page.  It is
# kept in the folder TEST_PICTURES, if there is one.

sub picture {
    my ($self, $name, @box) = @_;

    @box = @{ $self->js('[0, 0, innerWidth,'
                        . ' document.documentElement.scrollHeight]') } if !@box;
    my $r = $self->call('Page.captureScreenshot', {
        format => 'png', captureBeyondViewport => JSON::PP::true,
        clip => { x => $box[0], y => $box[1], width => $box[2],
                  height => $box[3], scale => 1 }
    });
    my $png = MIME::Base64::decode_base64($r->{data});

    RCache::Util::spit("$ENV{TEST_PICTURES}/$name.png", $png)
        if $ENV{TEST_PICTURES};

    return RCache::Picture->new($png);
}


# Where an element is: x, y, width, height.

sub box {
    my ($self, $id) = @_;

    return @{ $self->js("(function () { var b = document.getElementById("
        . "'$id').getBoundingClientRect(); return [b.x + scrollX, "
        . "b.y + scrollY, b.width, b.height].map(Math.round); }())") };
}


package RCache::Picture;


sub new {
    my ($class, $png) = @_;

    return bless { png => $png }, $class;
}


# A PNG of 8 bits a channel, as Chromium makes them.

sub decode {
    my ($self) = @_;

    my $png = delete $self->{png} or return;
    my $at = 8;
    my ($data, $width, $height, $type) = ('');

    while ($at < length $png) {
        my ($len, $name) = unpack 'N a4', substr $png, $at, 8;
        my $chunk = substr $png, $at + 8, $len;
        $at += 12 + $len;

        ($width, $height, $type) = (unpack 'N N C C', $chunk)[0, 1, 3]
            if $name eq 'IHDR';
        $data .= $chunk if $name eq 'IDAT';
    }

    my $bpp = $type == 6 ? 4 : 3;
    $data = Compress::Zlib::uncompress($data);
    my @rows;
    my @last = (0) x ($width * $bpp);

    for my $y (0 .. $height - 1) {
        my ($filter, @row) = unpack 'C*', substr $data,
            $y * ($width * $bpp + 1), $width * $bpp + 1;

        if ($filter) {
            for my $x (0 .. $#row) {
                my $a = $x < $bpp ? 0 : $row[$x - $bpp];
                my $b = $last[$x];
                my $c = $x < $bpp ? 0 : $last[$x - $bpp];

                $row[$x] = ($row[$x] + ($filter == 1 ? $a : $filter == 2 ? $b
                    : $filter == 3 ? ($a + $b) >> 1 : paeth($a, $b, $c)))
                    & 255;
            }
        }

        @last = @row;
        push @rows, pack 'C*', @row;
    }

    $self->{bpp} = $bpp;
    $self->{rows} = \@rows;

    return;
}


sub paeth {
    my ($a, $b, $c) = @_;

    my $p = $a + $b - $c;
    my ($pa, $pb, $pc) = (abs $p - $a, abs $p - $b, abs $p - $c);

    return $pa <= $pb && $pa <= $pc ? $a : $pb <= $pc ? $b : $c;
}


# How many pixels are about of that colour.

sub count {
    my ($self, @colour) = @_;

    $self->decode();
    my $n = 0;

    for my $row (@{ $self->{rows} }) {
        for (my $x = 0; $x < length $row; $x += $self->{bpp}) {
            my @p = unpack 'C3', substr $row, $x, 3;
            $n++ if 24 >= abs($p[0] - $colour[0])
                    && 24 >= abs($p[1] - $colour[1])
                    && 24 >= abs($p[2] - $colour[2]);
        }
    }

    return $n;
}


1;
