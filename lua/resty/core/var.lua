--- `require "resty.core.var"`: everything it would bring is there already.

return { version = require("resty.core").version }
