#!/usr/bin/perl

# The page that shows what the cache does, in a real Chromium: with nothing to
# show, under load, with Redis down, on a phone, by the keyboard alone.  What
# it says is held against the JSON, and pictures are looked at for what should
# be in them.  TEST_PICTURES names a folder that keeps them.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use RCache;
use RCache::Browser;
use RCache::Status;
use RCache::Util qw(spawn);

my $t = RCache->new();
my $redis = $t->redis();
my $origin = $t->origin(\&origin);
my $nginx = $t->nginx(<<'CONF', workers => 2, settle => 0);
    redis_proxy_cache_zone    api:2m server=%%REDIS%% timeout=20s
                              connect_timeout=20s top_keys=40
                              near=1m;
    redis_proxy_cache_budget  20s;

    server {
        listen  127.0.0.1:%%PORT%%;

        redis_proxy_cache  api;

        location / {
            proxy_pass               http://%%ORIGIN%%;
            redis_proxy_cache_label  products;
        }

        location /search/ {
            proxy_pass               http://%%ORIGIN%%;
            redis_proxy_cache_label  search;
        }

        location /status {
            redis_proxy_cache_status;
        }
    }
CONF

my $base = 'http://127.0.0.1:' . $nginx->port();

# what every browser is told

my $page = $nginx->get('/status', Accept => 'text/html,*/*;q=0.8');
is($page->status, 200, 'a browser gets a page');
is($page->header('Content-Type'), 'text/html; charset=utf-8', 'of HTML');
cmp_ok(length $page->body, '<', 150 * 1024, 'of less than 150 KiB');
is($page->body, slurp("$FindBin::Bin/../src/admin/dashboard.html"),
   'which is the one in the sources, to the byte');
like($page->header('Content-Security-Policy'),
     qr/^default-src\ 'none';\ script-src\ 'sha256-[\w+\/]{43}=';
        \ style-src\ 'sha256-[\w+\/]{43}=';
        \ connect-src\ 'self';\ base-uri\ 'none';
        \ form-action\ 'none';\ frame-ancestors\ 'none'$/x,
     'it may do nothing that is not in it');
is($page->header('Cache-Control'), 'no-store', 'and is not kept');
is($nginx->get('/status?format=html')->header('Content-Type'),
   'text/html; charset=utf-8', 'on request, too');
is($nginx->get('/status')->header('Content-Type'),
   'text/plain; version=0.0.4; charset=utf-8', 'but not for curl');

my $browser = RCache::Browser->new(dir => $t->dir . '/browser');

# nothing to show

$browser->scheme('dark');
$browser->go("$base/status");
ok(wait_for { js('document.documentElement.dataset.ready') },
   'the page is there');
is(js('document.title'), 'Redis proxy cache', 'with its title');
ok(js('document.getElementById("empty").hidden === false'),
   'it says that there was no request');
is(text('f-ratio'), "\x{2013}", 'and no ratio');
is(text('state'), 'Redis is up', 'nor a failure');
$browser->picture('empty');
is($browser->picture('empty-time', $browser->box('c-time'))
   ->count(53, 208, 186), 0, 'no hit is drawn');

# under load: a client that goes on asking, through both workers

my $load = spawn(code => \&load, log => $t->dir . '/load');

ok(wait_for { RCache::Status->label('products', $nginx)->{requests}{hit}
              >= 150 }, 'there is load');
ok(wait_for { js('document.querySelectorAll("#c-ratio path").length') == 2 },
   'the hit ratio is a line');
ok(wait_for { js('document.querySelectorAll("#c-saved path").length') == 2 },
   'so is the time saved');
ok(wait_for { js('document.querySelectorAll("#c-time path").length') == 4 },
   'hits and fetches have their distributions');
ok(wait_for { js('document.getElementById("empty").hidden') },
   'it does not say any more that there was none');

stop_load();

# what it says is what is counted

ok(wait_for { row('products')->[2] eq requests('products') },
   'the table has the requests of a label') or diag(explain row('products'));

my $products = RCache::Status->label('products', $nginx);
my $hits = $products->{requests}{hit};
my $all = $hits + $products->{requests}{miss};

like(text('s-facts'), qr/hits in the near cache\s*[1-9]/,
     'hits that Redis was not asked for');

my ($ratio) = row('products')->[3] =~ /^(\d+\.\d) %$/;

