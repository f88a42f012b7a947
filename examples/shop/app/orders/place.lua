-- Takes an order: it is placed once it is durable in the topic `orders`. Its key is the customer, so that the orders of
-- one customer are handled in their order, and those of different customers at once.

local topics = require "topics"

return function(args, ctx)
    local customer, product, cents = args.customer, args.product, tonumber(args.cents)
    if type(customer) ~= "string" or type(product) ~= "string" then
        ctx.error("customer and product must be strings")
    elseif not cents or cents <= 0 then
        ctx.error("cents must be a positive number")
    end
    local _, offsets = topics.append("orders", {
        [customer] = { product = product, cents = cents },
    })
    return { order = offsets[customer] }
end
