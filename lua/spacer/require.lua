--- `require`, compiled where a module is loaded already: LuaJIT doesn't compile calls of its own, and handlers ask for
-- their modules at every request.

local loaded = package.loaded
local load = require
local type = type

function _G.require(name)
    local module = loaded[name]
    -- Lua's own marks what is being loaded with something that is no table.
    if type(module) == "table" then
        return module
    end
    return load(name)
end
