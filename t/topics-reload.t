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
