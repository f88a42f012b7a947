# Edit, save, reload: in development files are looked at for each request, in production they are read once.

use strict;
use warnings;

use FindBin;
use lib $FindBin::Bin;
use Test::Nginx::Socket;
use Platform;

use_platform(<<'END');
>>> app/gateway.lua
return {
    {"GET", "/hello", "hello"},
    {"GET", "/greet", "greet"},
}
>>> app/hello.lua
return function() return "one" end
>>> app/greet.lua
local words = require "words"
local cjson = require "cjson"
return function() return words.greeting end
>>> lib/words.lua
return { greeting = "hello" }
END

# Each --- edits line is done after the request before it was answered: "FILE := TEXT", "rm FILE" or "-".
add_block_preprocessor(sub {
    my ($block) = @_;
    my @edits = split /\n/, $block->edits // return;
    $block->set_value(response_body_filters => sub {
        my ($body) = @_;
        my $edit = shift @edits // '-';
        my $folder = html_dir();
        if ($edit =~ /^(\S+) := (.*)$/) {
            my ($file, $text) = ($1, $2);
            $text =~ s/\\n/\n/g;
            open my $out, '>', "$folder/$file.saved" or die "can't write $file: $!";
            print $out "$text\n";
            close $out;
            rename "$folder/$file.saved", "$folder/$file" or die "can't save $file: $!";
        }
        elsif ($edit =~ /^rm (\S+)$/) {
            unlink "$folder/$1" or die "can't remove $1: $!";
        }
        elsif ($edit ne '-') {
            die "--- edits: $edit";
        }
        return $body;
    });
});

plan 'no_plan';
run_tests();

__DATA__

=== TEST 1: a saved function takes effect on the next request; a broken one says where, and saving a good one heals it
--- cases
GET /hello => 200 {"data":"one"}
GET /hello => 200 {"data":"two"}
GET /hello => 500 {"error":"app/hello.lua:2: unexpected symbol near ')'"}
GET /hello => 500 {"error":"app/hello.lua:2: unexpected symbol near ')'"}
GET /greet => 200 {"data":"hello"}
GET /hello => 500 {"error":"app/hello.lua:1: not yet"}
GET /hello => 200 {"data":"three"}
GET /log => 200 /function "hello": app.hello.lua:2: unexpected symbol near '\)'/
--- edits
app/hello.lua := return function() return "two" end
app/hello.lua := return function()\n)oh
-
-
app/hello.lua := error("not yet")
app/hello.lua := return function() return "three" end



=== TEST 2: a saved library takes effect in the functions that use it
--- cases
GET /greet => 200 {"data":"hello"}
GET /greet => 200 {"data":"good day"}
GET /greet => 500 {"error":"lib/words.lua:1: '=' expected near 'words'"}
GET /hello => 200 {"data":"one"}
GET /greet => 200 {"data":"good evening"}
GET /greet => 200 {"data":"from app"}
GET /greet => 200 {"data":"good evening"}
GET /greet => 500 /module 'words' not found/
GET /greet => 200 {"data":"back"}
--- edits
lib/words.lua := return { greeting = "good day" }
lib/words.lua := broken words
-
lib/words.lua := return { greeting = "good evening" }
app/words.lua := return { greeting = "from app" }
rm app/words.lua
rm lib/words.lua
lib/words.lua := return { greeting = "back" }



=== TEST 3: a saved gateway file takes effect; a broken one says where, and saving a good one heals it
--- cases
GET /hello => 200 {"data":"one"}
GET /new/7 => 200 {"data":"one"}
GET /hello => 404 {"error":"not found"}
GET /new/7 => 500 {"error":"app/gateway.lua:2: function \"nothing\" not found: app/nothing.lua does not exist"}
GET /new/7 => 500 /^\{"error":"app/gateway.lua:1: '\}' expected near '\\"/new/:id\\"'"\}$/
GET /hello => 200 {"data":"one"}
GET /new/7 => 404 {"error":"not found"}
GET /log => 200 /function "gateway": app.gateway.lua:2: function "nothing" not found/
--- edits
app/gateway.lua := return { {"GET", "/new/:id", "hello"} }
-
app/gateway.lua := return {\n {"GET", "/new/:id", "nothing"} }
app/gateway.lua := return { {"GET" "/new/:id", "hello"} }}
app/gateway.lua := return { {"GET", "/hello", "hello"} }



=== TEST 4: a function whose file is gone is a 404 that says so
--- cases
GET /hello => 200 {"data":"one"}
GET /hello => 404 {"error":"function \"hello\" not found: app/hello.lua does not exist"}
GET /hello => 200 {"data":"again"}
--- edits
rm app/hello.lua
app/hello.lua := return function() return "again" end



=== TEST 5: a save of the same length in the same moment is seen as well
--- cases
GET /hello => 200 {"data":"one"}
GET /hello => 200 {"data":"aaa"}
GET /hello => 200 {"data":"bbb"}
GET /hello => 200 {"data":"ccc"}
--- edits
app/hello.lua := return function() return "aaa" end
app/hello.lua := return function() return "bbb" end
app/hello.lua := return function() return "ccc" end



=== TEST 6: production reads each file once
--- production
--- cases
GET /hello => 200 {"data":"one"}
GET /greet => 200 {"data":"hello"}
GET /hello => 200 {"data":"one"}
GET /greet => 200 {"data":"hello"}
GET /new => 404 {"error":"not found"}
--- edits
app/hello.lua := return function() return "two" end
lib/words.lua := return { greeting = "good day" }
app/gateway.lua := return { {"GET", "/new", "hello"} }



=== TEST 7: production keeps what it found wrong with a function when it first read it
--- production
--- user_files
>>> app/hello.lua
error("not yet")
--- cases
GET /hello => 500 {"error":"Internal Server Error"}
GET /hello => 500 {"error":"Internal Server Error"}
GET /log => 200 /function "hello": app.hello.lua:1: not yet/
--- edits
app/hello.lua := return function() return "two" end
