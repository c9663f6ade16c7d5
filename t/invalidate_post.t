#!/usr/bin/perl

# The response to a POST that is stored for GET (RFC 9110, 9.3.3) is newer than
# all that it invalidates when its header is there.  It may be long in coming:
# what is invalidated before its end, by anybody, it must not bring back.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use RCache;

my $t = RCache->new();
my $redis = $t->redis();
my $origin = $t->origin(\&origin, workers => 8);

my $conf = <<'CONF';
    redis_proxy_cache_zone          api:1m server=%%REDIS%%
                                    connect_timeout=5s timeout=5s;
    redis_proxy_cache_budget        5s;
    redis_proxy_cache_segment_size  16k;

    server {
        listen  127.0.0.1:%%PORT%%;

        redis_proxy_cache         api;
        redis_proxy_cache_bypass  $http_x_bypass;

        location / {
            proxy_pass          http://%%ORIGIN%%;
            proxy_buffering     off;
            proxy_http_version  1.1;
        }
    }
CONF

my $one = $t->nginx($conf);
my $two = $t->nginx($conf);

my @post = ('X-Post' => 1);
my $n = 0;

for (
    [ 'small',      [ ] ],
    [ 'segmented',  [ 'X-Size' => 65536 ] ],
    [ 'vary',       [ 'X-Say' => 'Vary: X-A' ] ],
) {
    my ($name, $headers) = @$_;

    # nothing happens meanwhile, or it has before

    my $uri = '/' . ++$n;
    is($one->request('DELETE', $uri)->status, 204, "$name: a DELETE");
    my $c = begun($uri, @$headers);
    is($two->get($uri, @$headers)->verdict, 'MISS -', 'and a GET');
    my $new = ended($c);
    is(answer($two->get($uri, @$headers)), $new, "$name: it is stored for GET");

    # it is invalidated: here, elsewhere, for good, or while another one asks

    for (
        [ 'here',          sub { deleted($two, $_[0]) } ],
        [ 'elsewhere',     sub { deleted($one, $_[0]) } ],
        [ 'and replaced',  sub {
            deleted($one, $_[0]);
            is($one->get($_[0])->verdict, 'MISS -', 'there is a new one');
        } ],
        [ 'and bypassed',  sub {
            deleted($one, $_[0]);
            is($one->get($_[0], 'X-Bypass' => 1)->verdict, 'BYPASS -',
               'there is a new one');
        } ],
    ) {
        my ($how, $do) = @$_;

        $uri = '/' . ++$n;
        $c = begun($uri, @$headers);
        $do->($uri);
        my $old = ended($c);

        isnt(answer($_->get($uri)), $old, "$name, $how: it is not stored")
            for $one, $two;
    }

    # by another one of its kind

    $uri = '/' . ++$n;
    $c = begun($uri, @$headers);
    my $next = answer($one->request('POST', $uri, body => 'data',
                                    headers => [ @$headers, @post ]));
    my $old = ended($c);
    isnt($next, $old, 'another POST');
    is(answer($_->get($uri)), $next, "$name: the later one is stored")
        for $one, $two;
}

$t->done();


# a POST on the second instance whose header is there

sub begun {
    my ($uri, @headers) = @_;

    my $c = $two->begin('POST', $uri, body => 'data', headers => [
                        'X-Word' => "go$n", @headers, @post ]);
    ok((wait_for { $redis->exists("api:{http://localhost$uri}:l") }),
       "POST $uri has invalidated it");
    ok((wait_for { $redis->cmd('PTTL', "api:{http://localhost$uri}:l")
                   < 59950 }), 'a while ago');

    return $c;
}


sub ended {
    my ($c) = @_;

    $origin->say("go$n");
    my $r = $c->response('POST');
    like($r->body, qr/^answer \d+ *$/, 'POST has its response');

    return answer($r);
}


sub answer { return $_[0]->body =~ s/ +$//r }


sub deleted {
    my ($nginx, $uri) = @_;

    is($nginx->request('DELETE', $uri)->status, 204, 'a DELETE');
    return;
}


sub origin {
    my ($req, $reply) = @_;

    return $reply->head(204) if $req->method eq 'DELETE';

    my @headers = map { /^([^:]+): (.*)/ }
        map { split /\|/ } $req->headers('X-Say');
    push @headers, 'Cache-Control' => 'max-age=600';
    push @headers, 'Content-Location' => $req->uri if $req->header('X-Post');

    my $body = 'answer ' . $req->n;
    $body .= ' ' x ($req->header('X-Size') - length $body)
        if $req->header('X-Size');

    my $word = $req->header('X-Word');

    return $reply->send(200, \@headers, $body) if !defined $word;

    $reply->head(200, @headers, 'Transfer-Encoding' => 'chunked');
    $reply->chunk(substr $body, 0, 5);
    $reply->wait_word($word);
    $reply->chunk(substr $body, 5);
    $reply->last_chunk();
}
