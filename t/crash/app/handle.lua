--- Handles an event, slowly, and records when it begins and how it ends. `trouble` is "once" where the first attempt
--- fails, "always" where all do, "kill" where the worker dies of each, "slow" where it outlasts the lease.
local cjson = require "cjson"

local calls = 0

-- A line is one write, and so is whole even when the worker is killed.
local function record(line)
  ngx.update_time()
  line.time = ngx.now()
  local file = assert(io.open(os.getenv("CRASH_HANDLED"), "a"))
  file:write(cjson.encode(line), "\n")
  assert(file:close())
end

return function(args, ctx)
  local event = ctx.event
  calls = calls + 1
  local run = ngx.worker.pid() .. "-" .. calls
  local function step(what)
    record { ["do"] = what, run = run, id = args.id, key = event.key, attempt = event.attempt }
  end
  step "begin"
  ngx.sleep(args.trouble == "slow" and 7.5 or math.random() * 0.01)
  if args.trouble == "kill" then
    os.execute("kill -9 $PPID")
  end
  if args.trouble == "always" or args.trouble == "once" and event.attempt == 1 then
    step "fail"
    error("trouble with " .. args.id)
  end
  step "end"
end
