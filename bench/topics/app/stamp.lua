--- Writes down when an event's function starts, by the clock that scripts/bench-topics reads as well.
local ffi = require "ffi"

ffi.cdef [[
struct bench_time { long seconds; long nanoseconds; };
int clock_gettime(int clock, struct bench_time *time);
]]

local CLOCK_MONOTONIC = 1
local time = ffi.new("struct bench_time")

return function(args)
  ffi.C.clock_gettime(CLOCK_MONOTONIC, time)
  local now = tonumber(time.seconds) + tonumber(time.nanoseconds) / 1e9
  local file = assert(io.open(os.getenv("BENCH_STAMPS"), "a"))
  file:write(('{"id":%d,"time":%.6f}\n'):format(args.id, now))
  assert(file:close())
end
