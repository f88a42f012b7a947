//! The scanner that finds the end of a `{ Lua }` block. Included as source: the module itself is a library that
//! only nginx can load.

#[path = "../src/lua/scan.rs"]
mod scan;

use scan::{Scanner, Unclosed};

/// What of `text` belongs to the block, or what is missing.
fn block(text: &str) -> Result<&str, Unclosed> {
    let mut scanner = Scanner::new();
    match text.bytes().position(|byte| scanner.feed(byte)) {
        Some(end) => Ok(&text[..end]),
        None => Err(scanner.unclosed()),
    }
}

#[test]
fn nested_braces_belong_to_the_block() {
    assert_eq!(block("local t = {a = {1}} } rest"), Ok("local t = {a = {1}} "));
}

#[test]
fn braces_in_strings_do_not_count() {
    assert_eq!(block(r#"x = "}" .. '{' .. "\"}" .. '\\' } rest"#).unwrap().trim_end().len(), 31);
}

#[test]
fn a_string_goes_on_behind_an_escaped_line_end() {
    assert_eq!(block("x = 'a\\\n}' } rest"), Ok("x = 'a\\\n}' "));
    assert_eq!(block("x = 'a\\\r\n}' } rest"), Ok("x = 'a\\\r\n}' "));
    assert_eq!(block("x = 'a\\z \n  }' } rest"), Ok("x = 'a\\z \n  }' "));
}

#[test]
fn braces_in_long_brackets_do_not_count() {
    assert_eq!(
        block("x = [[ } ]] .. [==[ ]] } ]=] ]==] } y"),
        Ok("x = [[ } ]] .. [==[ ]] } ]=] ]==] ")
    );
    assert_eq!(block("x = [[a]]]] } y"), Ok("x = [[a]]]] "));
    assert_eq!(block("t[t[1]] = '}' } y"), Ok("t[t[1]] = '}' "));
}

#[test]
fn braces_in_comments_do_not_count() {
    assert_eq!(
        block("-- }\n--[[ } \n ]] --[=x }\n--[==[ ]] } ]==] } y").unwrap().matches('}').count(),
        4
    );
    assert_eq!(block("--\n} y"), Ok("--\n"));
    assert_eq!(block("a = b - {} - 1 } y"), Ok("a = b - {} - 1 "));
}

#[test]
fn what_is_missing_is_named() {
    assert_eq!(block("if x then {"), Err(Unclosed::Block));
    assert_eq!(block("x = [==[ } ]=]"), Err(Unclosed::LongBracket("]==]".into())));
    assert_eq!(block("--[[ }"), Err(Unclosed::LongBracket("]]".into())));
}
