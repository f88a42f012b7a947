return {
  {"POST", "/append", "append"},
  {"GET", "/read", "read"},
  {"GET", "/offsets", "offsets"},
}
