#!/usr/bin/perl

# A hit is served by this module instead of the content handler.  Were it
# served before the access checks, everyone who knows a URL could read what
# only some may.  So every kind of check must guard a hit as it guards a miss.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use RCache;

my $t = RCache->new();
my $redis = $t->redis();
my $origin = $t->origin(\&origin);

spit($t->dir . '/users', "joe:{PLAIN}secret\n");

my $nginx = $t->nginx(<<'CONF', vars => { USERS => $t->dir . '/users' });
    redis_proxy_cache_zone    api:1m server=%%REDIS%%
                              connect_timeout=5s timeout=5s;
    redis_proxy_cache_budget  5s;

    # one key for all locations: what is checked is who gets to the entry
    redis_proxy_cache_key     $arg_entry;

    server {
        listen  127.0.0.1:%%PORT%%;

        redis_proxy_cache  api;

        proxy_set_header   Authorization "";

        location /open/ {
            proxy_pass  http://%%ORIGIN%%;
        }

        location /deny/ {
            deny        all;
            proxy_pass  http://%%ORIGIN%%;
        }

        location /basic/ {
            auth_basic            closed;
            auth_basic_user_file  %%USERS%%;
            proxy_pass            http://%%ORIGIN%%;
        }

        location /request/ {
            auth_request  /check;
            proxy_pass    http://%%ORIGIN%%;
        }

        location /any/ {
            satisfy               any;
            deny                  all;
            auth_basic            closed;
            auth_basic_user_file  %%USERS%%;
            proxy_pass            http://%%ORIGIN%%;
        }

        location /any-request/ {
            satisfy       any;
            deny          all;
            auth_request  /check;
            proxy_pass    http://%%ORIGIN%%;
        }

        location /any-allow/ {
            satisfy               any;
            allow                 127.0.0.1;
            deny                  all;
            auth_basic            closed;
            auth_basic_user_file  %%USERS%%;
            proxy_pass            http://%%ORIGIN%%;
        }

        location /all/ {
            allow                 127.0.0.1;
            deny                  all;
            auth_basic            closed;
            auth_basic_user_file  %%USERS%%;
            auth_request          /check;
            proxy_pass            http://%%ORIGIN%%;
        }

        location /limit/ {
            limit_except POST {
                deny  all;
            }
            proxy_pass  http://%%ORIGIN%%;
        }

        location = /check {
            internal;
            redis_proxy_cache        off;
            proxy_pass               http://%%ORIGIN%%/check;
            proxy_pass_request_body  off;
            proxy_set_header         Content-Length "";
        }
    }
CONF

my @joe = (Authorization => 'Basic am9lOnNlY3JldA==');
my @jim = (Authorization => 'Basic amltOnNlY3JldA==');
my @let = ('X-Let' => 'me');

# location; status without anything; what opens it

my @table = (
    [ '/deny/',        403 ],
    [ '/basic/',       401, [ @joe ] ],
    [ '/request/',     403, [ @let ] ],
    [ '/any/',         401, [ @joe ] ],
    [ '/any-request/', 403, [ @let ] ],
    [ '/any-allow/',   200, [ ] ],
    [ '/all/',         401, [ @joe, @let ] ],
    [ '/limit/',       403 ],
);

for my $state ('cold', 'warm') {
    for (@table) {
        my ($location, $status, $open) = @$_;

        my $entry = $location =~ tr/a-z//cdr;
        my $uri = "$location?entry=$entry";

        if ($state eq 'warm') {
            $nginx->get("/open/?entry=$entry");
            $nginx->settle();
            is($nginx->get("/open/?entry=$entry")->verdict, 'HIT -',
               "the entry for $location is there");
        }

        my $asked = $origin->count($uri);
        my $r = $nginx->get($uri);

        if ($status != 200) {
            is($r->status, $status, "$state: $location is closed");
            unlike($r->body, qr/secret/, 'and does not tell');
            is($origin->count($uri), $asked, 'the origin is not asked');

            $r = $nginx->get($uri, @jim);
            is($r->status, $status, 'the wrong user does not open it');
            unlike($r->body, qr/secret/, 'and learns nothing');

            $r = $nginx->head($uri);
            is($r->status, $status, 'nor does HEAD');
        }

        next if !$open;

        $r = $nginx->get($uri, @$open);
        is($r->status, 200, "$state: $location can be opened");
        like($r->body, qr/secret/, 'and then tells');

        if ($state eq 'warm') {
            is($r->verdict, 'HIT -', 'from the cache');
        }
    }
}

# with only a part of what "satisfy all" asks for

for my $part ([ @joe ], [ @let ]) {
    my $r = $nginx->get('/all/?entry=all', @$part);
    like($r->status, qr/^40[13]$/, 'one of two checks is not enough');
    unlike($r->body, qr/secret/, 'for a hit');
}

$t->done();


sub origin {
    my ($req, $reply) = @_;

    if ($req->path eq '/check') {
        return $reply->send(($req->header('X-Let') // '') eq 'me' ? 200 : 403,
                            [], '');
    }

    $reply->send(200, [ 'Cache-Control' => 'public, max-age=60' ],
                 'the secret ' . $req->n);
}
