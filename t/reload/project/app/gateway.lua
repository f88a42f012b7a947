return {
  {"GET", "/function", "answer"},
}
