package Topics;

# The project of the suites about topics: a shop whose functions append to its topics and look into them, and others that
# events trigger. Each block has an event log of its own.

use strict;
use warnings;

use Exporter 'import';
use Platform;

our @EXPORT = qw(use_shop);

my $SHOP = <<'END';
>>> app/gateway.lua
return {
    {"ANY", "/append/:topic/:key", "append"},
    {"ANY", "/read/:topic", "read"},
    {"ANY", "/last/:topic/:key", "last"},
    {"ANY", "/offsets/:topic", "offsets"},
    {"ANY", "/wrong/:what", "wrong"},
    {"ANY", "/wait/:topic/:key", "wait"},
    {"ANY", "/seen", "seen"},
    {"ANY", "/plain", "plain"},
    {"ANY", "/caught", "caught"},
}
>>> config/application.yml
spacerVersion: 1
appName: shop
topics: [orders, bills, tries]
events:
  orders: { APPEND: [bill, note] }
  tries: { APPEND: [try] }
maxAttempts: 3
retryDelay: 20ms
>>> app/append.lua
local topics = require "topics"
return function(args)
    local entries = { [args.key] = args.value or { total = tonumber(args.total) or 1 } }
    if args.also then entries[args.also] = "also" end
    local ok, offsets = topics.append(args.topic, entries)
    return { ok, offsets[args.key], args.also and offsets[args.also] }
end
>>> app/read.lua
return function(args)
    local events, next = topics.read(args.topic, {
        from = tonumber(args.from), limit = tonumber(args.limit), key = args.key,
    })
    local found = {}
    for i, event in ipairs(events) do
        found[i] = event.offset .. ":" .. event.key
    end
    return { table.concat(found, " "), next }
end
>>> app/last.lua
return function(args)
    local event = topics.last(args.topic, args.key)
    if not event then return "none" end
    local age = ngx.now() - event.time
    return { event.offset, event.value, event.topic, age > -5 and age < 60 }
end
>>> app/offsets.lua
return function(args)
    local one = topics.offsets(args.topic)[1]
    local groups = {}
    for i, group in ipairs(one.groups) do groups[i] = { group.group, group.committed, group.lag } end
    return { one.partition, one.first, one.next, groups }
end
>>> app/wrong.lua
local cases = {
    topic = function() topics.append("nothing", { a = 1 }) end,
    dead = function() topics.append("bills.dead", { a = 1 }) end,
    empty = function() topics.append("bills", {}) end,
    key = function() topics.append("bills", { 1 }) end,
    value = function() topics.append("bills", { a = print }) end,
    utf8 = function() topics.append("bills", { ["\255"] = 1 }) end,
    large = function() topics.append("bills", { a = string.rep("x", 1024 * 1024) }) end,
    ["long-key"] = function() topics.append("bills", { [string.rep("k", 5000)] = 1 }) end,
    number = function() topics.append(1, { a = 1 }) end,
    entries = function() topics.append("bills") end,
    limit = function() topics.read("bills", { limit = 0 }) end,
    from = function() topics.read("bills", { from = -1 }) end,
    partition = function() topics.read("bills", { partition = 7 }) end,
    last = function() topics.last("bills") end,
    offsets = function() topics.offsets("nothing") end,
}
return function(args)
    local ok, message = pcall(cases[args.what])
    return { ok, message }
end
>>> app/wait.lua
return function(args)
    for _ = 1, 200 do
        local event = topics.last(args.topic, args.key)
        if event then
            return args.headers and event.headers or event.value
        end
        ngx.sleep(0.01)
    end
    return "nothing came"
end
>>> app/bill.lua
return function(args, ctx)
    local event = ctx.event
    topics.append("bills", { [event.key] = {
        total = args.total, offset = event.offset, attempt = event.attempt, topic = event.topic,
        phase = ngx.get_phase(), request = ctx.request == nil, trace = ctx.trace.id,
        parent = ctx.trace.parent_span_id, span = #ctx.trace.span_id,
    } })
    args.total = nil
end
>>> app/note.lua
return function(args, ctx)
    topics.append("bills", { ["note-" .. ctx.event.key] = args.total or "gone" })
end
>>> app/seen.lua
return function(args, ctx)
    return { ctx.trace.id, ctx.event == nil }
end
>>> app/try.lua
local tried = {}
return function(args, ctx)
    local key = ctx.event.key
    tried[#tried + 1] = key .. ctx.event.attempt
    if args == "forever" or (args == "once" and ctx.event.attempt == 1) then error("no luck with " .. key) end
    if args == "nil" then return nil, "not today" end
    if args == "error" then ctx.error("not like this") end
    if args == "say" then ngx.say("hello") end
    if args == "var" then return ngx.var.uri end
    if args == "capture" then ngx.location.capture("/plain") end
    if args == "exit" then ngx.exit(200) end
    if args == "sleep" then ngx.sleep(0.01) end
    topics.append("bills", { ["tried-" .. key] = table.concat(tried, " ") })
end
>>> app/plain.lua
return function() return "plain" end
>>> app/caught.lua
return function()
    local ok, message = pcall(topics.append, "bills", { a = 1 })
    return { ok, (message:gsub("^.-event log", "event log")) }
end
END

sub use_shop() {
    use_platform($SHOP);
}

1;
