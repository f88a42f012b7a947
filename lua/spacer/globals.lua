--- Warns of a global variable that a request's Lua makes: all requests of the worker share it.

local base = require "spacer.base"
local C = base.C
local rawset, setmetatable, tostring = rawset, setmetatable, tostring
local traceback = require("spacer.tasks").traceback

-- Phases whose Lua runs for requests.
local INIT, INIT_WORKER = 1, 2
local WARN = 5

setmetatable(_G, {
    __newindex = function(t, name, value)
        local phase = C.spacer_phase_bits()
        if phase ~= 0 and phase ~= INIT and phase ~= INIT_WORKER and name ~= "_" then
            local text = "[lua] _G write guard:12: __newindex(): writing a global Lua variable ('" .. tostring(name)
                .. "') which may lead to race conditions between concurrent requests, so prefer the use of 'local' "
                .. "variables" .. traceback(1)
            C.spacer_log_plain(WARN, text, #text)
        end
        rawset(t, name, value)
    end,
})
