return function(args)
  return args.greeting .. ", user " .. args.id
end
