--- `require "ngx.re"`: splitting by a regular expression, and options of all of them.

local base = require "spacer.base"
local patterns = require "spacer.patterns"
local C, last_error = base.C, base.last_error
local captures, compiled, discard = patterns.captures, patterns.compiled, patterns.discard
local sub = string.sub
local type, tostring, tonumber, error = type, tostring, tonumber, error
local new_tab = require "table.new"

local _M = { version = require("resty.core").version }

-- Strings that a result has room for at first.
local ROOM = 4

-- Puts what lies between the matches into `res`, and the first group of each match behind what it ends. Gives how many
-- strings there are and where the rest begins; nil when matching failed. `ctx.pos` follows, as an offset.
local function cut(regex, text, ctx, max, res)
    local code, len = regex.code, #text
    local start = ctx.pos - 1
    local at, n, parts = start, 0, 1
    while parts ~= max do
        local found = C.spacer_regex_match(code[0], text, len, at, at > start)
        if found < 0 then
            return nil
        elseif found == 0 then
            break
        end
        local from, to = captures[0], captures[1]
        local group, group_end = -1, -1
        if found > 1 then
            group, group_end = captures[2], captures[3]
        end
        -- By `\K` in a group that is called from a look-behind, a match of nothing can begin further back.
        if from ~= to and to ~= at then
            at = to
        else
            at = tonumber(C.spacer_regex_after_empty(code[0], text, len, to))
        end
        ctx.pos = at
        -- Nothing that stands before nothing is no part.
        if from < to or from > start then
            n, parts = n + 1, parts + 1
            res[n] = sub(text, start + 1, from)
            if group >= 0 then
                n = n + 1
                res[n] = sub(text, group + 1, group_end)
            end
            start = to
        end
        if start >= len or at > len then
            break
        end
    end
    return n, start
end

--- The parts of the text that lie between the matches, at most `max` of them. Parts without a character are left out at
--- the end, unless there is a `max`. `ctx.pos` is where to begin, `res` a table to fill.
function _M.split(text, pattern, options, ctx, max, res)
    text = tostring(text)
    if not ctx then
        ctx = { pos = 1 }
    elseif not ctx.pos then
        ctx.pos = 1
    end
    max = max or 0
    if not res then
        res = new_tab(max > 0 and max < ROOM and max or ROOM, 0)
    elseif type(res) ~= "table" then
        error("res is not a table", 2)
    end
    if ctx.pos < 1 then
        ctx.pos = 1
    elseif ctx.pos > #text then
        res[1] = nil
        return res
    end

    local regex, err = compiled(pattern, options)
    if not regex then
        return nil, err
    end
    local n, start = cut(regex, text, ctx, max > 0 and max or nil, res)
    if not regex.once then
        discard(regex)
    end
    if not n then
        return nil, last_error()
    end

    if max > 0 or start < #text then
        n = n + 1
        res[n] = sub(text, start + 1)
    else
        while n > 0 and res[n] == "" do
            res[n] = nil
            n = n - 1
        end
    end
    -- Where a table that was given ends.
    res[n + 1] = nil
    return res
end

--- Sets an option of the whole VM: "jit_stack_size", the bytes up to which the stack of patterns with `j` grows.
function _M.opt(option, value)
    if option ~= "jit_stack_size" then
        error("unrecognized option name", 2)
    elseif not patterns.is_empty() then
        error("changing jit stack size is not allowed when some regexs have already been compiled and cached", 2)
    elseif C.spacer_regex_jit_stack(value) ~= base.OK then
        error(last_error(), 2)
    end
end

return _M
