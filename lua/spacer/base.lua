--- What every part of the runtime stands on: the boundary functions, their statuses, and how Lua waits, returns an
-- error, or raises one.

local ffi = require "ffi"

ffi.cdef(require "spacer.declarations")

local C = ffi.C
local ffi_string = ffi.string
local error = error
local yield = require "spacer.yield"
local getinfo = debug.getinfo

local _M = {
    C = C,
    OK = C.SPACER_OK,
    FAIL = C.SPACER_FAIL,
    AGAIN = C.SPACER_AGAIN,
    RAISE = C.SPACER_RAISE,
    NONE = C.SPACER_NONE,
    -- Yielded when a coroutine waits, so that a coroutine of the user's own passes it on to the scheduler.
    WAIT = require "spacer.wait",
    yield = yield,
}

local FAIL, AGAIN, RAISE = _M.FAIL, _M.AGAIN, _M.RAISE
local WAIT = _M.WAIT

-- One string that a boundary function gives back, read before the next call.
local out = ffi.new("spacer_str[1]")
_M.out = out

function _M.out_string()
    return ffi_string(out[0].data, out[0].len)
end

local function last_error()
    C.spacer_last_error(out)
    return ffi_string(out[0].data, out[0].len)
end
_M.last_error = last_error

--- Waits when the call said so; returns the final status.
function _M.await(rc)
    if rc == AGAIN then
        return yield(WAIT)
    end
    return rc
end

--- What an API function returns for a status: 1, or nil and a message. To be called last, as a tail call: an error
-- is then raised where the API function was called.
function _M.result(rc)
    if rc == AGAIN then
        rc = yield(WAIT)
    end
    if rc >= 0 then
        return 1
    end
    if rc == FAIL then
        return nil, last_error()
    end
    error(last_error(), 2)
end

--- Raises the error of a call that was misused, at the caller of the API function. Returns the status otherwise.
--- `above` is how many functions stand between the API function and this one.
function _M.check(rc, above)
    if rc == RAISE then
        error(last_error(), 3 + (above or 0))
    end
    return rc
end

--- Raises "bad argument #1 to 'sleep' (number expected, got nil)", with the name that the function was called by.
--- `above` is how many functions stand between the API function and this one.
function _M.bad_argument(n, _, message, above)
    local level = 2 + (above or 0)
    local info = getinfo(level, "n")
    error("bad argument #" .. n .. " to '" .. (info and info.name or "?") .. "' (" .. message .. ")", level + 1)
end

return _M
