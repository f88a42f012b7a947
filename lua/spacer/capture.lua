--- ngx.location.capture and capture_multi.

local ffi = require "ffi"
local base = require "spacer.base"
local args_lib = require "spacer.args"
local C, await, check, out, out_string = base.C, base.await, base.check, base.out, base.out_string
local ffi_string, ffi_new = ffi.string, ffi.new
local type, tostring, pairs, error, select, unpack = type, tostring, pairs, error, select, unpack

local SHARE_VARS, COPY_VARS = C.SPACER_SHARE_VARS, C.SPACER_COPY_VARS

local batch_number = ffi_new("size_t[1]")

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
    local status, truncated = C.spacer_capture_status(batch, index), false
    if status < 0 then
        status, truncated = -status - 1000, true
    end
    C.spacer_capture_body(batch, index, out)
    local body = out_string()
    local max = C.spacer_capture_count_headers(batch, index)
    local headers = ffi_new("spacer_header[?]", max)
    local header = {}
    for i = 0, C.spacer_capture_headers(batch, index, headers, max) - 1 do
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
    -- A length that nginx has as a number is one in Lua too.
    return { status = status, truncated = truncated, body = body, header = header }
end

local function run(n)
    local rc = check(C.spacer_capture_run(batch_number))
    -- Others may capture meanwhile.
    local batch = batch_number[0]
    await(rc)
    local responses = {}
    for i = 1, n do
        responses[i] = response(batch, i - 1)
    end
    C.spacer_capture_end(batch)
    return unpack(responses, 1, n)
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
        return (run(1))
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
        return run(n)
    end
end
