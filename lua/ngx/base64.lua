--- Base64 in the alphabet for URLs, `-` and `_` in the places of `+` and `/`, without padding.

local base = require "spacer.base"
local C, OK, out, out_string = base.C, base.OK, base.out, base.out_string
local type = type

local _M = { version = require("resty.core").version }

function _M.encode_base64url(text)
    if type(text) ~= "string" then
        return nil, "must provide a string"
    end
    C.spacer_encode_base64url(text, #text, out)
    return out_string()
end

function _M.decode_base64url(text)
    if type(text) ~= "string" then
        return nil, "must provide a string"
    end
    if C.spacer_decode_base64url(text, #text, out) ~= OK then
        return nil, "invalid input"
    end
    return out_string()
end

return _M
