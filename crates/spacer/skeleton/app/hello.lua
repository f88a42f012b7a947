-- Answers GET /hello and GET /hello/:name with {"data": "Hello, ...!"}.
--
-- args holds the query, the JSON body and the route's parameters. ctx.error(message) answers with a 4xx, and
-- ctx.fatal(message) with a 5xx.
return function(args, ctx)
  local name = args.name or "Spacer"
  if #name > 100 then
    return ctx.error("a name of at most 100 bytes, please")
  end
  return "Hello, " .. name .. "!"
end
