//! What of a file is Lua, and a chunk as a plain function. LuaJIT says what a text means.

use luasource::{as_function, is_bytecode, without_shebang};
use mlua::{Function, Lua, Value};
use proptest::prelude::*;

fn compile(lua: &Lua, text: &[u8]) -> mlua::Result<Function> {
    lua.load(text).set_name("=chunk").set_mode(mlua::chunk::ChunkMode::Text).into_function()
}

/// The plain function that `text` becomes, where the compiler takes it.
fn function(lua: &Lua, text: &[u8]) -> Option<Function> {
    let wrapped = as_function(text)?;
    compile(lua, &wrapped).ok()?.call(()).ok()
}

/// What a run did: what it returned or raised, and the globals that it left.
fn outcome(text: &[u8], form: fn(&Lua, &[u8]) -> Option<Function>) -> Option<String> {
    let lua = Lua::new();
    lua.load("log = {} function note(x) log[#log + 1] = tostring(x) end").exec().unwrap();
    let show = "return function(ok, ...) local out = {tostring(ok)} \
                for i = 1, select('#', ...) do out[#out + 1] = tostring((select(i, ...))) end \
                for k, v in pairs(_G) do if type(v) ~= 'table' and type(v) ~= 'function' then log[#log + 1] = k .. '=' .. tostring(v) end end \
                table.sort(log) return table.concat(out, ',') .. ';' .. table.concat(log, ',') end";
    let show: Function = lua.load(show).eval().unwrap();
    let run = form(&lua, text)?;
    let pcall: Function = lua.globals().get("pcall").unwrap();
    let results: mlua::MultiValue = pcall.call(run).unwrap();
    Some(show.call(results).unwrap())
}

fn as_chunk(lua: &Lua, text: &[u8]) -> Option<Function> {
    compile(lua, text).ok()
}

#[test]
fn a_first_line_for_the_shell_is_left_out_and_its_line_end_is_kept() {
    for (text, expected) in [
        ("#!/usr/bin/lua\nx = 1", "\nx = 1"),
        ("#!/usr/bin/lua\r\nx = 1", "\r\nx = 1"),
        ("#\rx = 1", "\rx = 1"),
        ("# no line end", ""),
        ("#", ""),
        ("#\n#\nx", "\n#\nx"),
        ("x = 1 # y", "x = 1 # y"),
        (" #\n", " #\n"),
        ("", ""),
    ] {
        assert_eq!(without_shebang(text.as_bytes()), expected.as_bytes(), "{text:?}");
    }
}

#[test]
fn bytecode_behind_a_shebang_is_bytecode() {
    for text in ["#!\n\x1bLJ", "#!\r\n\x1bLJ", "#!\r\x1bLJ", "\x1bLJ"] {
        let text = without_shebang(text.as_bytes());
        assert_eq!(text, b"\x1bLJ");
        assert!(is_bytecode(text));
        assert_eq!(as_function(text), None);
    }
    assert!(!is_bytecode(b"") && !is_bytecode(b"x = '\x1b'") && !is_bytecode(b"\n\x1bLJ"));
}

#[test]
fn a_function_is_plain_and_does_what_its_chunk_does() {
    let lua = Lua::new();
    for text in [
        "",
        "return 1, nil, 'x'",
        "return 1;",
        "x = 1 -- at the end",
        "x = 1 --[==[ at the end ]==]",
        "x = 1 --[=",
        "x = 1 -- at the end\r",
        "goto done do x = 1 end ::done::",
        "for i = 1, 3 do if i == 2 then goto continue end note(i) ::continue:: end",
        "local function f(...) return select('#', ...) end return f(1, 2)",
        "return 'a\0b', #'ü}'",
        "#!/usr/bin/lua\nreturn 7",
        "\u{feff}x = 7",
        "\u{feff}#!/usr/bin/lua\nx = 7",
        "(note)(1)",
        "return setfenv(1, {note = note}) == note, x",
    ] {
        let text = text.as_bytes();
        let found = function(&lua, text).unwrap_or_else(|| panic!("{text:?} is no function"));
        assert_eq!(found.info().what, "Lua", "{text:?}");
        assert_eq!(outcome(text, function), outcome(text, as_chunk), "{text:?}");
    }
}

