--- topics: the project's durable event log.

local ffi = require "ffi"
local json_lib = require "spacer.json"
local base = require "spacer.base"
local C, WAIT, NONE, FAIL, AGAIN, RAISE = base.C, base.WAIT, base.NONE, base.FAIL, base.AGAIN, base.RAISE
local out, out_string, last_error, yield = base.out, base.out_string, base.last_error, base.yield
local encode, decode = json_lib.encode, json_lib.decode
local type, pairs, error, pcall, tonumber = type, pairs, error, pcall, tonumber
local floor = math.floor

local offsets_of = ffi.new("const double *[1]")

local _M = {
    -- The text of the last error that says that the store is away, by which a caller tells it from others.
    unavailable = nil,
}

local function bad_argument(n, name, expected, value)
    error("bad argument #" .. n .. " to 'topics." .. name .. "' (" .. expected .. " expected, got "
          .. (value == nil and "nil" or type(value)) .. ")", 3)
end

-- Waits for the call and gives its status back; raises what went wrong where the API function was called.
local function finish(rc)
    if rc == AGAIN then
        rc = yield(WAIT)
    end
    if rc == FAIL then
        _M.unavailable = last_error()
        error(_M.unavailable, 3)
    elseif rc == RAISE then
        error(last_error(), 3)
    end
    return rc
end

-- Stores the events of `entries`. Returns the keys in the order of their offsets, or nil and a message, and whether
-- the caller may try again later.
local function append(topic, entries)
    if C.spacer_topics_begin(topic, #topic) ~= 0 then
        return nil, last_error()
    end
    local keys, n = {}, 0
    for key, value in pairs(entries) do
        if type(key) ~= "string" then
            return nil, "the key of an event must be a string, got a " .. type(key)
        end
        local ok, json = pcall(encode, value)
        if not ok then
            return nil, "the value of key \"" .. key .. "\" can't be JSON: " .. json
        end
        if C.spacer_topics_add(key, #key, json, #json) ~= 0 then
            return nil, last_error()
        end
        n = n + 1
        keys[n] = key
    end
    local rc = C.spacer_topics_append()
    if rc == AGAIN then
        rc = yield(WAIT)
    end
    if rc ~= 0 then
        return nil, last_error(), rc == FAIL
    end
    return keys
end

-- The offset of each key's event.
local function offsets_by_key(keys)
    local offsets = {}
    for i = 1, tonumber(C.spacer_topics_offsets(offsets_of)) do
        offsets[keys[i]] = offsets_of[0][i - 1]
    end
    return offsets
end

--- Appends one event for each key of `entries` ({ [key] = value }), all of them or none. Returns "ok" and the offsets
-- by key once they are durable; raises otherwise.
function _M.append(topic, entries)
    if type(topic) ~= "string" then
        bad_argument(1, "append", "string", topic)
    elseif type(entries) ~= "table" then
        bad_argument(2, "append", "table", entries)
    end
    local keys, message, away = append(topic, entries)
    if not keys then
        if away then
            _M.unavailable = message
        end
        error("topics.append: " .. message, 2)
    end
    return "ok", offsets_by_key(keys)
end

--- Appends what the body of a request to the write proxy asks for. Returns the HTTP status and "ok" or a message.
function _M.append_body(body)
    local rc = C.spacer_topics_post(body.data, body.len)
    if rc == NONE then
        return 401, "the header Authorization must be Bearer and the project's writeProxyToken"
    elseif rc == 0 then
        rc = C.spacer_topics_append()
    end
    if rc == AGAIN then
        rc = yield(WAIT)
    end
    if rc == 0 then
        return 200, "ok"
    end
    return rc == FAIL and 503 or 400, last_error()
end

local DEFAULT_LIMIT, MAX_LIMIT = 100, 10000

local function integer(options, name, default, from, to)
    local value = options[name]
    if value == nil then
        return default
    end
    if type(value) ~= "number" or floor(value) ~= value or value < from or value > to then
        error("topics.read: " .. name .. " must be an integer from " .. from .. " to " .. to, 3)
    end
    return value
end

local function result()
    C.spacer_topics_result(out)
    return decode(out_string())
end

--- Reads up to `limit` (100) events of a topic in the order of their offsets, beginning at `from` (the first event
-- that is left), of `partition` (0), only those of `key` if given. Returns an array of
-- { topic, partition, offset, key, value, time, headers } and the offset to go on from.
function _M.read(topic, options)
    if type(topic) ~= "string" then
        bad_argument(1, "read", "string", topic)
    end
    options = options or {}
    if type(options) ~= "table" then
        bad_argument(2, "read", "table", options)
    end
    local from = integer(options, "from", 0, 0, 2 ^ 53)
    local limit = integer(options, "limit", DEFAULT_LIMIT, 1, MAX_LIMIT)
    local partition = integer(options, "partition", 0, 0, 2 ^ 31)
    local key = options.key
    if key ~= nil and type(key) ~= "string" then
        error("topics.read: key must be a string", 2)
    end
    finish(C.spacer_topics_read(topic, #topic, partition, from, limit, key, key and #key or 0))
    local page = result()
    return page.events, page.next
end

--- The newest event of a key, or nil.
function _M.last(topic, key)
    if type(topic) ~= "string" then
        bad_argument(1, "last", "string", topic)
    elseif type(key) ~= "string" then
        bad_argument(2, "last", "string", key)
    end
    if finish(C.spacer_topics_last(topic, #topic, key, #key)) == NONE then
        return nil
    end
    return result()
end

--- For each partition of a topic: { partition, first, next, groups = { { group, committed, lag } } }.
function _M.offsets(topic)
    if type(topic) ~= "string" then
        bad_argument(1, "offsets", "string", topic)
    end
    finish(C.spacer_topics_extent(topic, #topic))
    return result()
end

-- What an event is to the function that it triggers, as ctx.event.
local event = ffi.new("spacer_event")
local name = ffi.new("spacer_str")

local function string_of(text)
    return ffi.string(text.data, text.len)
end

--- The event that the current coroutine was started for, its value as JSON, its project's folder, and whether that
-- is in development.
function _M.current_event()
    if C.spacer_event_get(event) == NONE then
        return nil
    end
    local headers = {}
    for i = 0, tonumber(event.headers_len) - 1 do
        local header = event.headers[i]
        headers[string_of(header.key)] = string_of(header.value)
    end
    return {
        topic = string_of(event.topic),
        key = string_of(event.key),
        partition = event.partition,
        offset = event.offset,
        token = event.token,
        time = event.time,
        attempt = event.attempt,
        headers = headers,
    }, string_of(event.value), string_of(event.project), event.development
end

--- The name of the event's function that runs from here on: the one to begin with or, with `next`, the one behind it;
-- nil at the end.
function _M.event_function(next)
    if C.spacer_event_function(next, name) == NONE then
        return nil
    end
    return string_of(name)
end

--- Says how the event's functions ended: without a message, well.
function _M.event_done(message)
    C.spacer_event_done(message, message and #message or 0)
end

return _M
