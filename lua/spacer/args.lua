--- Query strings and forms: how they are decoded and encoded; ngx.req.get_uri_args and its kin.

local ffi = require "ffi"
local new_table = require "table.new"
local base = require "spacer.base"
local C, check, bad_argument, out, out_string =
    base.C, base.check, base.bad_argument, base.out, base.out_string
local ffi_string, ffi_new = ffi.string, ffi.new
local type, tostring, tonumber, pairs, error, select = type, tostring, tonumber, pairs, error, select
local huge = math.huge

local _M = {}

-- A query is decoded by so many parts at a time: what a long one needs isn't kept.
local CHUNK = 128
local buffer = ffi_new("spacer_pair[?]", CHUNK)
local next_part = ffi_new("size_t[1]")

--- Decodes a query of `len` bytes at `data` into the table, a new one where there is none: its first `max` parts, or
-- all for 0. A key without `=` is true, a repeated one an array. Returns the table, and "truncated" when there are more
-- parts.
local function decode(data, len, max, t)
    if len == 0 then
        return t or {}
    end
    local left = max > 0 and max or huge
    local from = 0
    local n
    repeat
        local room = left < CHUNK and left or CHUNK
        n = C.spacer_decode_args(data, len, from, next_part, buffer, room)
        if n < -1 - room then
            error(base.last_error(), 3)
        end
        -- Filling the table may run code of its owner's, and this again.
        from = tonumber(next_part[0])
        left = left - room
        local count = n < 0 and -1 - n or n
        t = t or new_table(0, count)
        for i = 0, count - 1 do
            local pair = buffer[i]
            local key = ffi_string(pair.key.data, pair.key.len)
            local value
            if pair.value.data == nil then
                value = true
            else
                value = ffi_string(pair.value.data, pair.value.len)
            end
            local old = t[key]
            if old == nil then
                t[key] = value
            elseif type(old) == "table" then
                old[#old + 1] = value
            else
                t[key] = { old, value }
            end
        end
    until n >= 0 or left < 1
    if n < 0 then
        local text = "lua hit query args limit " .. max
        C.spacer_debug(text, #text)
        return t, "truncated"
    end
    return t
end
_M.decode = decode

-- Appends a pair to the list that is being encoded; returns how many there are.
local function put(n, key, value)
    local kind = type(value)
    if kind == "number" then
        value = tostring(value)
    elseif kind ~= "string" then
        if kind ~= "boolean" then
            error("attempt to use " .. kind .. " as query arg value", 4)
        elseif not value then
            return n
        end
        C.spacer_encode_arg(n == 0, key, #key, nil, 0, out)
        return n + 1
    end
    C.spacer_encode_arg(n == 0, key, #key, value, #value, out)
    return n + 1
end

--- A table as a query string. Its errors are raised two levels up: at the caller of the API function that calls this.
function _M.encode(t)
    local n = 0
    for key, value in pairs(t) do
        if type(key) ~= "string" then
            error("attempt to use a non-string key in the \"args\" option table", 3)
        end
        if type(value) == "table" then
            for _, element in pairs(value) do
                n = put(n, key, element)
            end
        else
            n = put(n, key, value)
        end
    end
    return n > 0 and out_string() or ""
end

function _M.install(ngx)
    function ngx.req.get_uri_args(max, t)
        if max ~= nil and type(max) ~= "number" then
            bad_argument(1, "get_uri_args", "number expected, got " .. type(max))
        end
        check(C.spacer_req_args(out))
        return decode(out[0].data, out[0].len, max or 100, t)
    end

    function ngx.req.set_uri_args(...)
        if select("#", ...) ~= 1 then
            error("expecting 1 argument but seen " .. select("#", ...), 2)
        end
        local args = ...
        local kind = type(args)
        if kind == "number" then
            args = tostring(args)
        elseif kind == "table" then
            args = _M.encode(args)
        elseif kind ~= "string" then
            bad_argument(1, "set_uri_args", "string, number, or table expected, but got " .. kind)
        end
        check(C.spacer_req_set_args(args, #args))
    end

    function ngx.req.get_post_args(...)
        local n = select("#", ...)
        if n > 1 then
            error("expecting 0 or 1 arguments but seen " .. n, 2)
        end
        local max = ...
        if max ~= nil and type(max) ~= "number" then
            bad_argument(1, "get_post_args", "number expected, got " .. type(max))
        end
        if check(C.spacer_req_body_state()) == 0 then
            error("no request body found; maybe you should turn on lua_need_request_body?", 2)
        end
        if ngx.req.get_body_file() then
            return nil, "request body in temp file not supported"
        end
        local body = ngx.req.get_body_data()
        if not body then
            return {}
        end
        return decode(body, #body, max or 100)
    end
end

return _M
