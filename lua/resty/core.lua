--- `require "resty.core"`: everything it would bring is there already.

return { version = "0.1.31" }
