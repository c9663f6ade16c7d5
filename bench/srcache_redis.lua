-- The two locations through which srcache reads and writes Redis: GET, and
-- SET with EX, over a pool of kept connections.

local redis = require "nginx.redis"

local _M = {}

local host, port


-- an IP address and a port, or "unix:/path" alone

function _M.server(h, p)
    host, port = h, p
end


local function connect()
    local red = redis:new()
    local ok, err

    red:set_timeout(1000)

    if port then
        ok, err = red:connect(host, port)

    else
        ok, err = red:connect(host)
    end

    if not ok then
        ngx.log(ngx.ERR, "redis connect: ", err)
        return ngx.exit(502)
    end

    return red
end


function _M.fetch()
    local red = connect()
    local value, err = red:get(ngx.var.args)

    if value == false or value == nil then
        ngx.log(ngx.ERR, "redis get: ", err)
        return ngx.exit(502)
    end

    red:set_keepalive(60000, 256)

    if value == ngx.null then
        return ngx.exit(404)
    end

    ngx.header["Content-Length"] = #value
    ngx.print(value)
end


-- args: seconds, a colon, the key

function _M.store()
    local args = ngx.var.args
    local colon = string.find(args, ":", 1, true)
    local red = connect()

    local ok, err = red:set(string.sub(args, colon + 1),
                            ngx.req.get_body_data(),
                            "EX", string.sub(args, 1, colon - 1))
    if not ok then
        ngx.log(ngx.ERR, "redis set: ", err)
        return ngx.exit(502)
    end

    red:set_keepalive(60000, 256)
end


return _M
