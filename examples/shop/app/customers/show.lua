local topics = require "topics"

return function(args, ctx)
    local row = topics.last("totals", args.customer)
    if not row then
        ctx.error("no orders of " .. args.customer, 404)
    end
    return { orders = row.value.orders, cents = row.value.cents }
end
