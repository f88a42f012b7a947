-- The load of --soak, for wrk: the paths given as arguments, in turn.

local requests, n = {}, 0

function init(args)
    for i = 1, #args do
        requests[i] = wrk.format("GET", args[i])
    end
end

function request()
    n = n % #requests + 1
    return requests[n]
end
