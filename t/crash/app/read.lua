--- A page of a topic's partition: its events, and the offset to go on from.
local topics = require "topics"

return function(args)
  local options = { from = tonumber(args.from), partition = tonumber(args.partition), limit = tonumber(args.limit) }
  local events, next_offset = topics.read(args.topic, options)
  return { events = events, next = next_offset }
end
