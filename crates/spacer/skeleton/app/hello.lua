-- Answers GET /hello and GET /hello/:name with {"data": "Hello, ...!"}.
--
-- args holds the query, the JSON body and the route's parameters. What a client sends may be anything: ?name is true,
-- and ?name=a&name=b a table. ctx.error(message) answers with a 4xx, and ctx.fatal(message) with a 5xx.
return function(args, ctx)
  local name = args.name or "Spacer"
  if type(name) ~= "string" or #name > 100 then
    return ctx.error("one name of at most 100 bytes, please")
  end
  return "Hello, " .. name .. "!"
end
