-- Runs for each order: keeps what each customer has spent in the topic `totals`, whose newest event of a key is the
-- customer's row.
--
-- An event may come again after a crash, so the row remembers the last order that it counts.

local topics = require "topics"

return function(order, ctx)
    local customer, offset = ctx.event.key, ctx.event.offset
    local row = topics.last("totals", customer)
    local old = row and row.value or { orders = 0, cents = 0, counted = 0 }
    if old.counted >= offset then
        return
    end
    topics.append("totals", {
        [customer] = { orders = old.orders + 1, cents = old.cents + order.cents, counted = offset },
    })
end
