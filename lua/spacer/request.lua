--- ngx.req: the request's line, its body, what it is; ngx.exit, ngx.exec, ngx.redirect.

local base = require "spacer.base"
local args = require "spacer.args"
local C, AGAIN, NONE, WAIT = base.C, base.AGAIN, base.NONE, base.WAIT
local check, await, bad_argument, out, out_string =
    base.check, base.await, base.bad_argument, base.out, base.out_string
local type, tostring, select, error, tonumber = type, tostring, select, error, tonumber
local yield = base.yield

local function check_string(value, n, name)
    local kind = type(value)
    if kind == "number" then
        return tostring(value)
    elseif kind ~= "string" then
        error("bad argument #" .. n .. " to '" .. name .. "' (string expected, got "
              .. (value == nil and "no value" or kind) .. ")", 3)
    end
    return value
end

local REDIRECTS = { [301] = true, [302] = true, [303] = true, [307] = true, [308] = true }

return function(ngx)
    local req = ngx.req

    function req.get_method()
        check(C.spacer_req_method(out))
        return out_string()
    end

    function req.set_method(method)
        if type(method) ~= "number" then
            error("bad method number", 2)
        end
        check(C.spacer_req_set_method(method))
    end

    function req.http_version()
        local version = check(C.spacer_req_http_version())
        if version == 9 then
            return 0.9
        elseif version == 10 then
            return 1.0
        elseif version == 11 then
            return 1.1
        end
        return version / 10
    end

    function req.start_time()
        check(C.spacer_req_is_internal())
        return C.spacer_req_start_time()
    end

    function req.is_internal()
        return check(C.spacer_req_is_internal()) ~= 0
    end

    function req.set_uri(...)
        local n = select("#", ...)
        if n < 1 or n > 3 then
            error("expecting 1, 2 or 3 arguments but seen " .. n, 2)
        end
        local uri, jump, binary = ...
        uri = check_string(uri, 1, "set_uri")
        if n >= 2 and type(jump) ~= "boolean" then
            bad_argument(2, "set_uri", "boolean expected, got " .. type(jump))
        end
        if n >= 3 and type(binary) ~= "boolean" then
            bad_argument(3, "set_uri", "boolean expected, got " .. type(binary))
        end
        if check(C.spacer_req_set_uri(uri, #uri, jump == true, binary == true)) == AGAIN then
            yield(WAIT)
        end
    end

    function req.read_body(...)
        local n = select("#", ...)
        if n ~= 0 then
            error("expecting 0 arguments but seen " .. n, 2)
        end
        await(check(C.spacer_req_read_body()))
    end

    function req.discard_body()
        check(C.spacer_req_discard_body())
    end

    function req.get_body_data(max)
        if check(C.spacer_req_body_data(max or 2 ^ 52, out)) == NONE then
            return nil
        end
        return out_string()
    end

    function req.get_body_file()
        if check(C.spacer_req_body_file(out)) == NONE then
            return nil
        end
        return out_string()
    end

    function req.set_body_data(...)
        local n = select("#", ...)
        if n ~= 1 then
            error("expecting 1 arguments but seen " .. n, 2)
        end
        local data = check_string((...), 1, "set_body_data")
        check(C.spacer_req_set_body_data(data, #data))
    end

    function req.set_body_file(...)
        local n = select("#", ...)
        if n ~= 1 and n ~= 2 then
            error("expecting 1 or 2 arguments but seen " .. n, 2)
        end
        local name, clean = ...
        name = check_string(name, 1, "set_body_file")
        check(C.spacer_req_set_body_file(name, #name, clean and true or false))
    end

    function req.init_body(...)
        local n = select("#", ...)
        if n > 1 then
            error("expecting 0 or 1 argument but seen " .. n, 2)
        end
        local size = ...
        if size ~= nil then
            size = tonumber(size) or bad_argument(1, "init_body", "number expected, got " .. type(size))
            if size < 0 then
                error("bad size argument: " .. size, 2)
            end
        end
        check(C.spacer_req_init_body(size or -1))
    end

    function req.append_body(...)
        local n = select("#", ...)
        if n ~= 1 then
            error("expecting 1 arguments but seen " .. n, 2)
        end
        local data = check_string((...), 1, "append_body")
        check(C.spacer_req_append_body(data, #data))
    end

    function req.finish_body(...)
        local n = select("#", ...)
        if n ~= 0 then
            error("expecting 0 argument but seen " .. n, 2)
        end
        check(C.spacer_req_finish_body())
    end

    function ngx.exit(status)
        status = tonumber(status)
        if not status then
            bad_argument(1, "exit", "number expected, got " .. type(status))
        end
        if check(C.spacer_exit(status)) == AGAIN then
            yield(WAIT)
        end
    end

    function ngx.exec(...)
        local n = select("#", ...)
        if n ~= 1 and n ~= 2 then
            error("expecting one or two arguments, but got " .. n, 2)
        end
        local uri, query = ...
        uri = check_string(uri, 1, "exec")
        local kind = type(query)
        if kind == "table" then
            query = args.encode(query)
        elseif kind == "number" then
            query = tostring(query)
        elseif query == nil then
            query = ""
        elseif kind ~= "string" then
            bad_argument(2, "exec", "string, number, or table expected, but got " .. kind)
        end
        check(C.spacer_exec(uri, #uri, query, #query))
        yield(WAIT)
    end

    function ngx.redirect(...)
        local n = select("#", ...)
        if n ~= 1 and n ~= 2 then
            error("expecting one or two arguments", 2)
        end
        local uri, status = ...
        uri = check_string(uri, 1, "redirect")
        if n == 2 then
            status = tonumber(status)
            if not REDIRECTS[status] then
                error("only ngx.HTTP_MOVED_TEMPORARILY, ngx.HTTP_MOVED_PERMANENTLY, "
                      .. "ngx.HTTP_PERMANENT_REDIRECT, ngx.HTTP_SEE_OTHER, and "
                      .. "ngx.HTTP_TEMPORARY_REDIRECT are allowed", 2)
            end
        end
        check(C.spacer_redirect(uri, #uri, status or 302))
        yield(WAIT)
    end

end
