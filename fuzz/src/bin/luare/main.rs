//! A template is refused or put in the place of matches as one that is read byte by byte; replacing ends, and gives the same
//! with replacements from outside.

#![no_main]

use std::cell::RefCell;

use libfuzzer_sys::fuzz_target;
use luare::{substitute, Flags, Matcher, Regex, Substitution, Template};

/// Patterns with groups, without, with matches of nothing, and with characters of several bytes.
const PATTERNS: [(&[u8], &[u8]); 6] = [
    (b"a(b)?(c)", b""),
    (b"", b"j"),
    (b"(?<x>.)(y)?", b"jU"),
    (br"\b|(b)", b""),
    (br"(?i)(a)\K|b*", b"j"),
    (b"[a-c]+|d", b"d"),
];

/// What `template` makes of a match, or `None` when it is none.
fn expand(template: &[u8], subject: &[u8], captures: &[i32]) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    let mut bytes = template.iter().copied().peekable();
    while let Some(byte) = bytes.next() {
        if byte != b'$' {
            out.push(byte);
            continue;
        }
        if bytes.next_if_eq(&b'$').is_some() {
            out.push(b'$');
            continue;
        }
        let bracket = bytes.next_if_eq(&b'{').is_some();
        let mut digits = String::new();
        while let Some(digit) = bytes.next_if(u8::is_ascii_digit) {
            digits.push(char::from(digit));
        }
        if digits.is_empty() || bracket && bytes.next() != Some(b'}') {
            return None;
        }
        let group = digits.parse().unwrap_or(usize::MAX / 2);
        if let Some(pair) = captures.chunks(2).nth(group) {
            if pair[0] >= 0 {
                out.extend_from_slice(&subject[pair[0] as usize..pair[1] as usize]);
            }
        }
    }
    Some(out)
}

thread_local! {
    static STATE: RefCell<(Matcher, Vec<Regex>, Template, Substitution)> = RefCell::new((
        Matcher::new(),
        PATTERNS
            .iter()
            .map(|(pattern, flags)| {
                Regex::compile(pattern, Flags::parse(flags).expect("flags")).expect("a pattern")
            })
            .collect(),
        Template::default(),
        Substitution::default(),
    ));
}

fuzz_target!(|input: (u8, bool, &[u8], &[u8])| {
    let (which, all, text, subject) = input;
    STATE.with_borrow_mut(|(matcher, regexes, template, state)| {
        let regex = &regexes[usize::from(which) % regexes.len()];
        let read = template.read(text);
        assert_eq!(read.is_ok(), expand(text, b"", &[]).is_some());
        if let Err(reason) = read {
            assert!(reason.message().starts_with(match reason {
                luare::TemplateError::Named(_) => b"attempt to use named capturing variable \"",
                luare::TemplateError::NotClosed(_) => b"the closing bracket in \"",
                luare::TemplateError::NoNumber(_) => b"lua script: invalid capturing variable",
            }));
            return;
        }

        let mut out = Vec::new();
        let count = substitute(matcher, regex, subject, template, all, &mut out).expect("a match");
        assert!(count <= subject.len() + 1 && (all || count <= 1));

        state.begin();
        let mut found = 0;
        while found < count {
            let set = state.next(matcher, regex, subject).expect("a match");
            assert!(set > 0);
            found += 1;
            let captures = &matcher.captures()[..2 * set];
            state.replace(subject, &expand(text, subject, captures).expect("a template"));
        }
        if all {
            assert_eq!(state.next(matcher, regex, subject), Ok(0));
        }
        if count > 0 {
            assert_eq!(state.finish(subject), out);
        } else {
            assert!(out.is_empty());
        }
    });
});
