--- A project's modules: found in `app/` and `lib/`, kept apart from those of other projects in the same nginx, and
-- read again, in development, when one of their files has changed.

local base = require "spacer.base"
local C = base.C
local pcall, error, setfenv, setmetatable, type, pairs, loadstring, require, tostring =
    pcall, error, setfenv, setmetatable, type, pairs, loadstring, require, tostring
local gsub = string.gsub
local open = io.open

local EACCES = 13

local Project = {}
Project.__index = Project

-- Where a module may be, relative to the project.
local PLACES = { "app/?.lua", "lib/?.lua", "app/?/init.lua", "lib/?/init.lua" }

-- What the platform gives a project under names that others may use for their own.
local PLATFORM = { topics = "spacer.topics" }

local LOADING = {}

local in_development, in_production = {}, {}

--- The project in a folder. `development` makes it look for changed files.
local function get(folder, development)
    local projects = development and in_development or in_production
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
    -- The functions by name, and what is wrong with those that can't be loaded.
    self.functions, self.broken = {}, {}
    -- Absolute path of a file -> its stamp when it was read; 0 for one that was looked for in vain.
    self.files = {}
    local env = {}
    for name, value in pairs(_G) do
        env[name] = value
    end
    env._G = env
    env.topics = require "spacer.topics"
    env.require = function(name)
        return self:require(name)
    end
    self.env = setmetatable(env, { __index = _G })
end

--- Whether the file, named relative to the project, is there. In development it is watched from then on.
function Project:exists(file)
    local path = self.folder .. "/" .. file
    local stamp = C.spacer_file_stamp(path, #path)
    if self.development then
        self.files[path] = stamp
    end
    return stamp ~= 0
end

--- Forgets the modules when a file they came from has changed, appeared or gone.
function Project:refresh()
    for path, seen in pairs(self.files) do
        if C.spacer_file_stamp(path, #path) ~= seen then
            self:forget()
            return
        end
    end
end

function Project:find(name)
    local path = gsub(gsub(name, "%.", "/"), "%%", "%%%%")
    for i = 1, #PLACES do
        local file = gsub(PLACES[i], "?", path)
        if self:exists(file) then
            return file
        end
    end
    return nil
end

--- Compiles a file. Error messages and tracebacks name it relative to the project.
function Project:compile(file)
    local input, message = open(self.folder .. "/" .. file, "rb")
    local text
    if input then
        text, message = input:read("*a")
        input:close()
    end
    if not text then
        error(file .. " can't be read: " .. tostring(message), 0)
    end
    -- A first line that starts with "#" is for the shell.
    local chunk, syntax_error = loadstring(gsub(text, "^#", "--#", 1), "@" .. file)
    if not chunk then
        error(syntax_error, 0)
    end
    return setfenv(chunk, self.env)
end

--- As Lua's `require`, for the project's own modules first: "models/foo" and "models.foo" are the same.
function Project:require(name)
    if type(name) ~= "string" then
        error("bad argument #1 to 'require' (string expected, got " .. type(name) .. ")", 2)
    end
    local loaded = self.loaded
    local value = loaded[name]
    if value ~= nil and value ~= LOADING then
        return value
    end
    local key = gsub(name, "/", ".")
    value = loaded[key]
    if value == LOADING then
        error("loop or previous error loading module '" .. name .. "'", 2)
    elseif value == nil then
        local file = self:find(key)
        if file then
            local chunk = self:compile(file)
            loaded[key] = LOADING
            local ok, result = pcall(chunk, name)
            if not ok then
                loaded[key] = nil
                error(result, 0)
            end
            value = result
            if value == nil then
                value = true
            end
        else
            value = require(PLATFORM[key] or name)
        end
        loaded[key] = value
    end
    loaded[name] = value
    return value
end

local function load_function(self, name)
    local f = self:require(name)
    if type(f) ~= "function" then
        error("app/" .. name .. ".lua must return a function, but returned "
              .. (f == true and "nothing" or "a " .. type(f)), 0)
    end
    return f
end

--- The function of that name; nil when there is no such file. When it can't be loaded: nil and what loading raised.
function Project:load(name)
    local f = self.functions[name]
    if f then
        return f
    end
    local broken = self.broken[name]
    if broken ~= nil then
        return nil, broken
    end
    local file = "app/" .. name .. ".lua"
    if not self:exists(file) then
        -- It may be there for others.
        local _, message, code = open(self.folder .. "/" .. file, "rb")
        return nil, code == EACCES and file .. " can't be read: " .. message or nil
    end
    local ok, result = pcall(load_function, self, name)
    if ok then
        self.functions[name] = result
        return result
    end
    if result == nil then
        result = "raised nil"
    end
    -- In development saving any file of the project heals it, but it may also depend on something else.
    if not self.development then
        self.broken[name] = result
    end
    return nil, result
end

return { get = get }
