--- The extent of each partition of a topic, and where the groups are.
local topics = require "topics"

return function(args)
  return topics.offsets(args.topic)
end
