--- ngx.var: nginx's variables. A name's handle is looked up once.

local ffi = require "ffi"
local base = require "spacer.base"
local C, check, out = base.C, base.check, base.out
local ffi_string = ffi.string
local type, tostring, error, setmetatable = type, tostring, error, setmetatable

local handles = {}

local function get(_, name)
    local rc
    local handle = handles[name]
    if handle then
        rc = C.spacer_var_get(handle, out)
    elseif type(name) == "string" then
        handle = C.spacer_var_handle(name, #name)
        if handle >= 0 then
            handles[name] = handle
            rc = C.spacer_var_get(handle, out)
        else
            rc = C.spacer_var_get_by_name(name, #name, out)
        end
    elseif type(name) == "number" then
        rc = C.spacer_var_capture(name, out)
    else
        error("bad variable name", 2)
    end
    if rc == 0 then
        return ffi_string(out[0].data, out[0].len)
    end
    check(rc)
    return nil
end

local function set(_, name, value)
    if type(name) ~= "string" then
        error("bad variable name", 2)
    end
    if value == nil then
        check(C.spacer_var_set(name, #name, nil, 0))
    else
        value = tostring(value)
        check(C.spacer_var_set(name, #name, value, #value))
    end
end

return setmetatable({}, { __index = get, __newindex = set })
