--- resty.core.base: what libraries share that call C functions by FFI. Numbers that such functions return, buffers for
-- what they write, and the request.

local ffi = require "ffi"
local C = require("spacer.base").C
local ffi_new, ffi_cast, ffi_typeof = ffi.new, ffi.cast, ffi.typeof
local ceil = math.ceil
local error, select = error, select

-- The type is nginx's own, by the names under which libraries declare functions that take it.
ffi.cdef [[
typedef struct ngx_http_request_s ngx_http_request_t;
]]
local request_type = ffi_typeof "ngx_http_request_t *"
local bytes_type = ffi_typeof "char[?]"

local _M = {
    version = require("resty.core").version,
    new_tab = require "table.new",
    clear_tab = require "table.clear",
    FFI_OK = 0,
    FFI_ERROR = -1,
    FFI_AGAIN = -2,
    FFI_BUSY = -3,
    FFI_DONE = -4,
    FFI_DECLINED = -5,
    FFI_NO_REQ_CTX = -100,
    FFI_BAD_CONTEXT = -101,
}

-- In bytes.
local buffer_size = 4096
local buffer
local size = ffi_new "size_t[1]"
local message = ffi_new "char *[1]"

--- The `ngx_http_request_t *` of the request that runs; nil where there is none.
function _M.get_request()
    local r = C.spacer_request()
    if r ~= nil then
        return ffi_cast(request_type, r)
    end
    return nil
end

--- A `char *[1]`, the same for all, for a function that sets it to an error's text.
function _M.get_errmsg_ptr()
    return message
end

--- A `size_t[1]`, the same for all.
function _M.get_size_ptr()
    return size
end

function _M.get_string_buf_size()
    return buffer_size
end

--- How large the shared buffer is when it is next made.
function _M.set_string_buf_size(bytes)
    if bytes > 0 then
        buffer, buffer_size = nil, ceil(bytes)
    end
end

--- A `char[]` of at least so many bytes: the one that all share, unless it is too small or `own` asks for another.
function _M.get_string_buf(bytes, own)
    if own or bytes > buffer_size then
        return ffi_new(bytes_type, bytes)
    end
    if not buffer then
        buffer = ffi_new(bytes_type, buffer_size)
    end
    return buffer
end

--- Keeps a value in a table under a number of its own, which it returns; -1 for nil. In place 0 the table has the
-- number that was last given back, and in the place of that the one before.
function _M.ref_in_table(values, value)
    if value == nil then
        return -1
    end
    local place = values[0]
    if place and place ~= 0 then
        values[0] = values[place]
    else
        place = #values + 1
    end
    values[place] = value
    return place
end

--- Raises an error unless "http" is among the arguments.
function _M.allows_subsystem(...)
    for i = 1, select("#", ...) do
        if select(i, ...) == "http" then
            return
        end
    end
    error("unsupported subsystem: http", 2)
end

return _M