# 96.25 is 96.3 to some, and 96.2 to others

cmp_ok(abs($ratio - 100 * $hits / $all), '<', 0.0501, 'its hit ratio');
is(row('products')->[1], 'earning', 'it earns');
like(row('products')->[-1], qr/ were hits; a hit takes .+, a fetch .+; up/,
     'and the page tells why');
is(row('search')->[1], 'idle', 'what is never a hit is idle');
like(row('search')->[-1], qr/^0\.0 % of \d+ requests were hits, which is les/,
     'and tells so');

my @reasons = @{ js('Array.from(document.querySelectorAll('
    . '"#b-miss li")).map(function (l) { return [l.children[0].textContent,'
    . ' l.children[2].textContent]; })') };
my @n = map { $_->[1] =~ /^([\d,]+)/ ? $1 =~ s/,//gr : () } @reasons;
is_deeply(\@n, [ sort { $b <=> $a } @n ], 'reasons are sorted');
ok((grep { $_->[0] eq 'absent' } @reasons), 'what was absent is among them');
like(text('b-store'), qr/no_store/, 'what was not stored has its reason');

# the hottest keys: twelve pages have a twentieth of all requests each, and a
# search none; and what was spared

my @hot = @{ js('Array.from(document.querySelectorAll("#k-hot tr")).map('
    . 'function (r) { return r.textContent; })') };
is(scalar @hot, 40, 'as many of the hottest keys as was said');
is(scalar(grep { m{http://localhost/page/\d+$} } @hot[0 .. 11]), 12,
   'the hottest ones in front') or diag(explain \@hot);
like(text('k-missed'), qr{http://localhost/search/\?q=},
     'and those missed most');
like(js('document.body.innerText'), qr/answered by another's fetch\s+[\d,]+/,
     'how many waited for another fetch');

select_('label', 'search');
ok(wait_for { text('f-ratio') eq '0.0%' }, 'a label can be looked at alone');
select_('label', '*');

# what is drawn is what is seen

my $dark = $browser->picture('load-time', $browser->box('c-time'));
cmp_ok($dark->count(53, 208, 186), '>', 100, 'hits are drawn');
cmp_ok($dark->count(245, 167, 66), '>', 100, 'so are fetches');
$browser->picture('load-dark');
cmp_ok($browser->picture('load-ratio', $browser->box('c-ratio'))
       ->count(53, 208, 186), '>', 12, 'so is the ratio');

$browser->scheme('light');
my $light = $browser->picture('light-time', $browser->box('c-time'));
cmp_ok($light->count(255, 255, 255), '>', 10000, 'light is light');
cmp_ok($light->count(11, 122, 110), '>', 100, 'with hits in another green');
$browser->picture('load-light');

# whoever cannot see it well

for my $scheme ('light', 'dark') {
    $browser->scheme($scheme);

    for my $name ('text', 'soft', 'hit', 'fetch', 'bad') {
        for my $ground ('panel', 'bg') {
            cmp_ok(contrast($name, $ground), '>=', 4.5,
                   "$scheme: $name on $ground can be read");
        }
    }
}

is(js('document.querySelectorAll("svg:not([role=img]),'
      . 'svg:not([aria-label])").length'), 0, 'every picture has words');
like(js('document.querySelector("#c-time svg").getAttribute("aria-label")'),
     qr/^Latency\. hits: p50 .*; fetches: p50 /, 'which say what is in it');
is(js('Array.from(document.querySelectorAll("button,select")).filter('
      . 'function (e) { return !(e.textContent || "").trim()'
      . ' && !e.closest("label"); }).length'), 0, 'every control has a name');
is(js('document.documentElement.lang'), 'en', 'the language is known');

$browser->js('document.body.focus(); document.activeElement.blur()');
my @focused;

for (1 .. 9) {
    $browser->key('Tab', 9);
    push @focused, js('document.activeElement.id'
                      . ' || document.activeElement.className'
                      . ' || document.activeElement.tagName');
}

is_deeply([ @focused[0 .. 4] ], [ qw(skip label window pause theme) ],
          'the keyboard gets everywhere, in order') or diag("@focused");

js('document.getElementById("pause").focus()');
$browser->key('Enter', 13);
is(js('document.getElementById("pause").getAttribute("aria-pressed")'), 'true',
   'and can pause it');
$browser->key('Enter', 13);

# a phone

$browser->size(390, 844, 1);
ok(wait_for { js('innerWidth') == 390 }, 'on a phone');
ok(js('document.documentElement.scrollWidth <= innerWidth'),
   'nothing is wider than the screen');
$browser->picture('phone');
$browser->size(1280, 900);

# Redis goes

$redis->stop();
ok(wait_for { $nginx->get('/gone'); text('state') eq 'Redis is down' },
   'that Redis is down is told');
like(text('down'), qr/cannot be reached\. Requests go to the upstreams/,
     'with what it means');
ok(js('document.getElementById("down").hidden === false'), 'and in sight');
my $down = $browser->picture('down', $browser->box('state'));
cmp_ok($down->count(255, 123, 129), '>', 20, 'in red');
$browser->picture('down-page');
$redis->start();
ok(wait_for { $nginx->get('/back'); text('state') eq 'Redis is up' },
   'that it is back, too');
ok(js('document.getElementById("down").hidden'), 'and nothing is left of it');

# what it asked for, and what it complained of

is_deeply([ grep { !m{^\Q$base\E/status(?:\?format=json)?$} }
            $browser->asked() ], [], 'it asks nobody else');
is_deeply([ $browser->complaints() ], [], 'nothing was refused, nothing broke');

# nginx goes

$nginx->stop();
ok(wait_for { js('document.getElementById("lost").hidden === false') },
   'without nginx the page says that it is old');

$browser->stop();
$t->done();


sub js { return $browser->js($_[0]) }
sub text { return js("document.getElementById('$_[0]').textContent") }


sub select_ {
    my ($id, $value) = @_;

    return js("(function (e) { e.value = '$value'; e.onchange(); }("
              . "document.getElementById('$id')))");
}


# The cells of a label's row.

sub row {
    my ($label) = @_;

    return js('(Array.from(document.querySelectorAll("#l-table tr")).filter('
              . "function (r) { return r.children[0].textContent === '$label';"
              . ' })[0] || { children: [] }).children.length ? Array.from('
              . 'Array.from(document.querySelectorAll("#l-table tr")).filter('
              . "function (r) { return r.children[0].textContent === '$label';"
              . ' })[0].children).map(function (c) { return c.textContent; })'
              . ' : [""]');
}


sub requests {
    my ($label) = @_;

    my $r = RCache::Status->label($label, $nginx)->{requests};
    my $n = 0;
    $n += $_ for values %$r;

    return reverse(join ',', unpack '(A3)*', reverse $n);
}


# WCAG 2.1, 1.4.3

sub contrast {
    my @l = sort { $a <=> $b } map {
        my $hex = js('getComputedStyle(document.documentElement)'
                     . ".getPropertyValue('--$_').trim()");
        $hex =~ s/^#(.)(.)(.)$/#$1$1$2$2$3$3/;
        my @c = map { my $v = hex($_) / 255;
                      $v <= 0.03928 ? $v / 12.92
                                    : (($v + 0.055) / 1.055) ** 2.4 }
                $hex =~ /^#(..)(..)(..)/;
        0.2126 * $c[0] + 0.7152 * $c[1] + 0.0722 * $c[2];
    } @_;

    return ($l[1] + 0.05) / ($l[0] + 0.05);
}


sub load {
    my $n = 0;

    while (1) {
        my $c = $nginx->connect();

        for (1 .. 10) {
            $n++;
            $c->request('GET', '/page/' . $n % 12, keepalive => 1);
        }

        $c->request('GET', "/search/?q=$n-$_", keepalive => 1) for 1 .. 8;
        $c->close();
        select undef, undef, undef, 0.02;
    }

    return;
}


# when there is enough of it

sub stop_load {
    ok(wait_for { RCache::Status->label('search', $nginx)->{requests}{miss}
                  >= 150 }, 'the load was long enough');
    RCache::Util::stop_pid($load, 'KILL');
    return;
}


sub origin {
    my ($req, $reply) = @_;

    $reply->delay(0.005);

    return $reply->send(200, [ 'Cache-Control' => 'no-store' ], 'found')
        if $req->uri =~ m{^/search/};
    return $reply->send(200, [ 'Cache-Control' => 'max-age=600' ], 'x' x 4000);
}
