--- Escaping, argument lists, base64, quoting and digests. None of it needs a request, so it works in every phase.

local base = require "spacer.base"
local args = require "spacer.args"
local C, bad_argument, out, out_string = base.C, base.bad_argument, base.out, base.out_string
local type, tostring, tonumber, error, select = type, tostring, tonumber, error, select
local floor = math.floor

local OK = base.OK

-- Types of escape_uri: 0 a whole URI, 1 arguments, 2 a component, 3 HTML, 4 the Refresh header, 5 memcached, 6 mail.
local ESCAPE_COMPONENT, ESCAPE_LAST = 2, 6
local DEFAULT_MAX_ARGS = 100

-- What most of these functions do with an argument that is no string.
local function text_of(value)
    if type(value) == "string" then
        return value
    end
    return value and tostring(value) or ""
end

-- What the others do: as the API of C takes strings, numbers included.
local function string_argument(n, name, value)
    local kind = type(value)
    if kind == "string" then
        return value
    elseif kind ~= "number" then
        bad_argument(n, name, "string expected, got " .. kind, 1)
    end
    return tostring(value)
end

return function(ngx)
    function ngx.escape_uri(text, kind)
        text = text_of(text)
        if kind == nil then
            kind = ESCAPE_COMPONENT
        elseif type(kind) ~= "number" then
            error("\"type\" is not a number", 3)
        elseif kind < 0 or kind > ESCAPE_LAST then
            error("\"type\" " .. kind .. " out of range", 3)
        end
        C.spacer_escape_uri(text, #text, kind, out)
        return out_string()
    end

    function ngx.unescape_uri(text)
        text = text_of(text)
        C.spacer_unescape_uri(text, #text, out)
        return out_string()
    end

    function ngx.encode_args(...)
        local n, t = select("#", ...), ...
        if n ~= 1 then
            error("expecting 1 argument but seen " .. n, 2)
        elseif type(t) ~= "table" then
            bad_argument(1, "encode_args", "table expected, got " .. type(t))
        end
        local list = args.encode(t)
        return list
    end

    function ngx.decode_args(...)
        local n, text, max = select("#", ...), ...
        if n ~= 1 and n ~= 2 then
            error("expecting 1 or 2 arguments but seen " .. n, 2)
        end
        text = string_argument(1, "decode_args", text)
        if n == 1 then
            max = DEFAULT_MAX_ARGS
        else
            local number = tonumber(max)
            if not number then
                bad_argument(2, "decode_args", "number expected, got " .. type(max))
            end
            max = floor(number)
        end
        return args.decode(text, #text, max)
    end

    function ngx.quote_sql_str(...)
        if select("#", ...) ~= 1 then
            error("expecting one argument", 2)
        end
        local text = string_argument(1, "quote_sql_str", (...))
        C.spacer_quote_sql_str(text, #text, out)
        return out_string()
    end

    function ngx.encode_base64(text, no_padding)
        text = text_of(text)
        if no_padding and no_padding ~= true then
            error("bad no_padding: boolean expected, got " .. type(no_padding), 2)
        end
        C.spacer_encode_base64(text, #text, not no_padding, out)
        return out_string()
    end

    local function decoder(decode)
        return function(text)
            if type(text) ~= "string" then
                error("string argument only", 2)
            end
            if decode(text, #text, out) ~= OK then
                return nil
            end
            return out_string()
        end
    end
    ngx.decode_base64 = decoder(C.spacer_decode_base64)
    ngx.decode_base64mime = decoder(C.spacer_decode_base64mime)

    local function digest(fill)
        return function(text)
            text = text_of(text)
            fill(text, #text, out)
            return out_string()
        end
    end
    ngx.md5 = digest(C.spacer_md5)
    ngx.md5_bin = digest(C.spacer_md5_bin)
    ngx.sha1_bin = digest(C.spacer_sha1_bin)

    -- nginx computes one checksum, faster for short or for long text. Here one function is fast for both.
    local function crc32(text)
        text = text_of(text)
        return C.spacer_crc32(text, #text)
    end
    ngx.crc32_short = crc32
    ngx.crc32_long = crc32

    function ngx.hmac_sha1(...)
        local n, key, text = select("#", ...), ...
        if n ~= 2 then
            error("expecting 2 arguments, but got " .. n, 2)
        end
        key = string_argument(1, "hmac_sha1", key)
        text = string_argument(2, "hmac_sha1", text)
        C.spacer_hmac_sha1(key, #key, text, #text, out)
        return out_string()
    end
end
