--- What the platform serves beside functions: the write proxy (`spacer_append`), and the events of a replay
-- (`spacer_trigger`).

local ffi = require "ffi"
local json_lib = require "spacer.json"
local base = require "spacer.base"
local functions = require "spacer.function"
local project_lib = require "spacer.project"
local topics = require "spacer.topics"
local C, WAIT, NONE, FAIL, AGAIN = base.C, base.WAIT, base.NONE, base.FAIL, base.AGAIN
local check, out, out_string, last_error, yield = base.check, base.out, base.out_string, base.last_error, base.yield
local decode, encode = json_lib.decode, json_lib.encode
local respond, respond_error, endpoints = functions.respond, functions.respond_error, functions.endpoints
local pcall, type, tonumber = pcall, type, tonumber

local APPEND, TRIGGER = C.SPACER_ENDPOINT_APPEND, C.SPACER_ENDPOINT_TRIGGER

-- Reads the request's body into `out`. Returns nil and a message when there is none.
local function read_body()
    if check(C.spacer_req_read_body()) == AGAIN then
        yield(WAIT)
    end
    local rc = check(C.spacer_req_whole_body(out))
    if rc == NONE then
        return nil, "the body is empty"
    elseif rc == FAIL then
        return nil, last_error()
    end
    return true
end

-- The JSON object of the request's body, or nil and what is wrong with it.
local function read_object()
    local read, message = read_body()
    if not read then
        return nil, message
    end
    local ok, value = pcall(decode, out_string())
    if not ok then
        return nil, "the body is not JSON: " .. value
    elseif type(value) ~= "table" or value[1] ~= nil then
        return nil, "the body must be a JSON object"
    end
    return value
end

-- {"topic": t, "entries": {key: value}} is answered with {"data": "ok"}.
endpoints[APPEND] = function()
    local read, message = read_body()
    if not read then
        return respond_error(400, message)
    end
    local status, text = topics.append_body(out[0])
    if status == 200 then
        return respond(text)
    end
    return respond_error(status, text)
end

-- Runs a function on an event: {"topic", "function", "key", "partition", "offset", "time", "attempt", "headers",
-- "value"}, the time in milliseconds.
endpoints[TRIGGER] = function(route)
    local folder, development = ffi.string(route.project.data, route.project.len), route.development
    local body, message = read_object()
    if not body then
        return respond_error(400, message)
    end
    local name, time, offset = body["function"], tonumber(body.time), tonumber(body.offset)
    if type(name) ~= "string" or type(body.topic) ~= "string" or type(body.key) ~= "string" then
        return respond_error(400, "\"function\", \"topic\" and \"key\" must be strings")
    elseif not time or not offset then
        return respond_error(400, "\"time\" and \"offset\" must be numbers")
    end
    if C.spacer_name_function(name, #name, out) ~= 0 then
        return respond_error(400, last_error())
    end
    name = out_string()
    local event = {
        topic = body.topic,
        key = body.key,
        partition = tonumber(body.partition) or 0,
        offset = offset,
        time = time / 1000,
        attempt = tonumber(body.attempt) or 1,
        headers = type(body.headers) == "table" and body.headers or {},
    }
    local project = project_lib.get(folder, development)
    if development then
        project:refresh()
    end
    local f, problem = project:load(name)
    if not f then
        problem = problem ~= nil and functions.describe(problem) or "app/" .. name .. ".lua does not exist"
        return respond_error(500, problem)
    end
    local ok, value = functions.call(f, body.value, { event = event })
    if not ok then
        return respond_error(500, value)
    end
    local encodable = pcall(encode, value)
    return respond(encodable and value or json_lib.null)
end
