return function()
  ngx.sleep(0.002)
  return "answer"
end
