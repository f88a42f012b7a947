--- ngx.location.capture and capture_multi.

local ffi = require "ffi"
local base = require "spacer.base"
local args_lib = require "spacer.args"
local new_table = require "table.new"
local C, await, check = base.C, base.await, base.check
local ffi_string = ffi.string
local type, tostring, pairs, error, select, unpack = type, tostring, pairs, error, select, unpack

local SHARE_VARS, COPY_VARS = C.SPACER_SHARE_VARS, C.SPACER_COPY_VARS

local batch_number = ffi.new("size_t[1]")
local found = ffi.new("spacer_response")

-- Adds one subrequest to the batch. Errors are raised at the caller of the API function.
local function add(ngx, index, uri, options)
    if type(uri) == "number" then
        uri = tostring(uri)
    elseif type(uri) ~= "string" then
        error("bad argument #1 to 'capture' (string expected, got " .. (uri == nil and "nil" or type(uri)) .. ")", 3)
    end
    local query, method, body, forward, vars_action = "", ngx.HTTP_GET, nil, false, 0
    local vars, shared
    if options ~= nil then
        if type(options) ~= "table" then
            error("expecting table as the 2nd argument for subrequest " .. index .. ", but got " .. type(options), 3)
        end
        local value = options.args
        local kind = type(value)
        if kind == "table" then
            query = args_lib.encode(value)
        elseif kind == "string" or kind == "number" then
            query = tostring(value)
        elseif value ~= nil then
            error("Bad args option value", 3)
        end
        vars = options.vars
        if vars ~= nil and type(vars) ~= "table" then
            error("Bad vars option value", 3)
        end
        value = options.share_all_vars
        if value ~= nil and type(value) ~= "boolean" then
            error("Bad share_all_vars option value", 3)
        elseif value then
            vars_action = SHARE_VARS
        end
        value = options.copy_all_vars
        if value ~= nil and type(value) ~= "boolean" then
            error("Bad copy_all_vars option value", 3)
        elseif value then
            vars_action = COPY_VARS
        end
        forward = options.always_forward_body and true or false
        value = options.method
        if value ~= nil then
            if type(value) ~= "number" then
                error("Bad http request method", 3)
            end
            method = value
        end
        value = options.ctx
        if value ~= nil then
            if type(value) ~= "table" then
                error("Bad ctx option value type " .. type(value) .. ", expected a Lua table", 3)
            end
            shared = value
        end
        value = options.body
        kind = type(value)
        if kind == "string" or kind == "number" then
            body = tostring(value)
        elseif value ~= nil then
            error("Bad http request body", 3)
        end
    end
    local body_len = body and #body or 0
    local slot = shared and base.share_ctx(shared) or 0
    check(C.spacer_capture_add(uri, #uri, query, #query, method, body, body_len, forward, vars_action, slot), 1)
    if vars then
        for name, value in pairs(vars) do
            if type(name) ~= "string" then
                error("attempt to use a non-string key in the \"vars\" option table", 3)
            end
            local kind = type(value)
            if kind ~= "string" and kind ~= "number" then
                error("attempt to use bad variable value type " .. kind, 3)
            end
            value = tostring(value)
            C.spacer_capture_var(name, #name, value, #value)
        end
    end
end

local function response(batch, index)
    C.spacer_capture_response(batch, index, found)
    local n, headers = found.headers_len, found.headers
    local header = new_table(0, n)
    for i = 0, n - 1 do
        local name = ffi_string(headers[i].name.data, headers[i].name.len)
        local value = ffi_string(headers[i].value.data, headers[i].value.len)
        local old = header[name]
        if old == nil then
            header[name] = value
        elseif type(old) == "table" then
            old[#old + 1] = value
        else
            header[name] = { old, value }
        end
    end
    return {
        status = found.status,
        truncated = found.truncated,
        body = ffi_string(found.body.data, found.body.len),
        header = header,
    }
end

-- Issues what was added and waits for the responses, to be read from the batch that is returned.
local function run()
    local rc = check(C.spacer_capture_run(batch_number), 1)
    -- Others may capture meanwhile.
    local batch = batch_number[0]
    await(rc)
    return batch
end

return function(ngx)
    ngx.location = {}

    function ngx.location.capture(...)
        local n = select("#", ...)
        if n ~= 1 and n ~= 2 then
            error("expecting one or two arguments", 2)
        end
        check(C.spacer_capture_begin())
        local uri, options = ...
        add(ngx, 0, uri, options)
        local batch = run()
        local answer = response(batch, 0)
        C.spacer_capture_end(batch)
        return answer
    end

    function ngx.location.capture_multi(...)
        local n = select("#", ...)
        if n ~= 1 then
            error("only one argument is expected, but got " .. n, 2)
        end
        local requests = ...
        if type(requests) ~= "table" then
            error("bad argument #1 to 'capture_multi' (table expected, got " .. type(requests) .. ")", 2)
        end
        n = #requests
        if n == 0 then
            error("at least one subrequest should be specified", 2)
        end
        check(C.spacer_capture_begin())
        for i = 1, n do
            local request = requests[i]
            if type(request) ~= "table" then
                error("the query argument " .. (i - 1) .. " is not a table, but a " .. type(request), 2)
            end
            local count = #request
            if count ~= 1 and count ~= 2 then
                error("query argument " .. (i - 1) .. " expecting one or two arguments", 2)
            end
            add(ngx, i - 1, request[1], request[2])
        end
        local batch = run()
        local responses = new_table(n, 0)
        for i = 1, n do
            responses[i] = response(batch, i - 1)
        end
        C.spacer_capture_end(batch)
        return unpack(responses, 1, n)
    end
end
