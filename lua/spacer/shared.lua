--- ngx.shared.DICT: dictionaries that all workers share.

local ffi = require "ffi"
local base = require "spacer.base"
local C, OK, FAIL = base.C, base.OK, base.FAIL
local out, out_string, last_error, check, bad_argument =
    base.out, base.out_string, base.last_error, base.check, base.bad_argument
local ffi_string = ffi.string
local type, tostring, tonumber, error, select, setmetatable =
    type, tostring, tonumber, error, select, setmetatable
local new_table = require "table.new"

-- Lua's numbers of its types.
local NUMBER, STRING = 3, 4

-- How to store: bits, none of them for `set`.
local SET = 0
local ADD, REPLACE, SAFE = C.SPACER_STORE_ADD, C.SPACER_STORE_REPLACE, C.SPACER_STORE_SAFE
local BOOLEAN_VALUE = C.SPACER_STORE_BOOLEAN

local value = ffi.new("spacer_dict_value")
local ends = ffi.new("const size_t *[1]")

-- The dictionary of an object, in a method that the user called.
local function dictionary(object)
    if type(object) ~= "table" then
        error("bad \"zone\" argument", 3)
    end
    local dict = object[1]
    if type(dict) ~= "cdata" then
        error("bad \"zone\" argument", 3)
    end
    return dict
end

-- A key as a string; nil and a message where it can't be one.
local function key_string(key)
    if key == nil then
        return nil, "nil key"
    end
    if type(key) ~= "string" then
        key = tostring(key)
    end
    local len = #key
    if len == 0 then
        return nil, "empty key"
    end
    if len > 65535 then
        return nil, "key too long"
    end
    return key
end

-- What the last call left in `value`.
local function content()
    local kind = value.kind
    if kind == NUMBER then
        return value.number
    elseif kind == STRING then
        return ffi_string(value.text.data, value.text.len)
    end
    return value.number ~= 0
end

-- What a method returns on a status that is not OK: nil, and a message if it failed. To be called last, as a tail call.
local function failure(rc)
    if rc == FAIL then
        return nil, last_error()
    end
    check(rc)
    return nil
end

local methods = {}
methods.__index = methods

