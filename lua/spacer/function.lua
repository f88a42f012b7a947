--- Calls a function for a request: finds it, gathers its arguments, and turns what it returns or raises into the
-- answer.
--
-- A function is called with (args, ctx). It answers `{"data": value}` with what it returns, and with the status that
-- it has set, or else 200; 400 `{"error": message}` when it returns nil and a message or calls ctx.error(message); 500
-- when it raises or calls ctx.fatal(message).

local ffi = require "ffi"
local json_lib = require "spacer.json"
local base = require "spacer.base"
local args_lib = require "spacer.args"
local project_lib = require "spacer.project"
local topics = require "spacer.topics"
local C, WAIT, NONE, FAIL, AGAIN = base.C, base.WAIT, base.NONE, base.FAIL, base.AGAIN
local check, out, last_error = base.check, base.out, base.last_error
local ffi_string = ffi.string
local encode, decode, null = json_lib.encode, json_lib.decode, json_lib.null
local xpcall, pcall, type, tostring, pairs, setmetatable, getmetatable, error, tonumber =
    xpcall, pcall, type, tostring, pairs, setmetatable, getmetatable, error, tonumber
local find, lower, match = string.find, string.lower, string.match
local decode_args = args_lib.decode
local traceback = debug.traceback
local yield = base.yield

local ERR = require("spacer.constants").ERR

local DATA, ERROR, STATUS_SET = C.SPACER_ANSWER_DATA, C.SPACER_ANSWER_ERROR, C.SPACER_STATUS_SET

local route = ffi.new("spacer_route")
local ids = ffi.new("spacer_trace_ids")

-- What ctx.error and ctx.fatal raise.
local Failure = {}

local function fail(status, message)
    error(setmetatable({ status = status, message = message }, Failure), 0)
end

local function failure_status(status, default, from, to)
    if status == nil then
        return default
    end
    status = tonumber(status)
    if not status or status < from or status > to then
        error("the status must be a number from " .. from .. " to " .. to, 3)
    end
    return status
end

-- What every ctx has; the rest is made when it is first asked for.
local methods = {
    error = function(message, status)
        fail(failure_status(status, 400, 400, 499), message)
    end,
    fatal = function(message, status)
        fail(failure_status(status, 500, 500, 599), message)
    end,
}

local function string_of(text)
    return ffi_string(text.data, text.len)
end

local lazy = {
    -- A function that an event has triggered answers no request.
    request = function(self)
        if self.event then
            return nil
        end
        return {
            method = ngx.req.get_method(),
            path = ngx.var.uri,
            headers = ngx.req.get_headers(0),
            remote_addr = ngx.var.remote_addr,
        }
    end,
    trace = function()
        check(C.spacer_trace(ids))
        return {
            id = string_of(ids.id),
            span_id = string_of(ids.span_id),
            parent_span_id = ids.parent_span_id.len > 0 and string_of(ids.parent_span_id) or nil,
        }
    end,
}

local ctx_mt = {
    __index = function(self, key)
        local method = methods[key]
        if method then
            return method
        end
        local make = lazy[key]
        if make then
            local value = make(self)
            self[key] = value
            return value
        end
        return nil
    end,
}

