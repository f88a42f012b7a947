--- coroutine.*: a coroutine of the user's own that waits (sleeps, reads a body) makes the coroutine that resumed it
-- wait as well, down to the one that the scheduler knows. Meanwhile nobody else may resume either.

local base = require "spacer.base"
local tasks = require "spacer.tasks"
local WAIT = base.WAIT
local task_state, note_failed, create = tasks.state, tasks.note_failed, tasks.create
local error, type, setmetatable = error, type, setmetatable
local co_create, co_resume, co_yield, co_status, co_running =
    coroutine.create, coroutine.resume, coroutine.yield, coroutine.status, coroutine.running

local WEAK = { __mode = "k" }
-- Those of the user's coroutines that wait, whose status is not Lua's own.
local waiting = setmetatable({}, WEAK)
-- Those that have resumed one which waits.
local resuming = setmetatable({}, WEAK)

local function status(co)
    local own = co_status(co)
    if own == "suspended" then
        if resuming[co] then
            return "normal"
        end
        return task_state(co) or waiting[co] and "running" or own
    elseif own == "dead" and task_state(co) == "zombie" then
        return "zombie"
    end
    return own
end

local settle

local function waited(co, resumer, ...)
    waiting[co] = nil
    resuming[resumer] = nil
    return settle(co, co_resume(co, ...))
end

-- Passes waiting on, until the coroutine yields for its resumer, returns or fails.
function settle(co, ...)
    local ok, first = ...
    if ok and first == WAIT and co_status(co) == "suspended" then
        local resumer = co_running()
        waiting[co] = true
        resuming[resumer] = true
        return waited(co, resumer, co_yield(WAIT))
    end
    return ...
end

local function resume(co, ...)
    if waiting[co] or task_state(co) then
        return false, "cannot resume " .. status(co) .. " coroutine"
    end
    return settle(co, co_resume(co, ...))
end

-- LuaJIT has one text for those that run and those that have resumed another.
local function named(co, ...)
    local ok, message = ...
    if not ok and message == "cannot resume non-suspended coroutine" then
        return false, "cannot resume " .. co_status(co) .. " coroutine"
    end
    return ...
end

local function resume_named(co, ...)
    return named(co, resume(co, ...))
end

local function unwrap(co, ok, ...)
    if not ok then
        local message = ...
        if type(message) ~= "string" then
            error(message, 1)
        elseif co_running() == nil then
            -- As Lua's own: where nothing can wait the caller's position comes in front.
            error(message, 2)
        end
        note_failed(co, message)
        error(message, 0)
    end
    return ...
end

coroutine._create, coroutine._resume, coroutine._yield, coroutine._status = co_create, co_resume, co_yield, co_status
coroutine.__create, coroutine.__resume, coroutine.__yield, coroutine.__status = create, resume_named, co_yield, status
coroutine.create, coroutine.resume, coroutine.status = create, resume_named, status

function coroutine.wrap(f)
    local co = create(f)
    return function(...)
        return unwrap(co, resume(co, ...))
    end
end
