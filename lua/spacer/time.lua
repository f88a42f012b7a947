--- ngx.time, ngx.now and their kin, and ngx.sleep.

local ffi = require "ffi"
local base = require "spacer.base"
local C, out, out_string = base.C, base.out, base.out_string
local type, tonumber, error = type, tonumber, error

local seconds = ffi.new("int64_t[1]")

return function(ngx)
    function ngx.now()
        return C.spacer_now()
    end

    function ngx.time()
        return tonumber(C.spacer_time())
    end

    function ngx.update_time()
        C.spacer_update_time()
    end

    local function format(utc, date_only)
        return function()
            C.spacer_format_time(utc, date_only, out)
            return out_string()
        end
    end
    ngx.localtime = format(false, false)
    ngx.utctime = format(true, false)
    ngx.today = format(false, true)

    function ngx.http_time(time)
        if type(time) ~= "number" then
            error("number argument only", 2)
        end
        C.spacer_http_time(time, out)
        return out_string()
    end

    function ngx.cookie_time(time)
        if type(time) ~= "number" then
            error("number argument only", 2)
        end
        C.spacer_cookie_time(time, out)
        return out_string()
    end

    function ngx.parse_http_time(text)
        if type(text) ~= "string" then
            error("string argument only", 2)
        end
        if C.spacer_parse_http_time(text, #text, seconds) ~= 0 then
            return nil
        end
        return tonumber(seconds[0])
    end

    ngx.sleep = require "spacer.sleep"
end
