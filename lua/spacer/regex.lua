--- ngx.re: regular expressions. A match is one call of the boundary; what it gives is read from where the captures
-- always are.

local base = require "spacer.base"
local patterns = require "spacer.patterns"
local ffi = require "ffi"
local C, OK, out, out_string, last_error = base.C, base.OK, base.out, base.out_string, base.last_error
local compiled, discard = patterns.compiled, patterns.discard
local captures = patterns.captures
local ffi_gc, ffi_new = ffi.gc, ffi.new
local type, tostring, tonumber, setmetatable = type, tostring, tonumber, setmetatable

local re = {}

-- The offset that a context asks to begin at.
local function offset_of(ctx)
    local pos = ctx.pos
    if pos and pos > 0 then
        return pos - 1
    end
    return 0
end

--- The captures of the first match: the whole is [0], and groups are by number and by name. nil when there is none,
--- and a message when matching failed. `ctx.pos` is where to begin, and becomes where the match has ended. `res` is a
--- table to fill.
function re.match(text, pattern, options, ctx, res)
    if type(text) ~= "string" then
        text = tostring(text)
    end
    local regex, err = compiled(pattern, options)
    if not regex then
        return nil, err
    end
    local found = C.spacer_regex_match(regex.code[0], text, #text, ctx and offset_of(ctx) or 0, false)
    if found <= 0 then
        if not regex.once then
            discard(regex)
        end
        if found == 0 then
            return nil
        end
        return nil, last_error()
    end
    local to = captures[1]
    res = regex.collect(text, res)
    if ctx then
        ctx.pos = to + 1
    end
    if not regex.once then
        discard(regex)
    end
    return res
end

--- Where the first match, or its group `nth`, begins and ends.
function re.find(text, pattern, options, ctx, nth)
    if type(text) ~= "string" then
        text = tostring(text)
    end
    local regex, err = compiled(pattern, options)
    if not regex then
        return nil, nil, err
    end
    local found = C.spacer_regex_match(regex.code[0], text, #text, ctx and offset_of(ctx) or 0, false)
    local groups = regex.groups
    if not regex.once then
        discard(regex)
    end
    if found <= 0 then
        if found == 0 then
            return nil
        end
        return nil, nil, last_error()
    end
    if ctx then
        ctx.pos = captures[1] + 1
    end
    if not nth or nth < 0 then
        nth = 0
    elseif nth > groups then
        return nil, nil, "nth out of bound"
    end
    local from = captures[2 * nth]
    if from < 0 then
        return nil, nil
    end
    return from + 1, captures[2 * nth + 1]
end

local iterator = {}

local function exhaust(self)
    local regex = self.regex
    self.regex = nil
    if not regex.once then
        discard(regex)
    end
end

--- The captures of the next match; nil when there are no more, and a message when matching failed.
function iterator.__call(self)
    local regex, text, at = self.regex, self.text, self.at
    if not regex then
        return nil
    end
    local found = C.spacer_regex_match(regex.code[0], text, #text, at, at > 0)
    if found <= 0 then
        exhaust(self)
        if found == 0 then
            return nil
        end
        return nil, last_error()
    end
    local from, to = captures[0], captures[1]
    local res = regex.collect(text)
    -- By `\K` in a group that is called from a look-behind, a match of nothing can begin further back.
    if from == to or to == at then
        to = tonumber(C.spacer_regex_after_empty(regex.code[0], text, #text, to))
        if to > #text then
            exhaust(self)
        end
    end
    self.at = to
    return res
end

--- An iterator over the matches.
function re.gmatch(text, pattern, options)
    local regex, err = compiled(pattern, options)
    if not regex then
        return nil, err
    end
    -- It may outlive the pattern's place in the cache.
    regex.held = true
    return setmetatable({ regex = regex, text = tostring(text), at = 0 }, iterator)
end

-- Substitutions for the next calls. One that an error of a replacement's function left behind is the collector's.
local idle, idle_count = {}, 0

-- As a pattern's box.
local box = ffi.typeof "spacer_substitution *[1]"

local function empty(state)
    C.spacer_substitution_free(state[0])
    state[0] = nil
end

local function new_substitution()
    if idle_count > 0 then
        local state = idle[idle_count]
        idle_count = idle_count - 1
        return state
    end
    return ffi_gc(ffi_new(box, C.spacer_substitution_new()), empty)
end

local function substitute_by_function(text, pattern, replace, options, all)
    local regex, err = compiled(pattern, options)
    if not regex then
        return nil, nil, err
    end
    -- The function may have another pattern take its place in the cache.
    regex.held = true
    local code, collect = regex.code, regex.collect
    local state = new_substitution()
    local count, piece = 0, nil
    local found = C.spacer_substitution_begin(state[0], code[0], text, #text)
    while found > 0 do
        count = count + 1
        piece = replace(collect(text))
        if type(piece) ~= "string" then
            piece = tostring(piece)
        end
        if not all then
            break
        end
        found = C.spacer_substitution_next(state[0], code[0], text, #text, piece, #piece)
        piece = nil
    end

    local result = text
    if found < 0 then
        err = last_error()
    elseif count > 0 then
        if C.spacer_substitution_end(state[0], text, #text, piece, piece and #piece or 0, out) == OK then
            result = out_string()
        else
            err = last_error()
        end
    end
    idle_count = idle_count + 1
    idle[idle_count] = state
    if not regex.once then
        discard(regex)
    end
    if err then
        return nil, nil, err
    end
    return result, count
end

local function substitute(text, pattern, replace, options, all)
    if type(text) ~= "string" then
        text = tostring(text)
    end
    local kind = type(replace)
    if kind == "function" then
        return substitute_by_function(text, pattern, replace, options, all)
    elseif kind ~= "string" then
        replace = tostring(replace)
    end
    local regex, err = compiled(pattern, options)
    if not regex then
        return nil, nil, err
    end
    local count = C.spacer_regex_substitute(regex.code[0], text, #text, replace, #replace, all, out)
    if not regex.once then
        discard(regex)
    end
    if count > 0 then
        return out_string(), count
    elseif count == 0 then
        return text, 0
    end
    return nil, nil, last_error()
end

--- The text with its first match replaced by a template or by what a function makes of its captures, and 1; or the
--- text and 0.
function re.sub(text, pattern, replace, options)
    return substitute(text, pattern, replace, options, false)
end

--- As ngx.re.sub, for all matches.
function re.gsub(text, pattern, replace, options)
    return substitute(text, pattern, replace, options, true)
end

return function(ngx)
    ngx.re = re
end
