return {
  {"GET", "/hello", "hello"},
  {"GET", "/users/:id", "user"},
}
