--- A project's modules: found in `app/` and `lib/`, kept apart from those of other projects in the same nginx, and
-- read again, in development, when one of their files has changed.

local base = require "spacer.base"
local C = base.C
local pcall, error, setfenv, setmetatable, rawget, type, pairs, loadfile, require =
    pcall, error, setfenv, setmetatable, rawget, type, pairs, loadfile, require
local gsub = string.gsub

local Project = {}
Project.__index = Project

-- Where a module may be, relative to the project.
local PLACES = { "/app/?.lua", "/lib/?.lua", "/app/?/init.lua", "/lib/?/init.lua" }

local projects = {}

local function stamp(file)
    return C.spacer_file_stamp(file, #file)
end

local LOADING = {}

--- The project in a folder. `development` makes it look for changed files.
local function get(folder, development)
    local project = projects[folder]
    if not project then
        project = setmetatable({ folder = folder, development = development }, Project)
        project:forget()
        projects[folder] = project
    end
    return project
end

--- Drops everything that was loaded.
function Project:forget()
    self.loaded = {}
    self.functions = {}
    -- file -> its stamp when it was read; 0 for one that was looked for in vain.
    self.files = {}
    local env = {}
    for name, value in pairs(_G) do
        env[name] = value
    end
    env._G = env
    env.require = function(name)
        return self:require(name)
    end
    self.env = setmetatable(env, { __index = _G })
end

--- Forgets the modules when a file they came from has changed, appeared or gone.
function Project:refresh()
    for file, seen in pairs(self.files) do
        if stamp(file) ~= seen then
            self:forget()
            return
        end
    end
end

function Project:find(name)
    local path = gsub(name, "%.", "/")
    for i = 1, #PLACES do
        local file = self.folder .. gsub(PLACES[i], "?", (gsub(path, "%%", "%%%%")))
        local seen = stamp(file)
        if self.development then
            self.files[file] = seen
        end
        if seen ~= 0 then
            return file
        end
    end
    return nil
end

--- As Lua's `require`, for the project's own modules first: "models/foo" and "models.foo" are the same.
function Project:require(name)
    if type(name) ~= "string" then
        error("bad argument #1 to 'require' (string expected, got " .. type(name) .. ")", 2)
    end
    local key = gsub(name, "/", ".")
    local loaded = self.loaded[key]
    if loaded == LOADING then
        error("loop or previous error loading module '" .. name .. "'", 2)
    elseif loaded ~= nil then
        return loaded
    end
    local file = self:find(key)
    if not file then
        return require(name)
    end
    local chunk, message = loadfile(file)
    if not chunk then
        error("error loading module '" .. name .. "':\n" .. message, 0)
    end
    setfenv(chunk, self.env)
    self.loaded[key] = LOADING
    local ok, value = pcall(chunk, name)
    if not ok then
        self.loaded[key] = nil
        error(value, 0)
    end
    if value == nil then
        local set = self.loaded[key]
        value = set ~= LOADING and set or true
    end
    self.loaded[key] = value
    return value
end

--- The function of that name; nil when there is no such file, an error when it is broken.
function Project:load_function(name)
    local f = rawget(self.functions, name)
    if f then
        return f
    end
    local file = self.folder .. "/app/" .. name .. ".lua"
    local seen = stamp(file)
    if self.development then
        self.files[file] = seen
    end
    if seen == 0 then
        return nil
    end
    f = self:require(name)
    if type(f) ~= "function" then
        error("app/" .. name .. ".lua must return a function, but returned "
              .. (f == true and "nothing" or "a " .. type(f)), 0)
    end
    self.functions[name] = f
    return f
end

return { get = get }
