--- ngx.thread, ngx.timer, ngx.on_abort.

local base = require "spacer.base"
local tasks = require "spacer.tasks"
local keep, spawn = base.keep, tasks.spawn

return function(ngx)
    ngx.thread = {
        spawn = function(...)
            return keep(spawn(...))
        end,
        wait = tasks.wait,
        kill = tasks.kill,
    }
    ngx.timer = {
        at = tasks.at,
        every = tasks.every,
        pending_count = tasks.pending_count,
        running_count = tasks.running_count,
    }
    ngx.on_abort = tasks.on_abort
end
