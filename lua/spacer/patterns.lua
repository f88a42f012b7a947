--- Compiled patterns: how they are found again, and how their captures become a table.

local base = require "spacer.base"
local collector = require "spacer.captures"
local ffi = require "ffi"
local C, NONE, out, out_string, last_error = base.C, base.NONE, base.out, base.out_string, base.last_error
local ffi_gc, ffi_new = ffi.gc, ffi.new
local band = bit.band
local type, tostring, error = type, tostring, error

local WARN = require("spacer.constants").WARN

local DUPLICATE_NAMES, ONCE = C.SPACER_REGEX_DUPLICATE_NAMES, C.SPACER_REGEX_ONCE

local bits = ffi_new "uint32_t[1]"

-- A compiled pattern is in a box, which is empty once it was given back: when a VM closes, the collector gives back
-- what finalizers that run after it may still use.
local box = ffi.typeof "spacer_regex *[1]"

local function empty(code)
    C.spacer_regex_free(code[0])
    code[0] = nil
end

-- What is known of options, by their letters. Sets of the same flags are one.
local options_of, options_by_bits = {}, {}

-- Patterns that stay compiled, in the order in which they came, and who is looked at next when another one needs a
-- place: one that was used since the hand came by stays until it comes by again.
local kept, kept_count, hand = {}, 0, 1
local cache_max
local warned = false

local function parse(letters)
    if type(letters) ~= "string" then
        error("bad argument #3 (string expected, got " .. type(letters) .. ")", 4)
    end
    if C.spacer_regex_flags(letters, #letters, bits) ~= base.OK then
        error(last_error(), 4)
    end
    local set = bits[0]
    local options = options_by_bits[set]
    if not options then
        options = { bits = set, once = band(set, ONCE) ~= 0, patterns = {} }
        options_by_bits[set] = options
    end
    options_of[letters] = options
    return options
end

local NO_NAMES = {}

local function names_of(code)
    -- Most patterns have none, and a loop here would keep LuaJIT from compiling who calls.
    if C.spacer_regex_name(code, 0, out) == NONE then
        return NO_NAMES, NO_NAMES
    end
    local names, numbers = {}, {}
    while true do
        local number = C.spacer_regex_name(code, #names, out)
        if number == NONE then
            return names, numbers
        end
        names[#names + 1], numbers[#numbers + 1] = out_string(), number
    end
end

-- Makes a place for a pattern that stays.
local function keep(regex, options, pattern)
    if kept_count < cache_max then
        kept_count = kept_count + 1
        kept[kept_count] = regex
    else
        if not warned then
            warned = true
            local text = "lua exceeding regex cache max entries (" .. cache_max .. ")"
            C.spacer_log_plain(WARN, text, #text)
        end
        while kept[hand].used do
            kept[hand].used = false
            hand = hand % cache_max + 1
        end
        local old = kept[hand]
        old.home[old.pattern] = nil
        if not old.held then
            empty(ffi_gc(old.code, nil))
        end
        kept[hand] = regex
        hand = hand % cache_max + 1
    end
    regex.home, regex.pattern = options.patterns, pattern
    options.patterns[pattern] = regex
end

local function compile(pattern, letters, options)
    options = options or parse(letters)
    local text = pattern
    if type(text) ~= "string" then
        if type(text) ~= "number" then
            error("bad argument #2 (string expected, got " .. type(text) .. ")", 3)
        end
        text = tostring(text)
    end
    local new = C.spacer_regex_new(text, #text, options.bits)
    if new == nil then
        return nil, last_error()
    end
    local code = ffi_gc(ffi_new(box, new), empty)
    cache_max = cache_max or C.spacer_regex_cache_max()
    local once = options.once and cache_max > 0
    local groups = C.spacer_regex_groups(new)
    local names, numbers = names_of(new)
    local regex = {
        code = code,
        groups = groups,
        once = once,
        collect = collector(groups, names, numbers, band(options.bits, DUPLICATE_NAMES) ~= 0, once),
        -- Used since the hand came by.
        used = false,
        -- Whether somebody may use it after it has lost its place.
        held = false,
    }
    if once then
        keep(regex, options, pattern)
    end
    return regex
end

local _M = {
    -- Where the groups of the last match begin and end.
    captures = C.spacer_regex_captures(),
}

--- The compiled pattern: `code`, how many `groups` it has, `collect`, and whether it stays (`once`). Who got one that
--- doesn't stay discards it. nil and a message for a pattern that is wrong.
function _M.compiled(pattern, letters)
    local options = options_of[letters or ""]
    if options then
        local regex = options.patterns[pattern]
        if regex then
            regex.used = true
            return regex
        end
    end
    return compile(pattern, letters or "", options)
end

function _M.discard(regex)
    empty(ffi_gc(regex.code, nil))
end

--- Whether no pattern stays compiled yet.
function _M.is_empty()
    return kept_count == 0
end

return _M
