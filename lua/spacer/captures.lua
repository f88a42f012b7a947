--- Makes the functions that put the captures of a match into a table. They are written for a number of groups and for
-- names rather than looping over them: LuaJIT compiles such a function as part of whatever calls it, and a loop with
-- few rounds not at all well. All places are read before a string is made, since that may run a finalizer, which may
-- match.

local captures = require("spacer.base").C.spacer_regex_captures()
local new_tab = require "table.new"
local concat, format = table.concat, string.format
local loadstring, sub = loadstring, string.sub

-- A function with more groups than this would have too many locals, and be too long for a trace.
local MAX = 40

-- Functions for patterns without names, by the number of groups.
local by_groups = {}

local function collect_name(res, name, cap, duplicates)
    if not duplicates then
        res[name] = cap
    elseif cap then
        -- Groups of one name are a list of those that are part of the match.
        local list = res[name]
        if list then
            list[#list + 1] = cap
        else
            res[name] = { cap }
        end
    end
end

-- For any number of groups and names.
local function loop(groups, names, numbers, duplicates)
    return function(text, res)
        local places = new_tab(2 * groups + 1, 0)
        for i = 0, 2 * groups + 1 do
            places[i] = captures[i]
        end
        res = res or new_tab(groups, #names)
        for i = 0, groups do
            local from = places[2 * i]
            res[i] = from >= 0 and sub(text, from + 1, places[2 * i + 1])
        end
        for i = 1, #names do
            collect_name(res, names[i], res[numbers[i]], duplicates)
        end
        return res
    end
end

-- The table of a match with so many groups, as a constructor which LuaJIT turns into a copy.
local function constructor(groups, names, duplicates)
    local fields = {}
    for i = 0, groups do
        fields[#fields + 1] = i == 0 and "[0] = false" or "false"
    end
    if not duplicates then
        for i = 1, #names do
            fields[#fields + 1] = format("[%q] = false", names[i])
        end
    end
    return "{ " .. concat(fields, ", ") .. " }"
end

local function write(groups, names, numbers, duplicates)
    local lines = {
        "local captures, sub, collect_name = ...",
        "return function(text, res)",
    }
    for i = 0, groups do
        lines[#lines + 1] = format("local from%d, to%d = captures[%d], captures[%d]", i, i, 2 * i, 2 * i + 1)
    end
    lines[#lines + 1] = "res = res or " .. constructor(groups, names, duplicates)
    for i = 0, groups do
        lines[#lines + 1] = format("res[%d] = from%d >= 0 and sub(text, from%d + 1, to%d)", i, i, i, i)
    end
    for i = 1, #names do
        lines[#lines + 1] = format(duplicates and "collect_name(res, %q, res[%d], true)" or "res[%q] = res[%d]",
            names[i], numbers[i])
    end
    lines[#lines + 1] = "return res end"
    return loadstring(concat(lines, "\n"), "=captures")(captures, sub, collect_name)
end

--- A function (text, res) that gives `res`, or a new table, with the captures of the last match. `stays` says that it
--- is for a pattern that stays compiled.
return function(groups, names, numbers, duplicates, stays)
    if groups > MAX or #names > 0 and not stays then
        return loop(groups, names, numbers, duplicates)
    elseif #names > 0 then
        return write(groups, names, numbers, duplicates)
    end
    local collect = by_groups[groups]
    if not collect then
        collect = write(groups, names, numbers)
        by_groups[groups] = collect
    end
    return collect
end
