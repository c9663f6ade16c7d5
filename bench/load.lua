-- The load: one key for ever, a new key with each request, or any of so many
-- keys; and the figures of a run in one line that Bench::Client::wrk() reads.
--
--     wrk ... -s load.lua URL -- <path> <keys: 0, 1, or how many> <delay>
--
-- The delay, in milliseconds, is what a connection waits on average before
-- each request; 0 for none.


local path, keys
local n = 0


function init(args)
    path = args[1]
    keys = tonumber(args[2])

    if tonumber(args[3]) > 0 then
        local twice = 2 * tonumber(args[3])

        delay = function ()
            return math.random(0, twice)
        end
    end

    if keys == 0 then
        local req = wrk.format("GET", path)

        request = function ()
            return req
        end

        return
    end

    local head = "GET " .. path
    local tail = " HTTP/1.1\r\nHost: " .. wrk.headers["Host"] .. "\r\n\r\n"

    request = function ()
        n = keys == 1 and n + 1 or math.random(keys)
        return head .. n .. tail
    end
end


function done(summary, latency, requests)
    local e = summary.errors

    io.write(string.format(
        "\nFIGURES requests=%d us=%d bytes=%d p50=%d p99=%d "
        .. "connect=%d read=%d write=%d status=%d timeout=%d\n",
        summary.requests, summary.duration, summary.bytes,
        latency:percentile(50), latency:percentile(99),
        e.connect, e.read, e.write, e.status, e.timeout))
end
