--- ngx.thread, ngx.timer, ngx.on_abort.

local tasks = require "spacer.tasks"

return function(ngx)
    ngx.thread = {
        spawn = tasks.spawn,
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
