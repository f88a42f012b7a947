# Topics: events in hand while their worker is replaced, or is no longer trusted with them.

use strict;
use warnings;

use FindBin;
use lib $FindBin::Bin;
use Test::Nginx::Socket;
use Topics;

# Only a master replaces workers.
master_process_enabled(1);
workers(2);
use_shop();

plan 'no_plan';
run_tests();

__DATA__

=== TEST 1: a function that outlasts the lease keeps its event through a reload
--- main_config
worker_shutdown_timeout 12s;
--- config
spacer_gateway app/gateway.lua;
location = /settled { spacer_function settled; }
location = /reload {
    content_by_lua_block {
        -- The parent of the shell's parent.
        os.execute("kill -HUP $(cut -d' ' -f4 /proc/$PPID/stat)")
        ngx.say("sent")
    }
}
--- user_files
>>> app/try.lua
return function(args, ctx)
    topics.append("bills", { ["begin-" .. ctx.event.attempt] = ngx.worker.pid() })
    ngx.sleep(8.5)
    topics.append("bills", { ["end-" .. ctx.event.attempt] = ngx.worker.pid() })
end
>>> app/settled.lua
return function()
    for _ = 1, 130 do
        local group = topics.offsets("tries")[1].groups[1]
        if group and group.lag == 0 then break end
        ngx.sleep(0.1)
    end
    local runs = {}
    for i, event in ipairs((topics.read("bills"))) do runs[i] = event.key end
    return runs
end
--- cases
GET /append/tries/k => 200 {"data":["ok",1]}
GET /wait/bills/begin-1 => 200 /data/
GET /reload => 200 sent
GET /settled => 200 {"data":["begin-1","end-1"]}
--- timeout: 15



=== TEST 2: an event whose function ends its worker is a dead letter after its last attempt
--- config
spacer_gateway app/gateway.lua;
--- user_files
>>> app/try.lua
return function()
    os.execute("kill -9 $PPID")
    ngx.sleep(1)
end
--- init
use IO::Socket::INET;
my $socket = IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => server_port(), Timeout => 2) or die "connect: $!";
print $socket "GET /append/tries/poison HTTP/1.0\r\n\r\n";
my $answer = do { local $/; <$socket> };
# Requests would end with the workers.
sleep 4;
--- cases
GET /wait/tries.dead/poison?headers=1 => 200 /"spacer-dead-attempts":"3"/
GET /wait/tries.dead/poison?headers=1 => 200 /"spacer-dead-error":"its worker process ended while it ran: attempt 3 did not come to an end"/
GET /log => 200 /attempt 3 of 3 failed, it goes to topic "tries.dead": its worker process ended/



=== TEST 3: a worker that was stopped for longer than its lease has lost its event, and appends nothing for it
--- config
spacer_gateway app/gateway.lua;
location = /later { spacer_function later; }
--- user_files
>>> app/try.lua
return function(_, ctx)
    local attempt = ctx.event.attempt
    if attempt == 1 then
        os.execute("(sleep 14; kill -CONT $PPID) & kill -STOP $PPID")
    end
    topics.append("bills", { ["by-" .. attempt] = ctx.event.token })
    ngx.sleep(3)
    ngx.log(ngx.WARN, "attempt ", attempt, " came to its end")
end
>>> app/later.lua
return function()
    ngx.sleep(19)
    local events = {}
    for i, event in ipairs((topics.read("bills"))) do events[i] = event.key end
    return events
end
--- cases
GET /append/tries/k => 200 {"data":["ok",1]}
GET /later => 200 {"data":["by-2"]}
GET /log => 200 /event 1 of topic "tries", key "k": (its function was ended, it was handed to another worker|attempt 1 of 3 failed.*event 1 of topic tries was handed to another worker: nothing was appended)/
GET /log => 200 /attempt 2 came to its end/
--- timeout: 25
