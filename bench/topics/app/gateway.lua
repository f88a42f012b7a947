return {
  {"GET", "/plain", "plain"},
  {"POST", "/plain", "plain"},
}
