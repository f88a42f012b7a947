-- For wrk: appends so many events a request (the first argument) under random keys, each number of them to a topic of its
-- own, which has no trigger; a second argument is another path that gets the same requests.
-- At the end, a line of JSON with what was answered.
local thread_counter = 0
local KEYS = 10000
local REQUESTS = 1000
local VALUE = '{"customer":4711,"total":129.9,"currency":"EUR","items":[1,2,3]}'

-- Of each thread, which has a Lua of its own.
requests, at = {}, 0

function setup(thread)
  thread_counter = thread_counter + 1
  thread:set("number", thread_counter)
end

-- They are made beforehand: a client that shares the machine with the server should cost little.
function init(args)
  local batch, path = tonumber(args[1]), args[2] or "/append"
  math.randomseed(number)
  for i = 1, REQUESTS do
    local entries = {}
    local first = math.random(KEYS)
    for j = 1, batch do
      entries[j] = ('"key-%d":%s'):format((first + j) % KEYS, VALUE)
    end
    local body = '{"topic":"load-' .. batch .. '","entries":{' .. table.concat(entries, ",") .. "}}"
    requests[i] = wrk.format("POST", path, { ["Content-Type"] = "application/json" }, body)
  end
end

function request()
  at = at % REQUESTS + 1
  return requests[at]
end

function done(summary, latency)
  local errors = summary.errors
  io.write(('\nresult {"requests":%d,"microseconds":%d,"refused":%d,"broken":%d,"p99":%d}\n'):format(
    summary.requests, summary.duration, errors.status, errors.connect + errors.read + errors.write + errors.timeout,
    latency:percentile(99)))
end
