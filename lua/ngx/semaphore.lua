--- ngx.semaphore: light threads, of any requests of a worker, that wait for each other.

local ffi = require "ffi"
local base = require "spacer.base"
local C, await, last_error, RAISE = base.C, base.await, base.last_error, base.RAISE
local ffi_gc, ffi_new = ffi.gc, ffi.new
local error, type, tonumber, setmetatable = error, type, tonumber, setmetatable

local _M = { version = "0.1.25" }
local mt = { __index = _M }

local function check(self)
    if type(self) ~= "table" or type(self.sem) ~= "cdata" then
        error("not a semaphore instance", 3)
    end
    return self.sem
end

--- A semaphore with `n` resources, 0 by default.
function _M.new(n)
    n = tonumber(n) or 0
    if n < 0 then
        error("no negative number", 2)
    end
    local sem = ffi_new("spacer_semaphore")
    C.spacer_semaphore_init(sem, n)
    return setmetatable({ sem = ffi_gc(sem, C.spacer_semaphore_free) }, mt)
end

--- Takes a resource, or waits for one for at most so many seconds; nil and "timeout" when there was none.
function _M.wait(self, seconds)
    local sem = check(self)
    local milliseconds = tonumber(seconds) * 1000
    if milliseconds < 0 then
        error("no negative number", 2)
    end
    local rc = await(C.spacer_semaphore_wait(sem, milliseconds))
    if rc == 0 then
        return true
    elseif rc == RAISE then
        error(last_error(), 2)
    end
    return nil, last_error()
end

--- Adds `n` resources, 1 by default.
function _M.post(self, n)
    local sem = check(self)
    n = n and tonumber(n) or 1
    if n < 1 then
        error("positive number required", 2)
    end
    C.spacer_semaphore_post(sem, n)
    return true
end

--- How many resources are there or, negative, how many wait for one.
function _M.count(self)
    return tonumber(C.spacer_semaphore_count(check(self)))
end

return _M
