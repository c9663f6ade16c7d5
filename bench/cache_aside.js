// What services do today: a cache-aside helper with ioredis, as small as it can
// be, in front of an origin.
//
//     node cache_aside.js PORT ORIGIN_PORT REDIS_SOCKET MODULES

'use strict';

const http = require('http');
const path = require('path');

const [port, originPort, socket, modules] = process.argv.slice(2);
const Redis = require(path.join(modules, 'ioredis'));

const redis = new Redis({ path: socket, enableAutoPipelining: true });
const agent = new http.Agent({ keepAlive: true, maxSockets: 256 });

// how long, in seconds, a response may be kept; 0: not at all

function lifetime(res) {
    const cc = res.headers['cache-control'] || '';
    const age = /(?:^|[ ,])max-age=(\d+)/.exec(cc);

    return age && !/no-store|private/.test(cc) ? Number(age[1]) : 0;
}

// what is kept: the length of the head, its JSON, the body

function pack(head, body) {
    const text = Buffer.from(JSON.stringify(head));
    const length = Buffer.alloc(4);

    length.writeUInt32LE(text.length);

    return Buffer.concat([length, text, body]);
}

function answer(res, value, cache) {
    const end = 4 + value.readUInt32LE(0);
    const head = JSON.parse(value.toString('utf8', 4, end));

    res.writeHead(200, { ...head, 'X-Cache': cache });
    res.end(value.subarray(end));
}

function fetch(req, res, key) {
    const options = { port: originPort, path: req.url, agent,
                      headers: { host: req.headers.host } };

    http.get(options, (up) => {
        const parts = [];

        up.on('data', (part) => parts.push(part));
        up.on('end', () => {
            const body = Buffer.concat(parts);
            const head = { 'Content-Type': up.headers['content-type'],
                           'Content-Length': body.length,
                           'Cache-Control': up.headers['cache-control'] };
            const value = pack(head, body);
            const ttl = up.statusCode === 200 ? lifetime(up) : 0;

            if (ttl > 0) {
                redis.set(key, value, 'EX', ttl).catch(() => {});
            }

            answer(res, value, 'MISS');
        });
    }).on('error', () => {
        res.writeHead(502);
        res.end();
    });
}

http.createServer((req, res) => {
    const key = 'aside:' + req.headers.host + req.url;

    redis.getBuffer(key).then(
        (value) => value ? answer(res, value, 'HIT') : fetch(req, res, key),
        () => fetch(req, res, key));
}).listen(Number(port), '127.0.0.1');