-- `json` is a value in JSON.
local function respond(status, kind, json)
    if check(C.spacer_respond(status, kind, json, #json)) == FAIL then
        ngx.log(ERR, last_error())
    end
end

local function respond_error(status, message)
    respond(status, ERROR, encode(message))
end

-- A message that JSON can carry: as it is, or, where it can't be encoded, as text.
local function encodable(message)
    if message == nil then
        return "unknown error"
    elseif pcall(encode, message) then
        return message
    end
    return tostring(message)
end

-- What the log says of a function's failure.
local function log_text(name, message, trace)
    local text = type(message) == "string" and message or encode(message)
    return "function \"" .. name .. "\": " .. text .. (trace or "")
end

-- Once the header is sent it is too late for a status: the error is logged, and the connection closed, so that the
-- client sees that something is missing.
local function break_off(name, message, trace)
    error(log_text(name, message, trace), 0)
end

-- An internal error: logged in full, and shown in development only.
local function internal_error(development, name, status, message, trace)
    if ngx.headers_sent then
        return break_off(name, message, trace)
    end
    local text = log_text(name, message, trace)
    -- Not ngx.log, which would name this line.
    C.spacer_log_plain(ERR, text, #text)
    respond_error(status, development and message or "Internal Server Error")
end

--- What a raised value says, for the log and for who develops.
local function describe(value)
    local kind = type(value)
    if kind == "string" then
        return value
    elseif kind == "number" then
        return tostring(value)
    elseif value == nil then
        return "raised nil"
    end
    local mt = getmetatable(value)
    if type(mt) == "table" and mt.__tostring then
        local ok, text = pcall(tostring, value)
        if ok then
            return text
        end
    end
    local ok, text = pcall(encode, value)
    return "raised a " .. kind .. (ok and ": " .. text or "")
end

-- Keeps what was raised, with a traceback unless it is one of ours.
local function on_error(value)
    if getmetatable(value) == Failure then
        return value
    end
    return setmetatable({ message = describe(value), trace = traceback("", 2) }, Failure)
end

-- A function that got some of its arguments only would do something else than was asked for.
local function too_many(what, max_args)
    return "the " .. what .. " has more than " .. max_args .. " arguments"
end

--- Adds the request's body to `args`, or puts it into ctx.body. Returns a message when it is not what it says it is, or
-- is a form with more than `max_args` fields.
local function read_body(args, ctx, max_args)
    if check(C.spacer_req_read_body()) == AGAIN then
        yield(WAIT)
    end
    local rc = check(C.spacer_req_whole_body(out))
    if rc == NONE then
        return nil
    elseif rc == FAIL then
        error(last_error(), 0)
    end
    local body = ffi_string(out[0].data, out[0].len)
    local content_type = ngx.var.content_type
    local media = content_type and lower(match(content_type, "^%s*([^;%s]*)")) or ""
    local is_json = media == "application/json" or find(media, "+json", 1, true) ~= nil
    local is_form = media == "application/x-www-form-urlencoded"
    -- `curl -d '{...}'` says that it sends a form.
    local looks_json = (is_form or media == "") and find(body, "^%s*{") ~= nil
    if is_json or looks_json then
        local ok, value = pcall(decode, body)
        if ok and type(value) == "table" and find(body, "^%s*{") then
            for key, item in pairs(value) do
                if args[key] == nil then
                    args[key] = item
                end
            end
            return nil
        elseif ok and is_json then
            ctx.body = value
            return nil
        elseif is_json then
            return "the body is not JSON: " .. value
        end
    end
    if is_form then
        local form, truncated = decode_args(body, #body, max_args, {})
        if truncated then
            return too_many("form", max_args)
        end
        for key, item in pairs(form) do
            if args[key] == nil then
                args[key] = item
            end
        end
        return nil
    end
    ctx.body = body
    return nil
end

-- Says that the store of the project's topics is away, once for all requests in the log, which the store itself does.
local function is_unavailable(failure)
    local text, message = topics.unavailable, failure.message
    return text ~= nil and failure.trace ~= nil and type(message) == "string" and find(message, text, 1, true) ~= nil
end

-- The function failed: it raised, or called ctx.error or ctx.fatal.
local function answer_failure(development, name, failure)
    if getmetatable(failure) ~= Failure then
        -- on_error wasn't called, since there was no memory for that, or failed, since there was no stack for it.
        if failure == "not enough memory" then
            check(C.spacer_out_of_memory())
        elseif failure == "error in error handling" then
            failure = "stack overflow"
        end
        return internal_error(development, name, 500, tostring(failure))
    end
    if is_unavailable(failure) and not ngx.headers_sent then
        return respond_error(503, development and failure.message or "service unavailable")
    end
    local status, message = failure.status or 500, encodable(failure.message)
    if status >= 500 then
        return internal_error(development, name, status, message, failure.trace)
    elseif ngx.headers_sent then
        return break_off(name, message)
    end
    return respond_error(status, message)
end

local function answer(development, name, ok, value, err)
    if not ok then
        return answer_failure(development, name, value)
    end
    if C.spacer_response_begun() then
        -- The function made the response itself.
        return
    end
    if err ~= nil and value == nil then
        return respond_error(400, encodable(err))
    end
    local kind = type(value)
    if kind == "function" or kind == "thread" or kind == "cdata" or (kind == "userdata" and value ~= null) then
        return internal_error(development, name, 500, "returned a " .. kind .. ", which JSON can't carry")
    end
    local encoded, json = pcall(encode, value)
    if not encoded then
        return internal_error(development, name, 500, "returned a " .. kind .. " that JSON can't carry: " .. json)
    end
    return respond(STATUS_SET, DATA, json)
end

local ANSWERS = {
    [403] = "forbidden",
    [404] = "not found",
    [405] = "method not allowed",
}

-- What needs no function: a path or a method that the gateway doesn't know, a private function asked for from afar.
local function refuse(status)
    if route.allow.len > 0 then
        check(C.spacer_respond_allow(route.allow.data, route.allow.len))
    end
    if status == 204 then
        check(C.spacer_respond(204, DATA, nil, 0))
        return
    end
    return respond_error(status, ANSWERS[status])
end

--- A function as a route reaches it: what a request needs to call it, by the number that stands for the route.
-- `params` are the names of the route's parameters. Production fills this as requests come; in development, where
-- files change, each request makes its own.
local targets = {}

local function load_target(development)
    local name = string_of(route["function"])
    local project = project_lib.get(string_of(route.project), development)
    if development then
        project:refresh()
    end
    local f, message = project:load(name)
    if not f then
        if message ~= nil then
            return nil, internal_error(development, name, 500, describe(message))
        elseif development then
            return nil, respond_error(404, 'function "' .. name .. '" not found: app/' .. name .. ".lua does not exist")
        end
        return nil, respond_error(404, ANSWERS[404])
    end
    local params = {}
    for i = 1, tonumber(route.params_len) do
        params[i] = string_of(route.params[i - 1].key)
    end
    local pattern = route.pattern.len > 0 and string_of(route.pattern) or nil
    local target = { f = f, name = name, pattern = pattern, params = params }
    if not development and route.target ~= 0 then
        targets[route.target] = target
    end
    return target
end

-- What is served that isn't a function, by the number that the route has for it; `spacer.endpoints` fills it.
local endpoints = {}

--- The entry: called by the scheduler, in a coroutine, for each request in one of the platform's locations.
local function dispatch()
    if check(C.spacer_find_route(route)) == FAIL then
        return internal_error(route.development, "gateway", 500, last_error())
    elseif route.status ~= 200 then
        return refuse(route.status)
    elseif route.endpoint ~= 0 then
        return endpoints[route.endpoint](route)
    end
    local development = route.development
    local target = targets[route.target]
    if not target then
        target = load_target(development)
        if not target then
            return
        end
        -- Loading ran the project's code, which may have waited while another request came this way.
        check(C.spacer_find_route(route))
    end

    -- Where names collide, route beats query beats body.
    local args, ctx = {}, setmetatable({ route = target.pattern }, ctx_mt)
    local query, max_args = route.query, route.max_args
    if query.len > 0 then
        local _, truncated = decode_args(query.data, query.len, max_args, args)
        if truncated then
            return respond_error(400, too_many("query", max_args))
        end
    end
    local params = target.params
    for i = 1, #params do
        args[params[i]] = string_of(route.params[i - 1].value)
    end
    if route.has_body then
        local message = read_body(args, ctx, max_args)
        if message then
            return respond_error(400, message)
        end
    end
    return answer(development, target.name, xpcall(target.f, on_error, args, ctx))
end

--- Calls a function outside a request of its own. Returns true, or false and what it failed with, for the log.
local function call(f, args, ctx)
    local ok, value, err = xpcall(f, on_error, args, setmetatable(ctx, ctx_mt))
    if ok then
        if value == nil and err ~= nil then
            return false, describe(err)
        end
        return true, value
    end
    if getmetatable(value) ~= Failure then
        return false, tostring(value)
    end
    return false, describe(value.message) .. (value.trace or "")
end

return {
    dispatch = dispatch,
    call = call,
    describe = describe,
    endpoints = endpoints,
    respond = function(value)
        respond(200, DATA, encode(value))
    end,
    respond_error = respond_error,
    refuse = refuse,
}
