--- ngx.arg: in body_filter_by_lua*, the chunk (1) and whether it is the last (2); in set_by_lua*, the directive's
-- arguments.

local base = require "spacer.base"
local C, check, out, out_string = base.C, base.check, base.out, base.out_string
local type, tostring, error, setmetatable, concat = type, tostring, error, setmetatable, table.concat

-- The strings of a table of strings and numbers, nested or not.
local function flatten(t, parts, n)
    for i = 1, #t do
        local value = t[i]
        local kind = type(value)
        if kind == "table" then
            n = flatten(value, parts, n)
        elseif kind == "string" or kind == "number" then
            n = n + 1
            parts[n] = tostring(value)
        else
            error("bad data type " .. kind .. " found", 4)
        end
    end
    return n
end

local SET = C.SPACER_PHASE_BIT_SET

local function set_argument(index)
    if type(index) ~= "number" or index < 1 then
        return nil
    end
    if C.spacer_set_argument(index - 1, out) < 0 then
        return nil
    end
    return out_string()
end

return function(ngx)
    ngx.arg = setmetatable({}, {
        __index = function(_, index)
            if C.spacer_phase_bits() == SET then
                return set_argument(index)
            elseif index == 1 then
                check(C.spacer_chunk(out))
                return out_string()
            elseif index == 2 then
                return check(C.spacer_chunk_is_last()) ~= 0
            end
            return nil
        end,
        __newindex = function(_, index, value)
            if index == 2 then
                check(C.spacer_set_chunk_last(value and true or false))
                return
            elseif index ~= 1 then
                error("bad index: " .. tostring(index), 2)
            end
            local kind = type(value)
            if value == nil then
                check(C.spacer_set_chunk(nil, 0))
                return
            elseif kind == "table" then
                local parts = {}
                flatten(value, parts, 0)
                value = concat(parts)
            elseif kind == "number" then
                value = tostring(value)
            elseif kind ~= "string" then
                error("bad chunk data type: " .. kind, 2)
            end
            check(C.spacer_set_chunk(value, #value))
        end,
    })
end
