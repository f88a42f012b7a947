//! User CPU time of each operation, and its ratio to the C library's of the package `lua-cjson`.
//!
//! The two alternate in one process and one Lua state; each figure is the median of the rounds. Words on
//! the command line choose the operations whose names contain one of them.

#[path = "../tests/common/mod.rs"]
mod common;

use mlua::{Function, Table};

const ROUNDS: usize = 15;

fn main() {
    let chosen: Vec<_> = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    let lua = common::lua_with_peer();
    let cases: Table = lua.load(CASES).eval().unwrap();
    println!("{:<28} {:>10} {:>10} {:>7}", "operation", "ours ns", "C's ns", "ratio");
    for case in cases.sequence_values::<Table>() {
        let case = case.unwrap();
        let name: String = case.get("name").unwrap();
        if !chosen.is_empty() && !chosen.iter().any(|word| name.contains(word)) {
            continue;
        }
        let count: u32 = case.get("count").unwrap();
        let (ours, theirs): (Function, Function) =
            (case.get("ours").unwrap(), case.get("theirs").unwrap());
        let mut times = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            times.0.push(time(&ours, count));
            times.1.push(time(&theirs, count));
        }
        let (ours, theirs) = (median(times.0), median(times.1));
        println!("{name:<28} {ours:>10.0} {theirs:>10.0} {:>7.3}", ours / theirs);
    }
}

/// Nanoseconds of each of `count` runs.
fn time(function: &Function, count: u32) -> f64 {
    let start = cpu_time();
    function.call::<()>(count).unwrap();
    (cpu_time() - start) * 1e9 / f64::from(count)
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

/// Seconds of CPU time of the process.
fn cpu_time() -> f64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: it writes the time to where it is told to.
    let done = unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &mut now) };
    assert_eq!(done, 0);
    now.tv_sec as f64 + now.tv_nsec as f64 / 1e9
}

const CASES: &str = r#"
local ours, theirs = require "cjson", require "peer"

local small = '{"id":12345,"name":"widget","ok":true}'
local document = [[{"id":"9b2d6d2c-0d7a-4d5e-8a55-3c1f4b7d6e21","created":1718000000,"customer":]] ..
    [[{"name":"Maria Lindqvist","email":"maria@example.com","vip":false,"address":null},]] ..
    [["items":[{"sku":"A-1001","qty":2,"price":19.99},{"sku":"B-2040","qty":1,"price":149.5},]] ..
    [[{"sku":"C-77","qty":12,"price":0.75}],"total":198.48,"currency":"EUR",]] ..
    [["note":"Please leave at the door","tags":["new","priority"],"rate":0.0825}]]
local integers, decimals, strings, escaped = {}, {}, {}, {}
for i = 1, 1000 do
    integers[i] = i * 37
    decimals[i] = i * 1.37
end
for i = 1, 4 do
    strings[i] = ("The quick brown fox jumps over the lazy dog. "):rep(200)
    escaped[i] = ("say \"hello\"\nand c:\\path ü "):rep(300)
end

local cases = {}
local function case(name, count, run)
    local loop = function(json)
        local encode, decode = json.encode, json.decode
        return function(n)
            for _ = 1, n do run(encode, decode) end
        end
    end
    cases[#cases + 1] = { name = name, count = count, ours = loop(ours), theirs = loop(theirs) }
end
local function both(name, count, value)
    local text = theirs.encode(value)
    case(name .. " encode", count, function(encode) encode(value) end)
    case(name .. " decode", count, function(_, decode) decode(text) end)
end

both("small object", 100000, theirs.decode(small))
both(#document .. "-byte document", 20000, theirs.decode(document))
case(#document .. "-byte decode+encode", 20000, function(encode, decode) encode(decode(document)) end)
both("1000 integers", 500, integers)
both("1000 decimals", 500, decimals)
both("long strings", 500, strings)
both("escaped strings", 500, escaped)
return cases
"#;
