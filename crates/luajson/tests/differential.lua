-- Compares `cjson` with `peer` on random documents (for decode) and values (for encode).
--
-- OpenResty's fork words three things in its own way, which the comparing sets apart: an integer is a
-- T_INTEGER in messages, and infinities and NaN are called and written Infinity and NaN, not inf and nan.

local ours, theirs = require "cjson", require "peer"
local DOCUMENTS, VALUES, SETTINGS_EVERY = 60000, 40000, 200

math.randomseed(20)
local random = math.random

local function pick(list) return list[random(#list)] end

-- Documents -------------------------------------------------------------------------------------

local NUMBERS = {
    "0", "-0", "1", "-1", "12", "3.25", "-0.5", "1e3", "1E+5", "2e-7", "0.1", "123456789012345678",
    "9007199254740993", "9223372036854775807", "9223372036854775808", "-9223372036854775809",
    "18446744073709551616", "99999999999999999999", "123456789012345678901234567890", "1e308",
    "1e309", "-1e309", "4.9e-324", "2.2250738585072011e-308", "1e-400", "0.30000000000000004",
    "179769313486231580793e289", "8.5e22", "1e22", "1e23", "1e400000000000", "1e-99999999999",
    "0.000000000000000000000000000001", "1.7976931348623157e308", "00", "01", "-01", "1.", "-1.e2",
    "-.5", ".5", "-.", "-", "--1", "+1", "+-1", "1e", "1e+", "1e-x", "0x", "0x1F", "-0x1p4", "0X.8",
    "0x1.8p", "1x5", "00x5", "inf", "-inf", "+inf", "Infinity", "-INFINITY", "infinit", "nan", "NaN",
    "-nan", "nan(12)", "nan(", "+", "i", "N", "nul", "1.5.5", "12abc", "1 2", "0 x1",
}
local STRINGS = {
    "", "a", "name", "key", "id", "value", "hello world", "0123456789abcde", "0123456789abcdef",
    "0123456789abcdefg", "\195\188ber", "\226\130\172", "\240\159\152\128", "\255\254", "\128", "\1",
    "\\n", "\\t\\r\\b\\f\\/", "\\\"", "\\\\", "\\u0041", "\\u00e9", "\\u20AC", "\\uD83D\\uDE00",
    "\\u0000", "\\uD800", "\\uDC00", "\\uD83Dx", "\\uD83D\\u0041", "\\uD83D\\n", "\\u12", "\\u12G4",
    "\\uDBFF\\uDFFF", "\\x", "\\", "\\'", "/", "\127", "\n", "http://example.com/a/b?c=d",
}
local BLANKS = { "", "", "", "", "", " ", "\n", "\t", "\r\n    ", "  " }
local LITERALS = { "true", "false", "null" }

local function string_text()
    local parts = {}
    for i = 1, random(0, 3) do parts[i] = pick(STRINGS) end
    if random(20) == 1 then parts[#parts + 1] = ("x"):rep(random(200)) end
    return '"' .. table.concat(parts) .. '"'
end

local function value_text(depth)
    local kind = random(10)
    local before, after = pick(BLANKS), pick(BLANKS)
    local text
    if depth > 0 and kind <= 2 then
        local parts = {}
        for i = 1, random(50) == 1 and random(150) or random(0, 6) do
            parts[i] = value_text(depth - 1)
        end
        text = "[" .. table.concat(parts, ",") .. after .. "]"
    elseif depth > 0 and kind <= 5 then
        local parts = {}
        for i = 1, random(50) == 1 and random(80) or random(0, 6) do
            parts[i] = pick(BLANKS) .. string_text() .. pick(BLANKS) .. ":" .. value_text(depth - 1)
        end
        text = "{" .. table.concat(parts, ",") .. after .. "}"
    elseif kind <= 7 then
        text = random(3) == 1 and pick(NUMBERS) or ("%.17g"):format((random() - 0.5) * 10 ^ random(-20, 20))
    elseif kind == 8 then
        text = pick(LITERALS)
    else
        text = string_text()
    end
    return before .. text .. after
end

local NOISE = { "\0", '"', "\\", "{", "}", "[", "]", ",", ":", "-", "0", "e", ".", "t", "n", "\\u",
    "true", "\255", " ", "1", "x", "/", "+", "Infinity" }

local function mutated(text)
    for _ = 1, random(3) do
        local at = random(0, #text)
        local kind = random(4)
        if kind == 1 then
            text = text:sub(1, at)
        elseif kind == 2 then
            text = text:sub(1, at) .. pick(NOISE) .. text:sub(at + 1)
        elseif kind == 3 then
            text = text:sub(1, at) .. pick(NOISE) .. text:sub(at + 2)
        else
            text = text:sub(1, at) .. text:sub(at + random(4))
        end
    end
    return text
end

local function deep_text()
    local depth = random(4) == 1 and random(990, 1010) or random(2000)
    local opening, closing = {}, {}
    for i = 1, depth do
        local array = random(2) == 1
        opening[i] = array and (random(3) == 1 and "[1," or "[") or '{"a":'
        closing[depth - i + 1] = array and "]" or "}"
    end
    local text = table.concat(opening) .. "1" .. table.concat(closing)
    return random(3) == 1 and mutated(text) or text
end

local function document()
    local kind = random(100)
    if kind == 1 then return deep_text() end
    local text = value_text(random(0, 5))
    return kind <= 50 and text or mutated(text)
end

-- Values ----------------------------------------------------------------------------------------

local newproxy, coroutine = newproxy, coroutine
local UNSUPPORTED = { print, function() end, coroutine.create(print), newproxy and newproxy() or io.stdout }

local function number_value()
    local kind = random(12)
    if kind == 1 then return pick { 0, -0, 1 / 0, -1 / 0, 0 / 0, 2 ^ 53, -2 ^ 53, 2 ^ 63, 1e14, 1e15, 5e-324 } end
    if kind == 2 then return random() end
    if kind == 3 then return (random() - 0.5) * 10 ^ random(-300, 300) end
    if kind == 4 then return random(0, 999999) / 100 end
    if kind == 5 then return random(1, 99) * 10 ^ random(-20, 20) end
    if kind == 6 then return (random(2 ^ 30) + 0.5) / 2 ^ random(0, 30) end
    return random(-2 ^ 31, 2 ^ 31 - 1)
end

local function string_value()
    local parts = {}
    for i = 1, random(0, 4) do
        parts[i] = random(3) == 1 and string.char(random(0, 255)) or pick(STRINGS)
    end
    if random(20) == 1 then parts[#parts + 1] = ("x"):rep(random(200)) end
    return table.concat(parts)
end

local value

local function key()
    local kind = random(60)
    if kind <= 2 then return random() < 0.5 end
    if kind == 3 then return print end
    if kind <= 12 then
        local number = number_value()
        return number == number and number or 1
    end
    if kind <= 20 then return random(20) end
    return string_value()
end

local function table_value(depth)
    local found = {}
    local kind = random(12)
    if kind <= 5 then
        for i = 1, random(30) == 1 and random(200) or random(0, 8) do found[i] = value(depth - 1) end
    elseif kind <= 9 then
        for _ = 1, random(0, 8) do
            found[random(6) == 1 and key() or string_value()] = value(depth - 1)
        end
    elseif kind == 10 then
        for _ = 1, random(0, 5) do found[random(random(1, 40))] = value(depth - 1) end
    elseif kind == 11 then
        for i = random(6), 1, -1 do found[i] = value(depth - 1) end
        if random(3) == 1 then found[pick { 0, -1, 1.5, 2 ^ 31, 2 ^ 40, 1 / 0, "x", 100 }] = 1 end
    else
        for _ = 1, random(0, 6) do found[key()] = value(depth - 1) end
    end
    return found
end

function value(depth)
    local kind = random(40)
    if depth > 0 and kind <= 14 then return table_value(depth) end
    if kind <= 22 then return number_value() end
    if kind <= 34 then return string_value() end
    if kind <= 36 then return random() < 0.5 end
    if kind <= 38 then return ours.null end
    if random(4) == 1 then return pick(UNSUPPORTED) end
    return "plain"
end

local function deep_value()
    local found = value(0)
    for _ = 1, random(4) == 1 and random(990, 1010) or random(2000) do
        found = random(2) == 1 and { found } or { a = found }
    end
    return found
end

-- Comparing -------------------------------------------------------------------------------------

local function same(a, b)
    if type(a) ~= type(b) then return false end
    if type(a) ~= "table" then
        if a ~= a then return b ~= b end
        return a == b and (a ~= 0 or 1 / a == 1 / b)
    end
    for k, v in pairs(a) do
        if not same(v, b[k]) then return false end
    end
    for k in pairs(b) do
        if a[k] == nil then return false end
    end
    return true
end

local function message(text)
    return (tostring(text):gsub("T_INTEGER", "T_NUMBER"))
end

local function output(text)
    return (tostring(text):gsub("Infinity", "inf"):gsub("NaN or Inf$", "NaN or inf"):gsub("NaN", "nan"))
end

local function differ(what, input, a, b)
    error(("%s differs on %q:\n ours %s\n  C's %s"):format(what, tostring(input), tostring(a), tostring(b)), 0)
end

local function set(name, ...)
    ours[name](...)
    theirs[name](...)
end

local function change_settings()
    local usual = random(3) == 1
    set("decode_max_depth", usual and 1000 or pick { 1, 4, 1000, 3000 })
    set("encode_max_depth", usual and 1000 or pick { 1, 4, 1000, 3000 })
    set("decode_invalid_numbers", usual or random() < 0.5)
    set("encode_invalid_numbers", usual and "off" or pick { "off", "on", "null" })
    set("encode_number_precision", usual and 14 or random(1, 14))
    set("encode_keep_buffer", usual or random() < 0.5)
    set("encode_sparse_array", not usual and random() < 0.5, usual and 2 or random(4), usual and 10 or random(0, 20))
end

local valid, refused = 0, 0
for i = 1, DOCUMENTS do
    if i % SETTINGS_EVERY == 0 then change_settings() end
    local text = document()
    local ok, found = pcall(ours.decode, text)
    local expected_ok, expected = pcall(theirs.decode, text)
    if ok ~= expected_ok then differ("decode", text, found, expected) end
    if not ok then
        refused = refused + 1
        if message(found) ~= message(expected) then differ("error", text, found, expected) end
    else
        valid = valid + 1
        if not same(found, expected) then differ("value", text, theirs.encode(found), theirs.encode(expected)) end
    end
end
assert(valid > DOCUMENTS / 5 and refused > DOCUMENTS / 5, valid .. " valid, " .. refused .. " refused")

local encoded, unencodable = 0, 0
for i = 1, VALUES do
    if i % SETTINGS_EVERY == 0 then change_settings() end
    local input = random(100) == 1 and deep_value() or value(random(0, 5))
    local ok, found = pcall(ours.encode, input)
    local expected_ok, expected = pcall(theirs.encode, input)
    if ok ~= expected_ok or output(found) ~= output(expected) then differ("encode", input, found, expected) end
    if ok then encoded = encoded + 1 else unencodable = unencodable + 1 end
end
assert(encoded > VALUES / 5 and unencodable > VALUES / 50, encoded .. " encoded, " .. unencodable .. " not")
if os.getenv "DIFFERENTIAL_VERBOSE" then print(valid, refused, encoded, unencodable) end
