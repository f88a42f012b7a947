-- Which request reaches which function: {METHOD, PATH, FUNCTION}.
--
-- METHOD is GET, POST, PUT, PATCH, DELETE, HEAD, OPTIONS, or ANY for those that no other route of the path names.
-- PATH may have parameters, as in "/users/:id", and end in one that takes all the rest, as in "/files/*path".
-- FUNCTION is a file in app/: "hello" is app/hello.lua, "users/get" is app/users/get.lua.
return {
  {"GET", "/hello", "hello"},
  {"GET", "/hello/:name", "hello"},
}
