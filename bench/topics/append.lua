-- For wrk: appends so many events a request (the first argument) to a topic without a trigger, under keys of its own.
-- At the end, a line of JSON with what was answered.
local thread_counter = 0
local KEYS = 10000
local VALUE = '{"customer":4711,"total":129.9,"currency":"EUR","items":[1,2,3]}'

function setup(thread)
  thread_counter = thread_counter + 1
  thread:set("number", thread_counter)
end

function init(args)
  batch = tonumber(args[1])
  math.randomseed(number)
end

function request()
  local entries = {}
  local first = math.random(KEYS)
  for i = 1, batch do
    entries[i] = ('"key-%d":%s'):format((first + i) % KEYS, VALUE)
  end
  local body = '{"topic":"load","entries":{' .. table.concat(entries, ",") .. "}}"
  return wrk.format("POST", "/append", { ["Content-Type"] = "application/json" }, body)
end

function done(summary, latency)
  local errors = summary.errors
  io.write(('\nresult {"requests":%d,"microseconds":%d,"refused":%d,"broken":%d,"p99":%d}\n'):format(
    summary.requests, summary.duration, errors.status, errors.connect + errors.read + errors.write + errors.timeout,
    latency:percentile(99)))
end