local function get(object, key)
    local dict = dictionary(object)
    local err
    key, err = key_string(key)
    if not key then
        return nil, err
    end
    local rc = C.spacer_dict_get(dict, key, #key, value)
    if rc ~= OK then
        -- A list.
        if rc == FAIL and value.expired then
            return nil
        end
        return failure(rc)
    end
    if value.expired then
        return nil
    end
    local flags = value.flags
    if flags ~= 0 then
        return content(), flags
    end
    return content()
end
methods.get = get

function methods.get_stale(object, key)
    local dict = dictionary(object)
    local err
    key, err = key_string(key)
    if not key then
        return nil, err
    end
    local rc = C.spacer_dict_get(dict, key, #key, value)
    if rc ~= OK then
        return failure(rc)
    end
    local flags = value.flags
    return content(), flags ~= 0 and flags or nil, value.expired
end

local function store(object, how, key, new, exptime, flags)
    local dict = dictionary(object)
    if not exptime then
        exptime = 0
    elseif exptime < 0 or exptime ~= exptime then
        error("bad \"exptime\" argument", 2)
    end
    local err
    key, err = key_string(key)
    if not key then
        return nil, err
    end
    local rc
    local kind = type(new)
    if kind == "number" then
        rc = C.spacer_dict_store_number(dict, how, key, #key, new, exptime, flags or 0, value)
    elseif kind == "string" then
        rc = C.spacer_dict_store_string(dict, how, key, #key, new, #new, exptime, flags or 0, value)
    elseif kind == "boolean" then
        local number = new and 1 or 0
        rc = C.spacer_dict_store_number(dict, how + BOOLEAN_VALUE, key, #key, number, exptime, flags or 0, value)
    elseif new ~= nil then
        return nil, "bad value type"
    elseif how == ADD or how == ADD + SAFE or how == REPLACE then
        return false, "attempt to add or replace nil values", false
    else
        check(C.spacer_dict_delete(dict, key, #key))
        return true, nil, false
    end
    if rc == OK then
        return true, nil, value.forcible
    end
    check(rc)
    return false, last_error(), value.forcible
end

function methods.set(object, key, new, exptime, flags)
    return store(object, SET, key, new, exptime, flags)
end

function methods.safe_set(object, key, new, exptime, flags)
    return store(object, SAFE, key, new, exptime, flags)
end

function methods.add(object, key, new, exptime, flags)
    return store(object, ADD, key, new, exptime, flags)
end

function methods.safe_add(object, key, new, exptime, flags)
    return store(object, ADD + SAFE, key, new, exptime, flags)
end

function methods.replace(object, key, new, exptime, flags)
    return store(object, REPLACE, key, new, exptime, flags)
end

function methods.delete(object, key)
    return store(object, SET, key, nil)
end

-- A number that an option is, or what converts to one.
local function number_option(option, name)
    local number = option
    if type(option) ~= "number" then
        number = tonumber(option)
        if not number then
            error("bad " .. name .. " arg: number expected, got " .. type(option), 3)
        end
    end
    return number
end

function methods.incr(object, key, by, init, init_ttl)
    local dict = dictionary(object)
    local err
    key, err = key_string(key)
    if not key then
        return nil, err
    end
    -- The reference makes it a number first, and then finds nil.
    by = tonumber(by) or error("cannot convert 'nil' to 'double'", 2)
    if init then
        init = number_option(init, "init")
    end
    if init_ttl ~= nil then
        init_ttl = number_option(init_ttl, "init_ttl")
        if init_ttl < 0 or init_ttl ~= init_ttl then
            error("bad \"init_ttl\" argument", 2)
        end
        if not init then
            error("must provide \"init\" when providing \"init_ttl\"", 2)
        end
    end
    local rc = C.spacer_dict_incr(dict, key, #key, by, init and true or false, init or 0, init_ttl or 0, value)
    if rc ~= OK then
        return failure(rc)
    end
    if init then
        return value.number, nil, value.forcible
    end
    return value.number
end

function methods.ttl(object, key)
    local dict = dictionary(object)
    local err
    key, err = key_string(key)
    if not key then
        return nil, err
    end
    local rc = C.spacer_dict_ttl(dict, key, #key, value)
    if rc ~= OK then
        return failure(rc)
    end
    return value.number
end

function methods.expire(object, key, exptime)
    local dict = dictionary(object)
    if not exptime or exptime ~= exptime then
        error("bad \"exptime\" argument", 2)
    end
    -- A number in a string is one, and true isn't 1 as it would be for the call below.
    exptime = exptime + 0
    local err
    key, err = key_string(key)
    if not key then
        return nil, err
    end
    local rc = C.spacer_dict_expire(dict, key, #key, exptime)
    if rc ~= OK then
        return failure(rc)
    end
    return true
end

function methods.flush_all(object)
    check(C.spacer_dict_flush_all(dictionary(object)))
end

function methods.capacity(object)
    return C.spacer_dict_capacity(dictionary(object))
end

function methods.free_space(object)
    check(C.spacer_dict_free_space(dictionary(object), value))
    return value.number
end

-- The optional number that follows the object; `otherwise` where it is left out.
local function limit(name, otherwise, ...)
    local n = select("#", ...)
    if n ~= 1 and n ~= 2 then
        error("expecting 1 or 2 argument(s), but saw " .. n, 3)
    end
    if n == 1 then
        return otherwise
    end
    local given = select(2, ...)
    local number = tonumber(given)
    if not number then
        bad_argument(1, name, "number expected, got " .. type(given), 1)
    end
    return number
end

function methods.flush_expired(...)
    local max = limit("flush_expired", 0, ...)
    check(C.spacer_dict_flush_expired(dictionary((...)), max, value))
    return value.number
end

function methods.get_keys(...)
    local max = limit("get_keys", 1024, ...)
    check(C.spacer_dict_keys(dictionary((...)), max, ends, value))
    local count, data = value.number, value.text.data
    local keys = new_table(count, 0)
    local from = 0
    for i = 1, count do
        local to = tonumber(ends[0][i - 1])
        keys[i] = ffi_string(data + from, to - from)
        from = to
    end
    return keys
end

-- A list's key, which is a string or a number; nil and a message where it is empty or too long.
local function list_key(name, key)
    local kind = type(key)
    if kind ~= "string" and kind ~= "number" and key ~= nil then
        bad_argument(1, name, "string expected, got " .. kind, 1)
    end
    return key_string(key)
end

local function arguments(n, expected)
    if n ~= expected then
        error("expecting " .. expected .. " arguments, but only seen " .. n, 3)
    end
end

local function push(name, left)
    return function(...)
        arguments(select("#", ...), 3)
        local object, key, item = ...
        local dict = dictionary(object)
        local err
        key, err = list_key(name, key)
        if not key then
            return nil, err
        end
        local rc
        local kind = type(item)
        if kind == "string" then
            rc = C.spacer_dict_push(dict, left, key, #key, item, #item, 0, value)
        elseif kind == "number" then
            rc = C.spacer_dict_push(dict, left, key, #key, nil, 0, item, value)
        else
            return nil, "bad value type"
        end
        if rc ~= OK then
            return failure(rc)
        end
        return value.number
    end
end
methods.lpush = push("lpush", true)
methods.rpush = push("rpush", false)

local function pop(name, left)
    return function(...)
        arguments(select("#", ...), 2)
        local object, key = ...
        local dict = dictionary(object)
        local err
        key, err = list_key(name, key)
        if not key then
            return nil, err
        end
        local rc = C.spacer_dict_pop(dict, left, key, #key, value)
        if rc ~= OK then
            return failure(rc)
        end
        return content()
    end
end
methods.lpop = pop("lpop", true)
methods.rpop = pop("rpop", false)

function methods.llen(...)
    arguments(select("#", ...), 2)
    local object, key = ...
    local dict = dictionary(object)
    local err
    key, err = list_key("llen", key)
    if not key then
        return nil, err
    end
    local rc = C.spacer_dict_len(dict, key, #key, value)
    if rc ~= OK then
        return failure(rc)
    end
    return value.number
end

return function(ngx)
    local shared = {}
    local index = 0
    local dict = C.spacer_dict_at(index, out)
    while dict ~= nil do
        shared[out_string()] = setmetatable({ dict }, methods)
        index = index + 1
        dict = C.spacer_dict_at(index, out)
    end
    ngx.shared = shared
end
