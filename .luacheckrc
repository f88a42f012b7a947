-- Lua is written for LuaJIT inside nginx.
std = "luajit"
max_line_length = 120

-- What the runtime defines; `ngx` has fields that Lua code assigns.
globals = { "ngx" }

files["lua"] = {
  -- The runtime itself replaces standard functions.
  globals = { "ngx", "coroutine", "package", "print" },
}
