--- coroutine.*: a coroutine of the user's own that waits (sleeps, reads a body) makes the coroutine that resumed it
-- wait as well, down to the one that the scheduler knows.

local base = require "spacer.base"
local WAIT = base.WAIT
local error, type = error, type
local co_create, co_resume, co_yield, co_status =
    coroutine.create, coroutine.resume, coroutine.yield, coroutine.status

-- Passes waiting on, until the coroutine yields for its resumer, returns or fails.
local function settle(co, ...)
    local ok, first = ...
    if ok and first == WAIT and co_status(co) == "suspended" then
        return settle(co, co_resume(co, co_yield(WAIT)))
    end
    return ...
end

local function resume(co, ...)
    return settle(co, co_resume(co, ...))
end
coroutine.resume = resume

local function unwrap(ok, ...)
    if not ok then
        local message = ...
        error(message, type(message) == "string" and 0 or 1)
    end
    return ...
end

function coroutine.wrap(f)
    local co = co_create(f)
    return function(...)
        return unwrap(resume(co, ...))
    end
end
