--- ngx.process: what nginx calls the process that Lua runs in, and its master.

local C = require("spacer.base").C

local _M = { version = "0.1.25" }

local TYPES = { [0] = "single", "master", "signaller", "worker", "helper" }

--- "single" without a master, "master" also while the configuration is read, "worker", or "helper" for one that
-- manages caches.
function _M.type()
    return TYPES[C.spacer_process_type()]
end

--- The master's id; without one the process' own.
function _M.get_master_pid()
    return C.spacer_master_pid()
end

--- Has this process end, as a signal QUIT does, when it is done with its requests.
function _M.signal_graceful_exit()
    C.spacer_process_quit()
end

--- nil and an error: of nginx only OpenResty's starts such a process.
function _M.enable_privileged_agent(connections)
    if ngx.get_phase() ~= "init" then
        return nil, "API disabled in the current context"
    end
    if connections and (type(connections) ~= "number" or connections < 0) then
        return nil, "bad 'connections' argument: number expected and greater than 0"
    end
    return nil, "missing privileged agent process patch in the nginx core"
end

return _M
