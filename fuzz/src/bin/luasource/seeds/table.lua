

local t = {a = {1}, b = "}"} -- }
return t