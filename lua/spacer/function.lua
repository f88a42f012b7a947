--- Calls a function for a request: finds it, gathers its arguments, and turns what it returns or raises into the
-- answer.
--
-- A function is called with (args, ctx). It answers 200 `{"data": value}` with what it returns; 400 `{"error":
-- message}` when it returns nil and a message or calls ctx.error(message); 500 when it raises or calls
-- ctx.fatal(message).

local ffi = require "ffi"
local cjson = require "cjson"
local base = require "spacer.base"
local args_lib = require "spacer.args"
local project_lib = require "spacer.project"
local C, WAIT, NONE, FAIL, AGAIN = base.C, base.WAIT, base.NONE, base.FAIL, base.AGAIN
local check, out, last_error = base.check, base.out, base.last_error
local ffi_string = ffi.string
local encode, decode, null = cjson.encode, cjson.decode, cjson.null
local xpcall, pcall, type, tostring, pairs, setmetatable, getmetatable, error, tonumber =
    xpcall, pcall, type, tostring, pairs, setmetatable, getmetatable, error, tonumber
local find, lower, match = string.find, string.lower, string.match
local traceback = debug.traceback
local yield = coroutine.yield

local ERR = 4

local route = ffi.new("spacer_route[1]")

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

local function header(name)
    local value = ngx.req.get_headers()[name]
    if type(value) == "table" then
        value = value[1]
    end
    return value
end

local lazy = {
    request = function()
        return {
            method = ngx.req.get_method(),
            path = ngx.var.uri,
            headers = ngx.req.get_headers(0),
            remote_addr = ngx.var.remote_addr,
        }
    end,
    -- The id of a trace is that of its root span.
    trace = function()
        C.spacer_random_id(out)
        local span = base.out_string()
        return {
            id = header("x-spacer-trace-id") or span,
            span_id = span,
            parent_span_id = header("x-spacer-span-id"),
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
            local value = make()
            self[key] = value
            return value
        end
        return nil
    end,
}

local function respond(status, head, tail)
    if C.spacer_respond(status, head, #head, tail, #tail) == FAIL then
        ngx.log(ERR, last_error())
    end
end

local function respond_error(status, message)
    respond(status, '{"error":', encode(message) .. "}")
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

-- An internal error: logged in full, and shown in development only.
local function internal_error(development, name, message, trace)
    ngx.log(ERR, "function \"", name, "\": ", message, trace and "\n" .. trace or "")
    respond_error(500, development and message or "Internal Server Error")
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
        return tostring(value)
    end
    local ok, text = pcall(encode, value)
    return "raised a " .. kind .. (ok and ": " .. text or "")
end

-- Keeps what was raised, with a traceback unless it is one of ours.
local function on_error(value)
    if getmetatable(value) == Failure then
        return value
    end
    return { text = describe(value), trace = traceback("", 2) }
end

--- Adds the request's body to `args`, or puts it into ctx.body. Returns a message when it is not what it says it is.
local function read_body(args, ctx)
    if check(C.spacer_req_has_body()) == 0 then
        return nil
    end
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
    local content_type = header("content-type")
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
        local form = args_lib.decode(body, #body, 0, {})
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

local function answer(development, name, ok, value, err)
    if not ok then
        local failure = value
        if getmetatable(failure) == Failure then
            local message = encodable(failure.message)
            if failure.status < 500 then
                return respond_error(failure.status, message)
            end
            local text = type(message) == "string" and message or encode(message)
            ngx.log(ERR, "function \"", name, "\": ", text)
            return respond_error(failure.status, development and message or "Internal Server Error")
        end
        return internal_error(development, name, failure.text, failure.trace)
    end
    if ngx.headers_sent then
        -- The function made the response itself.
        return
    end
    if err ~= nil then
        return respond_error(400, encodable(err))
    end
    local text
    if value == nil then
        text = "null"
    elseif type(value) == "function" or type(value) == "thread" or type(value) == "cdata"
        or (type(value) == "userdata" and value ~= null) then
        return internal_error(development, name, "returned a " .. type(value) .. ", which JSON can't carry")
    else
        ok, text = pcall(encode, value)
        if not ok then
            return internal_error(development, name,
                                  "returned a " .. type(value) .. " that JSON can't carry: " .. text)
        end
    end
    return respond(200, '{"data":', text .. "}")
end

local ANSWERS = {
    [403] = "forbidden",
    [404] = "not found",
    [405] = "method not allowed",
}

--- The entry: called by the scheduler, in a coroutine, for each request in one of the platform's locations.
local function dispatch()
    local rc = C.spacer_find_route(route)
    local r = route[0]
    local development = r.development
    if rc == FAIL then
        return internal_error(development, "gateway", last_error())
    end
    local status = r.status
    if status ~= 200 then
        if r.allow.len > 0 then
            C.spacer_respond_allow(r.allow.data, r.allow.len)
        end
        if status == 204 then
            C.spacer_respond(204, nil, 0, nil, 0)
            return
        end
        return respond_error(status, ANSWERS[status])
    end

    local name = ffi_string(r["function"].data, r["function"].len)
    local args, ctx = {}, setmetatable({}, ctx_mt)
    for i = 0, tonumber(r.params_len) - 1 do
        local param = r.params[i]
        args[ffi_string(param.key.data, param.key.len)] = ffi_string(param.value.data, param.value.len)
    end
    if r.pattern.len > 0 then
        ctx.route = ffi_string(r.pattern.data, r.pattern.len)
    end

    local project = project_lib.get(ffi_string(r.project.data, r.project.len), development)
    if development then
        project:refresh()
    end
    local ok, f = pcall(project.load_function, project, name)
    if not ok then
        return internal_error(development, name, describe(f))
    elseif not f then
        return respond_error(404, ANSWERS[404])
    end

    -- Where names collide, route beats query beats body.
    check(C.spacer_req_args(out))
    if out[0].len > 0 then
        local query = args_lib.decode(out[0].data, out[0].len, 0, {})
        for key, value in pairs(query) do
            if args[key] == nil then
                args[key] = value
            end
        end
    end
    local message = read_body(args, ctx)
    if message then
        return respond_error(400, message)
    end
    return answer(development, name, xpcall(f, on_error, args, ctx))
end

return { dispatch = dispatch }
