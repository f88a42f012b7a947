--- Appends as `spacer_append` does, and answers with the offset of each key's event.
local topics = require "topics"

return function(args)
  local _, offsets = topics.append(args.topic, args.entries)
  return offsets
end
