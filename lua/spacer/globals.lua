--- Warns of a global variable that a request's Lua makes: all requests of the worker share it.

local base = require "spacer.base"
local C = base.C
local rawset, setmetatable, tostring = rawset, setmetatable, tostring
local traceback = require("spacer.tasks").traceback

-- Phases whose Lua runs for nobody's request.
local NONE, INIT, INIT_WORKER = C.SPACER_PHASE_BIT_NONE, C.SPACER_PHASE_BIT_INIT, C.SPACER_PHASE_BIT_INIT_WORKER
local WARN = require("spacer.constants").WARN

setmetatable(_G, {
    __newindex = function(t, name, value)
        local phase = C.spacer_phase_bits()
        if phase ~= NONE and phase ~= INIT and phase ~= INIT_WORKER and name ~= "_" then
            local text = "[lua] _G write guard:12: __newindex(): writing a global Lua variable ('" .. tostring(name)
                .. "') which may lead to race conditions between concurrent requests, so prefer the use of 'local' "
                .. "variables" .. traceback(1)
            C.spacer_log_plain(WARN, text, #text)
        end
        rawset(t, name, value)
    end,
})
