#!/usr/bin/perl

# What nginx would take, and what would be an accident: told at "nginx -t", with
# the line and what to do about it; an error, if that is wanted.  And what is
# right must not be complained of, or nobody listens.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use RCache;

my $t = RCache->new();
my $redis = $t->redis();

# the remarks of "nginx -t" without time and place, and its status

sub check {
    my ($conf) = @_;

    my $nginx = $t->nginx_new("# first\n$conf", settle => 0);
    my ($status, $said) = $nginx->check();
    my @said = map { s/^.*?\[(warn|emerg)\] (?:\d+#\d+: )?/$1: /r }
        grep { /\[(?:warn|emerg)\]/ && /redis_proxy_cache/ } split /\n/, $said;

    $nginx->tolerate(qr/\[emerg\]/);

    # the line of the snippet's first line

    my @lines = split /\n/, slurp("$nginx->{dir}/nginx.conf");
    my ($first) = grep { $lines[$_] eq '# first' } 0 .. $#lines;
    s/, in \S+:(\d+)$/" at " . ($1 - $first - 1)/e for @said;

    return ($status, @said);
}

my $zone = 'redis_proxy_cache_zone api:1m server=%%REDIS%%;';
my ($crt, $key) = $t->certificate();
my $pass = 'proxy_pass http://127.0.0.1:1;';

my $auth = 'auth_basic or auth_request let users in, and the key does not '
    . 'tell them apart; set "redis_proxy_cache_user" to who it is, or to '
    . '"off" if they all may get the same';
my $host = 'the key has no host, so that servers of all names share it; '
    . 'put "$host" into "redis_proxy_cache_key"';
my $uri = 'the key has no URI, so that all of them share one response; '
    . 'put "$request_uri" into "redis_proxy_cache_key"';
my $cookie = 'a Set-Cookie is stored and sent to all; add "proxy_hide_header '
    . 'Set-Cookie"';
my $body = 'POST and QUERY are not cached without the body in the key; set '
    . '"redis_proxy_cache_key_body"';

my $passed = 'the upstream gets an Authorization that the cache does not see, '
    . 'and the key does not tell users apart; set "redis_proxy_cache_user" to '
    . 'who it is, or to "off" if they all may get the same';
my $open = 'everybody may purge here; add "limit_except" with "allow" and '
    . '"deny all", or another guard';
my $admin = 'everybody may purge here; add "allow" and "deny all", or another '
    . 'guard';

# name, what is in http{}, a line each; what is said

for (
    [ 'the plain case', <<"X" ],
$zone
server { listen 127.0.0.1:%%PORT%%;
location / { $pass
redis_proxy_cache api; } }
X

    [ 'auth_basic', <<"X", "\"/\" $auth at 4" ],
$zone
server { listen 127.0.0.1:%%PORT%%;
location / { $pass auth_basic x; auth_basic_user_file x;
redis_proxy_cache api; } }
X
    [ 'auth_basic above, the cache above', <<"X", "\"/a\" $auth at 2",
$zone
redis_proxy_cache api;
server { listen 127.0.0.1:%%PORT%%; auth_basic x;
location /a { $pass }
location /b { $pass auth_basic off; }
location /c { $pass redis_proxy_cache off; }
location /d { $pass redis_proxy_cache_user \$remote_user; }
location /e { $pass redis_proxy_cache_user off; }
location /f { $pass redis_proxy_cache_key \$host\$request_uri\$remote_user; }
location /g { $pass redis_proxy_cache_key \$host\$request_uri\$cookie_s; } }
X
    ],
    [ 'auth_request', <<"X", "\"/a/b\" $auth at 3" ],
$zone
server { listen 127.0.0.1:%%PORT%%;
location /a { auth_request /auth; redis_proxy_cache api;
location /a/b { $pass } }
location /auth { $pass } }
X
    [ 'a user above', <<"X" ],
$zone
server { listen 127.0.0.1:%%PORT%%; redis_proxy_cache_user \$remote_user;
redis_proxy_cache api; auth_basic x;
location / { $pass location /b { $pass } } }
X
    [ 'a realm that is a variable', <<"X", "\"/\" $auth at 3" ],
$zone
server { listen 127.0.0.1:%%PORT%%;
location / { $pass redis_proxy_cache api; auth_basic \$host; } }
X

    [ 'no host, once', <<"X", "$host at 2" ],
$zone
redis_proxy_cache_key \$request_uri; redis_proxy_cache api;
server { listen 127.0.0.1:%%PORT%%;
location / { $pass }
location /b { $pass location /b/c { $pass } } }
X
    [ 'no host where it is set, but not where it is used', <<"X" ],
$zone
redis_proxy_cache_key \$request_uri;
server { listen 127.0.0.1:%%PORT%%; redis_proxy_cache_key \$host\$request_uri;
location / { $pass redis_proxy_cache api; }
location /b { $pass redis_proxy_cache_key \$uri; } }
X
    [ 'the name of a group is no host', <<"X", "$host at 3" ],
$zone
server { listen 127.0.0.1:%%PORT%%;
location / { $pass redis_proxy_cache_key \$proxy_host\$request_uri;
redis_proxy_cache api; } }
X
    [ 'no URI', <<"X", "$uri at 4" ],
$zone
server { listen 127.0.0.1:%%PORT%%;
location / { $pass redis_proxy_cache api;
redis_proxy_cache_key "\$scheme://\${host}?\$args"; } }
X
    [ 'neither', <<"X", "$host at 3", "$uri at 3" ],
$zone
server { listen 127.0.0.1:%%PORT%%; location / { $pass redis_proxy_cache api;
redis_proxy_cache_key fixed; } }
X
    [ 'who knows what is in there', <<"X" ],
$zone
map \$host \$site { default x; }
server { listen 127.0.0.1:%%PORT%%; location / { $pass redis_proxy_cache api;
redis_proxy_cache_key \$site; } }
X

    [ 'POST', <<"X", "$body at 3" ],
$zone
server { listen 127.0.0.1:%%PORT%%; location / { $pass redis_proxy_cache api;
redis_proxy_cache_methods GET POST; } }
X
    [ 'POST with a body', <<"X" ],
$zone
redis_proxy_cache_methods GET POST;
server { listen 127.0.0.1:%%PORT%%; location / { $pass redis_proxy_cache api;
redis_proxy_cache_key_body 1k; }
location /b { $pass } }
X

    [ 'Set-Cookie', <<"X", "$cookie at 3" ],
$zone
server { listen 127.0.0.1:%%PORT%%; location / { $pass redis_proxy_cache api;
redis_proxy_cache_ignore_headers Set-Cookie; } }
X
    [ 'a Set-Cookie that is hidden', <<"X" ],
$zone
redis_proxy_cache_ignore_headers Set-Cookie; proxy_hide_header set-cookie;
server { listen 127.0.0.1:%%PORT%%; location / { $pass redis_proxy_cache api; }
location /b { fastcgi_pass 127.0.0.1:1; redis_proxy_cache api;
fastcgi_hide_header Set-Cookie; } }
X
    [ 'other headers', <<"X" ],
$zone
redis_proxy_cache_ignore_headers Vary Cache-Control;
server { listen 127.0.0.1:%%PORT%%;
location / { $pass redis_proxy_cache api; } }
X

    [ 'an Authorization of its own', <<"X", "\"/a\" $passed at 2",
$zone
redis_proxy_cache api;
server { listen 127.0.0.1:%%PORT%%; auth_basic off;
location /a { $pass proxy_set_header authorization "Bearer \$cookie_s"; }
location /b { $pass proxy_set_header Authorization "Bearer 0123"; }
location /c { $pass proxy_set_header Authorization \$http_authorization; }
location /d { $pass proxy_set_header Authorization \$cookie_s;
redis_proxy_cache_user \$cookie_s; }
location /e { $pass proxy_set_header Authorization \$cookie_s;
redis_proxy_cache_key \$host\$request_uri\$cookie_s; } }
X
    ],
    [ 'an Authorization for all', <<"X", "\"/\" $passed at 4" ],
$zone
proxy_set_header Authorization \$arg_token;
server { listen 127.0.0.1:%%PORT%%;
location / { $pass redis_proxy_cache api; } }
X

    [ 'purging', <<"X", "\"/a\" $open at 4", "\"/b\" $open at 5" ],
$zone
redis_proxy_cache api;
server { listen 127.0.0.1:%%PORT%%;
location /a { $pass redis_proxy_cache_purge 1; }
location /b { $pass redis_proxy_cache_purge \$request_method; }
location /c { $pass redis_proxy_cache_purge \$http_x_secret; }
location /d { $pass redis_proxy_cache_purge 1; allow 127.0.0.1; deny all; }
location /e { $pass redis_proxy_cache_purge 1; deny all; }
location /f { $pass redis_proxy_cache_purge 1;
limit_except GET { deny all; } }
location /g { $pass redis_proxy_cache_purge 1;
if (\$http_x_secret = "") { return 403; } }
location /h { $pass redis_proxy_cache_purge off; }
location /i { $pass redis_proxy_cache_purge 1; internal; } }
X
    [ 'purging by JSON', <<"X", "\"/a\" $admin at 3" ],
$zone
server { listen 127.0.0.1:%%PORT%%; location /a {
redis_proxy_cache_admin api; }
location /b { redis_proxy_cache_admin api; deny all; }
location /c { redis_proxy_cache_admin api;
auth_basic x; auth_basic_user_file x; } }
X
    [ 'purging, closed above', <<"X" ],
$zone
server { listen 127.0.0.1:%%PORT%%; allow 127.0.0.1; deny all;
location /a { redis_proxy_cache_admin api; } }
X

    [ 'purging, by who has a certificate', <<"X" ],
$zone
server { listen 127.0.0.1:%%PORT%% ssl; ssl_verify_client on;
ssl_certificate $crt; ssl_certificate_key $key;
ssl_client_certificate $crt;
location /a { redis_proxy_cache_admin api; } }
X
    [ 'purging, by who has none', <<"X", "\"/a\" $admin at 5" ],
$zone
server { listen 127.0.0.1:%%PORT%% ssl;
ssl_certificate $crt; ssl_certificate_key $key;
location /a {
redis_proxy_cache_admin api; } }
X

    [ 'two zones, one prefix', <<"X",
redis_proxy_cache_zone api:1m server=%%REDIS%% prefix=a:;
redis_proxy_cache_zone shop:1m server=%%REDIS%%
prefix=a:b:;
X
      '"shop" another zone has the same keys in the same Redis; give each of '
      . 'them a "prefix=" that no other begins with at 3' ],
    [ 'two zones', <<"X" ],
redis_proxy_cache_zone api:1m server=%%REDIS%% prefix=a:;
redis_proxy_cache_zone shop:1m server=%%REDIS%% prefix=b:;
redis_proxy_cache_zone other:1m server=redis://127.0.0.1:1 prefix=b:;
redis_proxy_cache_zone db:1m server=%%REDIS%% prefix=b: db=1;
X
) {
    my ($name, $conf, @want) = @$_;

    my ($status, @said) = check($conf);
    is($status, 0, "$name: nginx takes it");
    s/^(?:("[^"]+") )?/'warn: redis_proxy_cache' . ($1 ? " $1: " : ': ')/e
        for @want;
    is_deeply(\@said, \@want, @want ? 'and says so' : 'and says nothing')
        or diag(explain(\@said));
}

# strict

for (
    [ 'strict', "redis_proxy_cache_strict on;", 1 ],
    [ 'not strict', "redis_proxy_cache_strict off;", 0 ],
) {
    my ($name, $line, $want) = @$_;
    my ($status, @said) = check(<<"X");
$zone
$line
server { listen 127.0.0.1:%%PORT%%; location / { $pass redis_proxy_cache api;
redis_proxy_cache_key fixed; } }
X
    is($status ? 1 : 0, $want, "$name: nginx " . ($want ? 'refuses' : 'takes')
       . ' it');
    is(scalar(grep { $want ? /^emerg/ : /^warn/ } @said), 2,
       'and says all that is wrong') or diag(explain(\@said));
}

my ($status, @said) = check(<<"X");
$zone
server { listen 127.0.0.1:%%PORT%%; redis_proxy_cache_strict on;
location / { $pass redis_proxy_cache api; }
location /b { $pass redis_proxy_cache api; redis_proxy_cache_strict off;
redis_proxy_cache_key fixed; } }
X
is($status, 0, 'what a location says of it counts there');

$t->done();
