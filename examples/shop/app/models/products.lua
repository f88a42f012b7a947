-- A second read model, of the same orders: how often each customer has bought what. It was thought of later; a replay
-- builds it from the orders that were there already.

local topics = require "topics"

return function(order, ctx)
    local customer, offset = ctx.event.key, ctx.event.offset
    local row = topics.last("products", customer)
    local model = row and row.value or { bought = {}, counted = 0 }
    if model.counted >= offset then
        return
    end
    model.bought[order.product] = (model.bought[order.product] or 0) + 1
    model.counted = offset
    topics.append("products", { [customer] = model })
end
