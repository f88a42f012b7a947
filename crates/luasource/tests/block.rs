//! Where a `{ Lua }` block ends.

mod oracle;

use luasource::{Scanner, Unclosed};
use proptest::prelude::*;

/// What of `text` belongs to the block, or what is missing.
fn block(text: &str) -> Result<&str, Unclosed> {
    let mut scanner = Scanner::new();
    scanner.scan(text.as_bytes()).map(|end| &text[..end]).ok_or_else(|| scanner.unclosed())
}

#[test]
fn a_block_ends_at_the_brace_that_lua_sees_as_one() {
    for (text, expected) in [
        ("} rest", ""),
        ("local t = {a = {1}} } rest", "local t = {a = {1}} "),
        (
            "x = '}' .. \"{\" .. \"\\\"}\" .. '\\\\' } rest",
            "x = '}' .. \"{\" .. \"\\\"}\" .. '\\\\' ",
        ),
        ("x = 'a\\\n}' } rest", "x = 'a\\\n}' "),
        ("x = 'a\\\r\n}' } rest", "x = 'a\\\r\n}' "),
        ("x = 'a\\\n\r}' } rest", "x = 'a\\\n\r}' "),
        ("x = 'a\\\r}' } rest", "x = 'a\\\r}' "),
        ("x = 'a\\z \n\x0b\n\x0c\r\n\t }' } rest", "x = 'a\\z \n\x0b\n\x0c\r\n\t }' "),
        ("x = 'a\\z' }' } rest", "x = 'a\\z' "),
        ("x = '\\x7d\\125\\u{7d}' } rest", "x = '\\x7d\\125\\u{7d}' "),
        ("x = [[ } ]] .. [==[ ]] } ]=] ]==] } y", "x = [[ } ]] .. [==[ ]] } ]=] ]==] "),
        ("x = [[a]]]] } y", "x = [[a]]]] "),
        ("x = [=[a]]=] } y", "x = [=[a]]=] "),
        ("x = [=[a]=]=] } y", "x = [=[a]=]=] "),
        ("x = [[ \" ' -- [=[ ]] } y", "x = [[ \" ' -- [=[ ]] "),
        ("t[t[1]] = '}' } y", "t[t[1]] = '}' "),
        ("f[[}]] } y", "f[[}]] "),
        ("-- }\n} y", "-- }\n"),
        ("-- }\r\n} y", "-- }\r\n"),
        ("-- }\r} y", "-- }\r"),
        ("--\n} y", "--\n"),
        ("--[\r} y", "--[\r"),
        ("--[=\n} y", "--[=\n"),
        ("--[=x }\n} y", "--[=x }\n"),
        ("--[[ } \n ]] --[==[ ]] } ]==] } y", "--[[ } \n ]] --[==[ ]] } ]==] "),
        ("---[[ }\n} y", "---[[ }\n"),
        ("-- don't\n} y", "-- don't\n"),
        ("a = b - {} - 1 } y", "a = b - {} - 1 "),
        ("goto done ::done:: } y", "goto done ::done:: "),
        ("x = 'ü\0}' -- ü\0}\n } y", "x = 'ü\0}' -- ü\0}\n "),
        ("ü = {} } y", "ü = {} "),
        // No Lua: the compiler is to see what is wrong with the string.
        ("x = 'open\n } y", "x = 'open\n "),
        ("x = 'open\r } y", "x = 'open\r "),
    ] {
        assert_eq!(block(text), Ok(expected), "{text:?}");
    }
}

#[test]
fn what_is_missing_is_named() {
    let bracket =
        |closing: &str, lines| Err(Unclosed::LongBracket { closing: closing.into(), lines });
    for (text, expected) in [
        ("", Err(Unclosed::Block)),
        ("if x then {", Err(Unclosed::Block)),
        ("x = '}", Err(Unclosed::Block)),
        ("-- }", Err(Unclosed::Block)),
        ("--[==", Err(Unclosed::Block)),
        ("x = [==[ } ]=]", bracket("]==]", 0)),
        ("--[[ }", bracket("]]", 0)),
        ("\n[[ ]]\n --[=[\n\n } ]]", bracket("]=]", 2)),
        ("\n x = \\\n[[\n", bracket("]]", 2)),
    ] {
        assert_eq!(block(text), expected, "{text:?}");
    }
}

#[test]
fn messages_name_what_is_missing_and_where_it_began() {
    let unclosed = block("\n\n [=[").unwrap_err();
    assert_eq!(unclosed.line(10), 12);
    assert_eq!(
        unclosed.message(10),
        "Lua code block missing the closing long bracket \"]=]\", the inlined Lua code may be too long"
    );
    let unclosed = block("\n\n {").unwrap_err();
    assert_eq!(unclosed.line(10), 10);
    assert_eq!(
        unclosed.message(10),
        "unexpected end of file, expecting terminating characters for lua code block that starts at line 10"
    );
}

