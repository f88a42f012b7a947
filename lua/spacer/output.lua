--- ngx.print, ngx.say, ngx.flush, ngx.eof, ngx.send_headers.

local base = require "spacer.base"
local C, AGAIN, result, bad_argument = base.C, base.AGAIN, base.result, base.bad_argument
local isyieldable = coroutine.isyieldable
local select, type, tostring, pairs = select, type, tostring, pairs
local floor = math.floor

-- A table that contains itself has no end.
local DEPTH_MAX = 1000

return function(ngx)
    local null = ngx.null

    -- As base.result. Where the coroutine can't yield, in a callback of string.gsub's say, what was printed stays
    -- staged, and is sent at the next opportunity.
    local function done(rc)
        if rc == AGAIN and not isyieldable() then
            C.spacer_put_off()
            return 1
        end
        return result(rc)
    end

    local put

    -- The elements of an array, in order; tables in it are arrays too.
    local function put_array(array, depth)
        if depth > DEPTH_MAX then
            return "more than " .. DEPTH_MAX .. " nested tables found"
        end
        local n = 0
        for key in pairs(array) do
            if type(key) ~= "number" or key < 1 or floor(key) ~= key then
                return "non-array table found"
            end
            if key > n then
                n = key
            end
        end
        for i = 1, n do
            local err = put(array[i], depth)
            if err then
                return err
            end
        end
        return nil
    end

    -- Adds a value to the print that was begun; returns what is wrong with it.
    function put(value, depth)
        local kind = type(value)
        if kind == "string" then
            C.spacer_print_piece(value, #value)
        elseif kind == "number" then
            C.spacer_print_number(value)
        elseif value == nil or kind == "boolean" then
            local text = tostring(value)
            C.spacer_print_piece(text, #text)
        elseif kind == "table" then
            return put_array(value, (depth or 0) + 1)
        elseif value == null then
            C.spacer_print_piece("null", 4)
        elseif depth then
            return "bad data type " .. kind .. " found"
        else
            return "string, number, boolean, nil, ngx.null, or array table expected, but got " .. kind
        end
        return nil
    end

    local function fail(i, name, err)
        C.spacer_print_cancel()
        bad_argument(i, name, err)
    end

    -- LuaJIT starts no trace at a vararg function, so that what a handler prints after a call that isn't compiled would
    -- be interpreted. The common cases therefore go through plain functions.

    local function say_string(text)
        return done(C.spacer_say(text, #text))
    end

    local function print_string(text)
        return done(C.spacer_print(text, #text))
    end

    local function print_few(name, newline, n, a, b, c, d)
        local rc = C.spacer_print_begin()
        if rc ~= 0 then
            return done(rc)
        end
        local err = n > 0 and put(a)
        if err then return fail(1, name, err) end
        err = n > 1 and put(b)
        if err then return fail(2, name, err) end
        err = n > 2 and put(c)
        if err then return fail(3, name, err) end
        err = n > 3 and put(d)
        if err then return fail(4, name, err) end
        return done(C.spacer_print_end(newline))
    end

    local function print_many(name, newline, n, ...)
        local rc = C.spacer_print_begin()
        if rc ~= 0 then
            return done(rc)
        end
        for i = 1, n do
            local err = put((select(i, ...)))
            if err then return fail(i, name, err) end
        end
        return done(C.spacer_print_end(newline))
    end

    function ngx.say(...)
        local n = select("#", ...)
        local a = ...
        if n == 1 and type(a) == "string" then
            return say_string(a)
        end
        if n <= 4 then
            return print_few("say", true, n, ...)
        end
        return print_many("say", true, n, ...)
    end

    function ngx.print(...)
        local n = select("#", ...)
        local a = ...
        if n == 1 and type(a) == "string" then
            return print_string(a)
        end
        if n <= 4 then
            return print_few("print", false, n, ...)
        end
        return print_many("print", false, n, ...)
    end

    function ngx.flush(wait)
        if wait ~= nil and type(wait) ~= "boolean" then
            bad_argument(1, "flush", "boolean expected, got " .. type(wait))
        end
        return result(C.spacer_flush(wait == true))
    end

    function ngx.eof(...)
        if select("#", ...) ~= 0 then
            error("no argument is expected", 2)
        end
        return result(C.spacer_eof())
    end

    function ngx.send_headers()
        return done(C.spacer_send_headers())
    end
end
