--- Makes the global `ngx`. Run once in each VM; returns what the scheduler needs of it.

require "spacer.require"
local ffi = require "ffi"
local base = require "spacer.base"
local C, check, out, out_string = base.C, base.check, base.out, base.out_string
local rawset, type, error, setmetatable, tonumber = rawset, type, error, setmetatable, tonumber

local ngx = require "spacer.constants"
ngx.null = require "cjson".null
ngx.req, ngx.resp = {}, {}

ngx.var = require "spacer.var"
require "spacer.output"(ngx)
require "spacer.headers"(ngx)
require("spacer.args").install(ngx)
require "spacer.encoding"(ngx)
require "spacer.regex"(ngx)
require "spacer.request"(ngx)
require "spacer.time"(ngx)
require "spacer.capture"(ngx)
require("spacer.arg")(ngx)
require "spacer.coroutines"
require "spacer.threads"(ngx)
require "spacer.shared"(ngx)

-- ngx.ctx tables, by the number that each request holds.
local ctx_tables = {}

local function get_ctx()
    local slot = check(C.spacer_ctx_slot())
    local t = ctx_tables[slot]
    if t == nil then
        t = {}
        ctx_tables[C.spacer_new_ctx_slot()] = t
    end
    return t
end

local function set_ctx(t)
    if type(t) ~= "table" then
        error("ctx should be a table while getting a " .. type(t), 3)
    end
    check(C.spacer_new_ctx_slot())
    ctx_tables[C.spacer_new_ctx_slot()] = t
end

--- A number under which the subrequest that is added next finds `t` as its ngx.ctx.
function base.share_ctx(t)
    local slot = C.spacer_reserve_ctx_slot()
    ctx_tables[slot] = t
    return slot
end

local getters = {
    ctx = get_ctx,
    status = function() return check(C.spacer_status()) end,
    headers_sent = function() return check(C.spacer_headers_sent()) ~= 0 end,
    is_subrequest = function() return check(C.spacer_is_subrequest()) ~= 0 end,
}

setmetatable(ngx, {
    __index = function(_, key)
        local getter = getters[key]
        if getter then
            return getter()
        end
        return nil
    end,
    __newindex = function(self, key, value)
        if key == "ctx" then
            set_ctx(value)
        elseif key == "status" then
            local status = tonumber(value)
            if not status then
                error("number expected, got " .. type(value), 2)
            end
            check(C.spacer_set_status(status))
        else
            rawset(self, key, value)
        end
    end,
})

function ngx.get_phase()
    C.spacer_phase(out)
    return out_string()
end

local function string_of(fill)
    return function()
        fill(out)
        return out_string()
    end
end

ngx.config = {
    subsystem = "http",
    debug = C.spacer_nginx_debug(),
    prefix = string_of(C.spacer_prefix),
    nginx_version = C.spacer_nginx_version(),
    nginx_configure = string_of(C.spacer_nginx_configure),
    -- The version of the reference implementation whose interface this is.
    ngx_lua_version = 10029,
}

-- nginx's NGX_MAX_PROCESSES.
local PROCESSES_MAX = 1024

ngx.worker = {
    exiting = function() return C.spacer_worker_exiting() end,
    pid = function() return C.spacer_worker_pid() end,
    count = function() return C.spacer_worker_count() end,
    id = function()
        local id = C.spacer_worker_id()
        return id >= 0 and id or nil
    end,
    pids = function()
        local phase = ngx.get_phase()
        if phase == "init" or phase == "init_worker" then
            return nil, "API disabled in the current context"
        end
        local ids = ffi.new("int[?]", PROCESSES_MAX)
        local pids = {}
        for i = 1, tonumber(C.spacer_worker_pids(ids, PROCESSES_MAX)) do
            pids[i] = ids[i - 1]
        end
        return pids
    end,
}

rawset(_G, "ngx", ngx)
package.loaded.ngx = ngx
require "spacer.log"(ngx)

require "spacer.globals"
require "spacer.endpoints"
require "spacer.ndk"

return {
    ctx_tables = ctx_tables,
    -- What runs without a directive, in the order in which the module asks for it.
    entries = { require("spacer.function").dispatch, require "spacer.trigger" },
}