/// Bytes that mean something to the scanner, next to each other often enough to mean it.
fn hostile() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        8 => prop::sample::select(&b"{}[]=-\"'\\\r\nz \x0b\x0cx"[..]).prop_map(|c| vec![c]),
        4 => prop::sample::select(&[
            "--", "[[", "]]", "[=[", "]=]", "[==[", "]==]", "--[[", "--[=[", "\\z", "\\\r\n", "\\\n\r", "\\'", "\\\\",
        ][..]).prop_map(|s| s.as_bytes().to_vec()),
        1 => any::<u8>().prop_map(|c| vec![c]),
    ];
    prop::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
}

/// Lua that compiles, made of statements with anything inside their strings and comments.
fn program() -> impl Strategy<Value = Vec<u8>> {
    let short = (any::<bool>(), hostile()).prop_map(|(double, inside)| {
        let quote = if double { b'"' } else { b'\'' };
        let mut text = vec![quote];
        for (i, c) in inside.iter().enumerate() {
            // A line end is escaped or, where chance has it so, skipped by \z.
            match c {
                b'\n' | b'\r' if i % 3 == 0 => text.extend_from_slice(&[b'\\', b'z', *c]),
                b'\n' | b'\r' | b'\\' => text.extend_from_slice(&[b'\\', *c]),
                c if *c == quote => text.extend_from_slice(&[b'\\', *c]),
                c => text.push(*c),
            }
        }
        text.push(quote);
        text
    });
    let long = || {
        (0..3usize, hostile()).prop_map(|(level, inside)| {
            let equals = "=".repeat(level);
            // No closing bracket of that level may be left, nor the first half of one at the end.
            let inside: Vec<u8> = inside.into_iter().filter(|&c| c != b']').collect();
            [format!("[{equals}[").as_bytes(), &inside, format!("]{equals}]").as_bytes()].concat()
        })
    };
    let string = prop_oneof![short, long()];
    let line_comment = (hostile(), prop::sample::select(&["\n", "\r\n", "\r", "\n\r"][..]))
        .prop_map(|(inside, end)| {
            let inside: Vec<u8> = inside.into_iter().filter(|c| !b"\r\n".contains(c)).collect();
            // A space, so that no long bracket follows the dashes.
            [b"-- ", &inside[..], end.as_bytes()].concat()
        });
    let long_comment = long().prop_map(|long| [b"--", &long[..]].concat());
    let comment = prop_oneof![line_comment, long_comment];
    let statement = (0..8u8, string, comment).prop_map(|(kind, string, comment)| {
        let (a, b): (&[u8], &[u8]) = match kind {
            0 => (b"x = ", b" "),
            1 => (b"f", b" "),
            2 => (b"f{ { ", b", {}, [ [[}]] ] = {{}} } } "),
            3 => (b"x = 3 - - - #", b" - {} "),
            4 => (b"t[t[1]] = ", b" ; "),
            5 => (b"do goto done x = ", b" ::done:: end "),
            6 => (b"f(function() return ", b" end) ; "),
            _ => (b"\xc3\xbc = ", b" .. '}' "),
        };
        [a, &string, b, &comment].concat()
    });
    prop::collection::vec(statement, 0..6).prop_map(|statements| statements.concat())
}

proptest! {
    #[test]
    fn any_text_ends_where_the_oracle_says(text in hostile()) {
        let mut scanner = Scanner::new();
        let found = scanner.scan(&text).ok_or_else(|| match scanner.unclosed() {
            Unclosed::Block => String::new(),
            Unclosed::LongBracket { closing, .. } => closing,
        });
        prop_assert_eq!(found, oracle::end_of_block(&text));
    }

    #[test]
    fn a_block_ends_behind_whatever_luajit_compiles(program in program(), rest in hostile()) {
        let lua = mlua::Lua::new();
        let compiled = lua.load(&program[..]).into_function();
        prop_assert!(compiled.is_ok(), "{compiled:?} of {:?}", String::from_utf8_lossy(&program));
        let text = [&program[..], b"\n}", &rest].concat();
        prop_assert_eq!(Scanner::new().scan(&text), Some(program.len() + 1));
    }

    #[test]
    fn a_text_may_come_in_pieces(text in hostile(), cuts in prop::collection::vec(0..60usize, 0..5)) {
        let whole = Scanner::new().scan(&text);
        let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(text.len())).collect();
        cuts.sort_unstable();
        cuts.push(text.len());
        let mut scanner = Scanner::new();
        let mut from = 0;
        let mut found = None;
        for cut in cuts {
            found = scanner.scan(&text[from..cut]).map(|at| from + at);
            if found.is_some() {
                break;
            }
            from = cut;
        }
        prop_assert_eq!(found, whole);
    }
}
