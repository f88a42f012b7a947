--- ndk.set_var.DIRECTIVE(value): what another module's directive would set a variable to. There is a global `ndk`,
-- and a module of that name, where nginx has loaded the Nginx Development Kit.

local ffi = require "ffi"
local base = require "spacer.base"
local C, FAIL, check, out, out_string = base.C, base.FAIL, base.check, base.out, base.out_string
local last_error = base.last_error
local error, rawset, setmetatable, tostring, type = error, rawset, setmetatable, tostring, type

if not C.spacer_ndk_is_loaded() then
    return
end

local function text(value)
    return type(value) == "string" and value or tostring(value)
end

local found = ffi.new("const void *[1]")

local function get(self, name)
    name = text(name)
    if C.spacer_ndk_find(name, #name, found) ~= 0 then
        error('ndk.set_var: directive "' .. name .. '" not found or does not use ndk_set_var_value', 2)
    end
    local pointer = found[0]
    local function call(value)
        value = text(value)
        if check(C.spacer_ndk_call(pointer, value, #value, out)) == FAIL then
            error("calling directive " .. name .. " failed with code " .. last_error(), 2)
        end
        return out_string()
    end
    rawset(self, name, call)
    return call
end

local ndk = {
    set_var = setmetatable({}, {
        __index = get,
        __newindex = function()
            error("not allowed", 2)
        end,
    }),
}

rawset(_G, "ndk", ndk)
package.loaded.ndk = ndk
