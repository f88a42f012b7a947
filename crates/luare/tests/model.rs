//! Matches and substitutions against PCRE2 called plainly, with the interpreter, one match at a time.

use std::ptr;

use luare::{substitute, Flags, Matcher, Regex, Template};
use pcre2_sys::*;
use proptest::prelude::*;

/// PCRE2 with nothing around it.
struct Plain(*mut pcre2_code_8, *mut pcre2_match_data_8);

impl Plain {
    fn new(pattern: &[u8], options: u32) -> Option<Plain> {
        let (mut error, mut offset) = (0, 0);
        // SAFETY: the pattern has that length; the code is given back in `drop`.
        unsafe {
            let (text, len) = (pattern.as_ptr(), pattern.len());
            let code =
                pcre2_compile_8(text, len, options, &mut error, &mut offset, ptr::null_mut());
            (!code.is_null())
                .then(|| Plain(code, pcre2_match_data_create_from_pattern_8(code, ptr::null_mut())))
        }
    }

    /// The groups of the first match, with the whole.
    fn find(&self, text: &[u8], from: usize) -> Option<Vec<Option<(usize, usize)>>> {
        // SAFETY: code and data are live, and the data has that many pairs.
        let (count, pairs) = unsafe {
            let context = ptr::null_mut();
            let (subject, len) = (text.as_ptr(), text.len());
            let count = pcre2_match_8(self.0, subject, len, from, 0, self.1, context);
            let pairs = 2 * pcre2_get_ovector_count_8(self.1) as usize;
            (count, std::slice::from_raw_parts(pcre2_get_ovector_pointer_8(self.1), pairs))
        };
        (count > 0).then(|| {
            let set = |pair: &[usize]| (pair[0] != usize::MAX).then_some((pair[0], pair[1]));
            pairs.chunks(2).map(set).collect()
        })
    }

    /// Every match replaced by its first group in brackets.
    fn replace(&self, text: &[u8], utf: bool) -> (Vec<u8>, usize) {
        let (mut out, mut done, mut from, mut count) = (Vec::new(), 0, 0, 0);
        while let Some(groups) = self.find(text, from) {
            let (begin, end) = groups[0].expect("the whole");
            out.extend_from_slice(&text[done..begin]);
            out.push(b'[');
            if let Some(&Some((group, group_end))) = groups.get(1) {
                out.extend_from_slice(&text[group..group_end]);
            }
            out.push(b']');
            (done, from, count) = (end, end, count + 1);
            if begin == end {
                from += 1;
                while utf
                    && from < text.len()
                    && !std::str::from_utf8(text).expect("UTF-8").is_char_boundary(from)
                {
                    from += 1;
                }
                if from > text.len() {
                    break;
                }
            }
        }
        out.extend_from_slice(&text[done..]);
        (out, count)
    }
}

impl Drop for Plain {
    fn drop(&mut self) {
        // SAFETY: both are ours.
        unsafe {
            pcre2_match_data_free_8(self.1);
            pcre2_code_free_8(self.0);
        }
    }
}

fn pattern() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        "[a-cä]",
        Just(".".to_owned()),
        Just("^".to_owned()),
        Just("$".to_owned()),
        Just(r"\b".to_owned()),
        Just(r"\w".to_owned()),
        Just("[ab]".to_owned()),
        Just("[^a]".to_owned()),
        Just("(?<=a)".to_owned()),
        Just(String::new()),
    ];
    leaf.prop_recursive(4, 24, 3, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 1..4).prop_map(|parts| parts.concat()),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("(?:{a}|{b})")),
            inner.clone().prop_map(|a| format!("({a})")),
            inner.clone().prop_map(|a| format!("(?:{a})?")),
            inner.clone().prop_map(|a| format!("(?:{a}){{0,2}}")),
            inner.clone().prop_map(|a| format!("(?={a})")),
            inner.prop_map(|a| format!("(?!{a})")),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn matches_and_substitutions_are_those_of_pcre2(
        pattern in pattern(),
        text in "[a-cä\n ]{0,12}",
        letters in "[imsuUx]{0,3}",
        jit in any::<bool>(),
        from in 0..14usize,
    ) {
        let utf = letters.contains(['u', 'U']);
        let mut options = if utf { PCRE2_UTF } else { 0 };
        for (letter, option) in [
            ('i', PCRE2_CASELESS),
            ('m', PCRE2_MULTILINE),
            ('s', PCRE2_DOTALL),
            ('x', PCRE2_EXTENDED),
        ] {
            if letters.contains(letter) {
                options |= option;
            }
        }
        let mut flags = Flags::parse(letters.as_bytes()).expect("flags");
        if jit {
            flags = flags.with(Flags::JIT);
        }
        let plain = Plain::new(pattern.as_bytes(), options);
        let regex = Regex::compile(pattern.as_bytes(), flags);
        prop_assert_eq!(regex.is_ok(), plain.is_some());
        let (Ok(regex), Some(plain)) = (regex, plain) else { return Ok(()) };

        let mut matcher = Matcher::new();
        if from <= text.len() && (!utf || text.is_char_boundary(from)) {
            let found = matcher.find(&regex, text.as_bytes(), from).expect("a match");
            let expected = plain.find(text.as_bytes(), from);
            prop_assert_eq!(found > 0, expected.is_some());
            if let Some(expected) = expected {
                let pairs = matcher.captures()[..2 * (regex.groups() + 1)].chunks(2);
                let groups: Vec<_> = pairs
                    .map(|pair| (pair[0] >= 0).then_some((pair[0] as usize, pair[1] as usize)))
                    .collect();
                prop_assert_eq!(groups, expected);
            }
        }

        let template = Template::parse(b"[$1]").expect("a template");
        let mut out = Vec::new();
        let count = substitute(&mut matcher, &regex, text.as_bytes(), &template, true, &mut out);
        let count = count.expect("a match");
        let (expected, expected_count) = plain.replace(text.as_bytes(), utf);
        prop_assert_eq!(count, expected_count);
        if count > 0 {
            prop_assert_eq!(out, expected);
        }
    }
}
