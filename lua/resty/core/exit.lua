--- `require "resty.core.exit"`: everything it would bring is there already.

return { version = require("resty.core").version }