#[test]
fn a_mark_of_utf8_is_no_part_of_a_name() {
    let lua = Lua::new();
    function(&lua, b"\xef\xbb\xbfx = 7").unwrap().call::<()>(()).unwrap();
    assert_eq!(lua.globals().get::<Value>("x").unwrap(), Value::Integer(7));
}

#[test]
fn a_chunk_that_uses_its_arguments_stays_a_chunk() {
    let lua = Lua::new();
    for text in ["return ...", "local a, b = ... ", "f(select('#', ...))"] {
        assert!(compile(&lua, text.as_bytes()).is_ok());
        assert!(function(&lua, text.as_bytes()).is_none(), "{text}");
    }
}

/// Why the text is to be compiled by itself first: as a function's body it would be taken.
#[test]
fn what_is_no_chunk_by_itself_is_refused_by_itself() {
    let lua = Lua::new();
    for text in [
        "end do",
        "end, function()",
        "return 1 end, function()",
        "end) x = (function()",
        "end if true then",
    ] {
        assert!(compile(&lua, text.as_bytes()).is_err(), "{text}");
    }
    assert!(function(&lua, b"return 1 end, function()").is_some());
}

#[test]
fn errors_are_on_the_lines_of_the_text() {
    let lua = Lua::new();
    for (text, line) in [
        ("error('x')", 1),
        ("\n\nerror('x')", 3),
        ("#!/bin/lua\nerror('x')", 2),
        ("#!/bin/lua\r\nerror('x')", 2),
        ("\u{feff}#!/bin/lua\n\rerror('x')", 2),
        ("local x = [[\n\n]]\n-- y\nerror('x')\n\n", 5),
    ] {
        for form in [function, as_chunk] {
            let error = form(&lua, text.as_bytes()).unwrap().call::<()>(()).unwrap_err();
            assert!(error.to_string().contains(&format!("chunk:{line}: x")), "{text:?}: {error}");
        }
    }
}

/// Texts of pieces that open and close functions, which most often are no chunk.
fn text() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop::sample::select(
        &[
            "end ",
            "function() ",
            "(function() ",
            "end) ",
            ") ",
            "(",
            "return ",
            "return 1 ",
            ", ",
            "; ",
            "x = 1 ",
            "x = ",
            "1 ",
            "note(1) ",
            "do ",
            "if true then ",
            "else ",
            "repeat ",
            "until true ",
            "... ",
            "-- c\n",
            "-- c",
            "\n",
            "\r",
            "[[",
            "]]",
            "--[[",
            "'a' ",
            "\"",
            "#\n",
            "#",
            "\u{feff}",
            "::l:: ",
            "goto l ",
            "break ",
            "local y = 2 ",
            "y ",
            "f = function(...) return ... end ",
            "note(...) ",
            "\0",
        ][..],
    );
    let mark = prop::sample::select(&["", "", "", "\u{feff}", "#!\n", "\u{feff}#!\n"][..]);
    (mark, prop::collection::vec(piece, 0..9))
        .prop_map(|(mark, pieces)| (mark.to_owned() + &pieces.concat()).into_bytes())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn whatever_is_a_chunk_means_the_same_as_a_function(text in text()) {
        let lua = Lua::new();
        // A loop that never ends is the one thing that can't be compared.
        if compile(&lua, &text).is_err() || text.windows(7).any(|w| w == b"goto l ") {
            return Ok(());
        }
        if let Some(function_outcome) = outcome(&text, function) {
            prop_assert_eq!(Some(function_outcome), outcome(&text, as_chunk));
        } else {
            prop_assert!(text.windows(3).any(|w| w == b"..."), "refused: {:?}", String::from_utf8_lossy(&text));
        }
    }
}
