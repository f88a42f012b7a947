--- `require "resty.core.base64"`: everything it would bring is there already.

return { version = require("resty.core").version }
