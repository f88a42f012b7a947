--- A function that doesn't use the event log.
return function()
  return "hello"
end
