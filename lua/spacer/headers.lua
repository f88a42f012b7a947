--- ngx.header, ngx.resp.get_headers, ngx.req.get_headers, set_header, clear_header, raw_header.

local ffi = require "ffi"
local new_table = require "table.new"
local base = require "spacer.base"
local C, check, result, bad_argument, out, out_string =
    base.C, base.check, base.result, base.bad_argument, base.out, base.out_string
local ffi_string, ffi_new = ffi.string, ffi.new
local type, tostring, rawget, setmetatable, error = type, tostring, rawget, setmetatable, error

local VALUES_MAX = 100
local values = ffi_new("spacer_str[?]", VALUES_MAX)

-- Grows with the largest request seen.
local headers, headers_max = ffi_new("spacer_header[?]", 32), 32

local function reserve(n)
    if n > headers_max then
        headers, headers_max = ffi_new("spacer_header[?]", n), n
    end
    return headers
end

-- A header is found by its name in any case, and with underscores for its dashes.
local lookup = {
    __index = function(self, key)
        if type(key) ~= "string" then
            return nil
        end
        -- Not string.gsub, which LuaJIT doesn't compile.
        C.spacer_header_key(key, #key, out)
        return rawget(self, out_string())
    end,
}

-- A table of `n` headers; the values of a repeated name are an array.
local function to_table(array, n)
    local t = new_table(0, n)
    for i = 0, n - 1 do
        local header = array[i]
        local name = ffi_string(header.name.data, header.name.len)
        local value = ffi_string(header.value.data, header.value.len)
        local old = t[name]
        if old == nil then
            t[name] = value
        elseif type(old) == "table" then
            old[#old + 1] = value
        else
            t[name] = { old, value }
        end
    end
    return t
end

local function get_headers(what, count, fill, max, raw)
    if max == nil then
        max = 100
    elseif type(max) ~= "number" then
        bad_argument(1, "get_headers", "number expected, got " .. type(max))
    end
    local n = check(count())
    local room = n
    local truncated
    local array = reserve(n)
    n = fill(array, room, raw == true)
    if max > 0 and n > max then
        local text = "lua exceeding " .. what .. " header limit " .. (max + 1) .. " > " .. max
        C.spacer_debug(text, #text)
        n, truncated = max, "truncated"
    end
    local t = to_table(array, n)
    if not raw then
        setmetatable(t, lookup)
    end
    return t, truncated
end

-- Sets a header through `set`, which takes a name, a value (nil removes) and whether to append.
local function assign(set, name, value)
    if type(value) == "table" then
        local n = #value
        if n == 0 then
            return set(name, #name, nil, 0, false)
        end
        local rc
        for i = 1, n do
            local one = tostring(value[i])
            rc = set(name, #name, one, #one, i > 1)
            if rc ~= 0 then
                return rc
            end
        end
        return rc
    end
    value = tostring(value)
    return set(name, #name, value, #value, false)
end

return function(ngx)
    ngx.header = setmetatable({}, {
        __index = function(_, name)
            name = tostring(name)
            local n = check(C.spacer_get_header(name, #name, values, VALUES_MAX))
            if n < 1 then
                return nil
            end
            if n == 1 then
                return ffi_string(values[0].data, values[0].len)
            end
            local t = {}
            for i = 1, n do
                t[i] = ffi_string(values[i - 1].data, values[i - 1].len)
            end
            return t
        end,
        __newindex = function(_, name, value)
            name = tostring(name)
            if value == nil then
                check(C.spacer_set_header(name, #name, nil, 0, false))
            else
                check(assign(C.spacer_set_header, name, value))
            end
        end,
    })

    function ngx.resp.get_headers(max, raw)
        return get_headers("response", C.spacer_count_headers, C.spacer_get_headers, max, raw)
    end

    function ngx.req.get_headers(max, raw)
        return get_headers("request", C.spacer_req_count_headers, C.spacer_req_get_headers, max, raw)
    end

    local function set_header(name, value)
        if name == nil then
            error("bad 'name' argument: string expected, got nil", 3)
        end
        name = tostring(name)
        return result(assign(C.spacer_req_set_header, name, value))
    end

    function ngx.req.set_header(name, value)
        if value == nil and name ~= nil then
            name = tostring(name)
            check(C.spacer_req_set_header(name, #name, nil, 0, false))
            return
        end
        set_header(name, value)
    end

    function ngx.req.clear_header(name)
        if name == nil then
            error("bad 'name' argument: string expected, got nil", 2)
        end
        name = tostring(name)
        check(C.spacer_req_set_header(name, #name, nil, 0, false))
    end

    function ngx.req.raw_header(no_request_line)
        check(C.spacer_req_raw_header(no_request_line == true, out))
        return out_string()
    end
end
