--- ngx.log and print.

local base = require "spacer.base"
local C = base.C
local type, tostring, select, getmetatable, error = type, tostring, select, getmetatable, error
local concat = table.concat
local getinfo = debug.getinfo
local match = string.match

return function(ngx)
    local null = ngx.null

    -- The arguments in one string. `skip` is how many arguments of the caller's come before them.
    local function message(name, skip, ...)
        local parts = {}
        for i = 1, select("#", ...) do
            local value = select(i, ...)
            local kind = type(value)
            if kind == "string" then
                parts[i] = value
            elseif kind == "number" or kind == "boolean" or value == nil then
                parts[i] = tostring(value)
            elseif value == null then
                parts[i] = "null"
            elseif kind == "table" then
                local mt = getmetatable(value)
                if type(mt) ~= "table" or not mt.__tostring then
                    error("bad argument #" .. (i + skip) .. " to '" .. name
                          .. "' (expected table to have __tostring metamethod)", 4)
                end
                parts[i] = tostring(value)
            else
                error("bad argument #" .. (i + skip) .. " to '" .. name
                      .. "' (string, number, boolean, or nil expected, got " .. kind .. ")", 4)
            end
        end
        return concat(parts)
    end

    -- Where the caller of the API function stands: "file:line: function(): ".
    local function place()
        local info = getinfo(4, "nSl")
        if not info then
            return ""
        end
        local file = match(info.short_src, "([^/]*)$")
        local where = file .. ":" .. info.currentline .. ": "
        if info.name and info.namewhat ~= "" and info.what == "Lua" then
            where = where .. info.name .. "(): "
        end
        return where
    end

    local function write(level, name, skip, ...)
        if not C.spacer_logs(level) then
            return
        end
        local text = place() .. message(name, skip, ...)
        C.spacer_log(level, text, #text)
    end

    function ngx.log(level, ...)
        if type(level) ~= "number" then
            error("bad argument #1 to 'log' (number expected, got "
                  .. (level == nil and "no value" or type(level)) .. ")", 2)
        end
        if level < 0 or level > 8 then
            error("bad argument #1 to 'log' (bad log level: " .. level .. ")", 2)
        end
        write(level, "log", 1, ...)
        return
    end

    function print(...) -- luacheck: globals print
        write(ngx.NOTICE, "print", 0, ...)
        return
    end
end
