//! Finds the lines on which a gateway file's entries stand.
//!
//! A Lua table does not know where it was written. So the source is split into tokens, and the elements of the table
//! constructor that the file returns, directly or through a local variable, are located. A file that computes its routes
//! has no such lines.

/// The line of each element of the returned table constructor, if the file has that plain shape.
pub fn entry_lines(source: &str) -> Option<Vec<u32>> {
    let tokens = tokens(source);
    let result = main_return(&tokens)?;
    match tokens.get(result)? {
        Token { kind: Kind::Symbol('{'), .. } => elements(&tokens, result),
        Token { kind: Kind::Word(name), .. } => {
            let plain = matches!(
                tokens.get(result + 1),
                None | Some(Token { kind: Kind::Symbol(';'), .. })
            );
            let assigned = tokens.windows(3).position(|w| {
                matches!(&w[0].kind, Kind::Word(word) if word == name)
                    && w[1].kind == Kind::Symbol('=')
                    && w[2].kind == Kind::Symbol('{')
            })?;
            if plain {
                elements(&tokens, assigned + 2)
            } else {
                None
            }
        }
        _ => None,
    }
}

#[derive(Debug, PartialEq)]
enum Kind<'s> {
    Word(&'s str),
    Text,
    Symbol(char),
}

#[derive(Debug)]
struct Token<'s> {
    kind: Kind<'s>,
    line: u32,
}

/// The token behind the `return` of the file itself, not of a function in it.
fn main_return(tokens: &[Token]) -> Option<usize> {
    let mut depth = 0usize;
    for (i, token) in tokens.iter().enumerate() {
        match token.kind {
            Kind::Word("function" | "do" | "if" | "repeat") => depth += 1,
            Kind::Word("end" | "until") => depth = depth.saturating_sub(1),
            Kind::Word("return") if depth == 0 => return Some(i + 1),
            _ => {}
        }
    }
    None
}

/// The lines of the elements of the constructor that opens at a token.
fn elements(tokens: &[Token], open: usize) -> Option<Vec<u32>> {
    let mut lines = Vec::new();
    let mut depth = 0usize;
    let mut blocks = 0usize;
    let mut expecting = false;
    for (i, token) in tokens.iter().enumerate().skip(open) {
        if expecting && token.kind != Kind::Symbol('}') {
            let keyed = token.kind == Kind::Symbol('[')
                || matches!((&token.kind, tokens.get(i + 1)), (Kind::Word(_), Some(next)) if next.kind == Kind::Symbol('='));
            if keyed {
                return None;
            }
            lines.push(token.line);
            expecting = false;
        }
        match token.kind {
            Kind::Word("function" | "do" | "if" | "repeat") => blocks += 1,
            Kind::Word("end" | "until") => blocks = blocks.saturating_sub(1),
            Kind::Symbol('{' | '(' | '[') => {
                depth += 1;
                expecting = depth == 1;
            }
            Kind::Symbol('}' | ')' | ']') => {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    return Some(lines);
                }
            }
            Kind::Symbol(',' | ';') if depth == 1 && blocks == 0 => expecting = true,
            _ => {}
        }
    }
    None
}

fn tokens(source: &str) -> Vec<Token<'_>> {
    let mut tokens = Vec::new();
    let mut line = 1;
    let mut rest = source;
    if rest.starts_with('#') {
        rest = &rest[rest.find('\n').unwrap_or(rest.len())..];
    }
    while let Some(c) = rest.chars().next() {
        let (kind, length) = match c {
            '-' if rest.starts_with("--") => {
                let comment = &rest[2..];
                let length = long_bracket(comment)
                    .unwrap_or_else(|| comment.find('\n').unwrap_or(comment.len()));
                (None, length + 2)
            }
            '"' | '\'' => (Some(Kind::Text), quoted(rest, c)),
            '[' => match long_bracket(rest) {
                Some(length) => (Some(Kind::Text), length),
                None => (Some(Kind::Symbol('[')), 1),
            },
            c if c.is_whitespace() => (None, c.len_utf8()),
            c if is_word(c) => {
                let length = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
                (Some(Kind::Word(&rest[..length])), length)
            }
            // Kept apart from the `=` of an assignment.
            '=' | '~' | '<' | '>' if rest[1..].starts_with('=') => (Some(Kind::Text), 2),
            c => (Some(Kind::Symbol(c)), c.len_utf8()),
        };
        if let Some(kind) = kind {
            tokens.push(Token { kind, line });
        }
        line += rest[..length].matches('\n').count() as u32;
        rest = &rest[length..];
    }
    tokens
}

fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_' || !c.is_ascii()
}

/// The length of a long bracket, `[[...]]` or `[==[...]==]`, that the text starts with.
fn long_bracket(text: &str) -> Option<usize> {
    let level = text.strip_prefix('[')?.bytes().take_while(|&c| c == b'=').count();
    let body = text[1 + level..].strip_prefix('[')?;
    let close = format!("]{}]", "=".repeat(level));
    let end = body.find(&close).map_or(body.len(), |at| at + close.len());
    Some(text.len() - body.len() + end)
}

/// The length of a quoted string that the text starts with; an unfinished one ends with the text.
fn quoted(text: &str, quote: char) -> usize {
    let mut escaped = false;
    for (i, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            _ if c == quote => return i + 1,
            _ => {}
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_entry_of_a_returned_constructor_has_its_line() {
        let source = "-- routes\nreturn {\n  {\"GET\", \"/a\", \"a\"},\n\n  { 'POST', '/b',\n    'b' };\n  {'PUT', '/c', 'c'}, {'PUT', '/d', 'd'},\n}\n";
        assert_eq!(entry_lines(source), Some(vec![3, 5, 7, 7]));
    }

    #[test]
    fn a_constructor_may_be_returned_through_a_variable() {
        let source = "local x = require 'x'\nlocal routes = {\n  {'GET', '/a', x.a},\n  x.route('/b'),\n}\nreturn routes\n";
        assert_eq!(entry_lines(source), Some(vec![3, 4]));
        assert_eq!(entry_lines("return {}"), Some(vec![]));
    }

    #[test]
    fn comments_and_strings_do_not_confuse_it() {
        let source = "--[==[ return {\n {1} ]==]\nlocal s = [[ return {\n]] .. \"\\\" return {\\\n\"\nlocal function f() return { {1} } end\nreturn {\n  -- {2},\n  {']', [=[ } ]=], '{'}, --[[ , ]]\n  {f(function() local a, b = 1, 2; return {a, b} end)},\n}";
        assert_eq!(entry_lines(source), Some(vec![9, 10]));
    }

    #[test]
    fn a_computed_table_has_no_lines() {
        assert_eq!(entry_lines("return make()"), None);
        assert_eq!(entry_lines("local r = make() return r"), None);
        assert_eq!(entry_lines("return { a = {1} }"), None);
        assert_eq!(entry_lines("return { [1] = {1} }"), None);
        assert_eq!(entry_lines("x = {1} return x.y"), None);
        assert_eq!(entry_lines(""), None);
        assert_eq!(entry_lines("return {{"), None);
        assert_eq!(entry_lines("return \"unfinished"), None);
    }
}
