local topics = require "topics"

return function(args, ctx)
    local row = topics.last("products", args.customer)
    if not row then
        ctx.error("nothing is known of " .. args.customer, 404)
    end
    return row.value.bought
end
