--- Runs the functions of an event, one after the other, in the coroutine that was started for it. The first that fails
-- ends that; the event then comes again, for that one and those behind it.

local json_lib = require "spacer.json"
local project_lib = require "spacer.project"
local functions = require "spacer.function"
local topics = require "spacer.topics"
local decode, pcall = json_lib.decode, pcall
local call, describe = functions.call, functions.describe

-- The function of that name, or nil and why it can't be called.
local function load_function(project, name)
    local f, message = project:load(name)
    if f then
        return f
    elseif message ~= nil then
        return nil, describe(message)
    end
    return nil, "app/" .. name .. ".lua does not exist"
end

--- Calls one function for an event, whose value is JSON. Returns true and its result, or false and a message.
local function run(project, name, event, json)
    local f, message = load_function(project, name)
    if not f then
        return false, message
    end
    -- Each function has a value of its own, which it may change.
    local decoded, args = pcall(decode, json)
    if not decoded then
        return false, "the event's value is not JSON: " .. args
    end
    return call(f, args, { event = event })
end

return function()
    local event, json, folder, development = topics.current_event()
    local project = project_lib.get(folder, development)
    if development then
        project:refresh()
    end
    local name = topics.event_function(false)
    while name do
        local ok, message = run(project, name, event, json)
        if not ok then
            return topics.event_done("function \"" .. name .. "\": " .. message)
        end
        name = topics.event_function(true)
    end
    topics.event_done(nil)
end
