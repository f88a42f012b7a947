--- `require "resty.core.regex"`: what libraries use that match by themselves, with the functions of C below.

local ffi = require "ffi"
local base = require "spacer.base"
local patterns = require "spacer.patterns"
local C, last_error = base.C, base.last_error
local ffi_gc, ffi_copy, ffi_new, ffi_string = ffi.gc, ffi.copy, ffi.new, ffi.string
local band, bor = bit.band, bit.bor
local sub = string.sub
local new_tab = require "table.new"

-- What the flags of the functions of C are.
local ONCE, DUPLICATE_NAMES = 0x01, 0x08

local FLAGS = {
    o = ONCE, d = 0x02, j = 0x04, D = DUPLICATE_NAMES, U = 0x10,
}
local PCRE_OPTIONS = {
    i = 0x1, m = 0x2, s = 0x4, x = 0x8, a = 0x10, u = 0x800, U = 0x800, D = 0x80000, J = 0x2000000,
}

local MESSAGE_SIZE = 4096
local message = ffi_new("char[?]", MESSAGE_SIZE)

-- Compiled patterns that stay, by options and pattern.
local kept, kept_count = {}, 0
local grow_ratio = 2

local _M = { version = require("resty.core").version }

local function parse(letters)
    -- What is no letter of an option is an error.
    if C.spacer_regex_flags(letters, #letters, ffi_new "uint32_t[1]") ~= base.OK then
        error(last_error(), 4)
    end
    local flags, options = 0, 0
    for i = 1, #letters do
        local letter = sub(letters, i, i)
        flags = bor(flags, FLAGS[letter] or 0)
        options = bor(options, PCRE_OPTIONS[letter] or 0)
    end
    return flags, options
end

--- The compiled pattern, whether it stays, and its flags; nil and a message for one that is wrong.
function _M.re_match_compile(pattern, letters)
    letters = letters or ""
    local flags, options = parse(letters)
    local once = band(flags, ONCE) ~= 0
    local key = letters .. "\0" .. pattern
    local regex = once and kept[key]
    if not regex then
        regex = C.ngx_http_lua_ffi_compile_regex(pattern, #pattern, flags, options, message, MESSAGE_SIZE)
        if regex == nil then
            return nil, ffi_string(message)
        end
        ffi_gc(regex, C.ngx_http_lua_ffi_destroy_regex)
        once = once and kept_count < C.spacer_regex_cache_max()
        if once then
            kept[key] = regex
            kept_count = kept_count + 1
        end
    end
    return regex, once, flags
end

function _M.destroy_compiled_regex(regex)
    C.ngx_http_lua_ffi_destroy_regex(ffi_gc(regex, nil))
end

--- The captures of a match that gave `count`, by number and by name.
function _M.collect_captures(regex, count, text, flags, res)
    local groups, captures = regex.ncaptures, regex.captures
    res = res or new_tab(groups, regex.name_count)
    for i = 0, groups do
        local from = captures[2 * i]
        res[i] = i <= count and from >= 0 and sub(text, from + 1, captures[2 * i + 1])
    end
    local entry = regex.name_table
    for _ = 1, regex.name_count do
        local name, capture = ffi_string(entry + 2), res[entry[0] * 256 + entry[1]]
        if band(flags, DUPLICATE_NAMES) == 0 then
            res[name] = capture
        elseif capture then
            local list = res[name] or {}
            list[#list + 1] = capture
            res[name] = list
        end
        entry = entry + regex.name_entry_size
    end
    return res
end

--- Room for `new_len` bytes, with the first `len` of `buf` in it: the buffer, its size, where to write on, `new_len`.
function _M.check_buf_size(buf, size, pos, len, new_len)
    if new_len > size then
        size = size * grow_ratio
        if size < new_len then
            size = new_len
        end
        local new = ffi_new("char[?]", size)
        ffi_copy(new, buf, len)
        buf, pos = new, new + len
    end
    return buf, size, pos, new_len
end

function _M.set_buf_grow_ratio(ratio)
    grow_ratio = ratio
end

function _M.is_regex_cache_empty()
    return kept_count == 0 and patterns.is_empty()
end

return _M
