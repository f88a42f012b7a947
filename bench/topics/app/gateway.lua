return {
  {"GET", "/plain", "plain"},
}
