//! Patterns: what the flags do, what is refused and in which words, and what is mended.

use luare::{Checked, Flags, MatchError, Matcher, Regex};

fn compile(pattern: &str, flags: &str) -> Regex {
    match Regex::compile(pattern.as_bytes(), Flags::parse(flags.as_bytes()).expect("flags")) {
        Ok(regex) => regex,
        Err(error) => panic!("{error}"),
    }
}

/// The first match and its groups.
fn find<'a>(pattern: &str, flags: &str, text: &'a str) -> Option<Vec<Option<&'a str>>> {
    let regex = compile(pattern, flags);
    let mut matcher = Matcher::new();
    let found = matcher.find(&regex, text.as_bytes(), 0).expect("a match within limits");
    let pairs = matcher.captures()[..2 * (regex.groups() + 1)].chunks(2);
    let groups =
        pairs.map(|pair| (pair[0] >= 0).then(|| &text[pair[0] as usize..pair[1] as usize]));
    (found > 0).then(|| groups.collect())
}

fn whole<'a>(pattern: &str, flags: &str, text: &'a str) -> Option<&'a str> {
    find(pattern, flags, text).and_then(|groups| groups[0])
}

#[test]
fn each_flag_does_what_its_letter_says() {
    for (pattern, flag, text, without, with) in [
        ("b", "a", "ab", Some("b"), None),
        ("he|hell", "d", "hello", Some("he"), Some("hell")),
        ("B", "i", "ab", None, Some("b")),
        ("b+", "j", "abb", Some("bb"), Some("bb")),
        (r"(?:(a)|b)\1", "J", "b", None, Some("b")),
        ("^b", "m", "a\nb", None, Some("b")),
        ("b", "o", "b", Some("b"), Some("b")),
        ("a.b", "s", "a\nb", None, Some("a\nb")),
        ("^.$", "u", "ä", None, Some("ä")),
        ("^.$", "U", "ä", None, Some("ä")),
        ("a b # c", "x", "ab", None, Some("ab")),
    ] {
        assert_eq!(whole(pattern, "", text), without, "/{pattern}/");
        assert_eq!(whole(pattern, flag, text), with, "/{pattern}/{flag}");
        assert_eq!(whole(pattern, &format!("{flag}j"), text), with, "/{pattern}/{flag}j");
    }
    assert!(Regex::compile(b"(?<n>a)(?<n>b)", Flags::default()).is_err());
    let named = compile("(?<n>a)(?<m>c)?(?<n>b)", "D");
    assert_eq!(named.names().collect::<Vec<_>>(), [(2, &b"m"[..]), (1, b"n"), (3, b"n")]);
}

#[test]
fn flags_are_a_set_and_other_letters_are_refused() {
    let flags = Flags::parse(b"ojo").expect("flags");
    assert_eq!(flags, Flags::parse(b"jo").expect("flags"));
    assert!(flags.has(Flags::ONCE) && flags.has(Flags::JIT) && !flags.has(Flags::DFA));
    assert_eq!(Flags::from_bits(flags.bits()), flags);
    assert_eq!(flags.without(Flags::ONCE), Flags::JIT);
    for letter in 0..=255u8 {
        let known = b"adDijJmosuUx".contains(&letter);
        assert_eq!(Flags::parse(&[letter]).is_ok(), known, "{letter}");
    }
    let error = Flags::parse(b"jH").expect_err("no flag");
    assert_eq!(error.to_string(), "unknown flag \"H\"");
}

#[test]
fn groups_that_take_no_part_are_none_wherever_they_stand() {
    assert_eq!(find("(a)|(b)|(c)", "", "b"), Some(vec![Some("b"), None, Some("b"), None]));
    assert_eq!(find("(a)|(b)|(c)", "j", "b"), Some(vec![Some("b"), None, Some("b"), None]));
    // The algorithm of `d` has no groups.
    assert_eq!(find("(a)|(b)", "d", "b"), Some(vec![Some("b")]));
    // After a pattern with more groups, nothing of it is left.
    let (three, one) = (compile("(a)(b)(c)", ""), compile("(x)?y", ""));
    let mut matcher = Matcher::new();
    assert_eq!(matcher.find(&three, b"abc", 0), Ok(4));
    assert_eq!(matcher.find(&one, b"  y", 0), Ok(1));
    assert_eq!(matcher.captures()[..4], [2, 3, -1, -1]);
}

#[test]
fn any_number_of_groups_is_found() {
    let mut matcher = Matcher::new();
    for groups in [1, 31, 32, 33, 500, 3] {
        let regex = compile(&"(.)".repeat(groups), "");
        assert_eq!(matcher.find(&regex, "x".repeat(groups).as_bytes(), 0), Ok(groups + 1));
        let last = groups as i32;
        assert_eq!(matcher.captures()[2 * groups..2 * groups + 2], [last - 1, last]);
    }
}

#[test]
fn faults_have_the_texts_that_users_know() {
    for (pattern, flags, text) in [
        ("(abc", "", r#"missing ) in "(abc""#),
        ("a)b", "", r#"unmatched parentheses in "a)b" at ")b""#),
        ("*a", "", r#"nothing to repeat in "*a" at "*a""#),
        ("[a", "", r#"missing terminating ] for character class in "[a""#),
        (r"a\", "", r#"\ at end of pattern in "a\""#),
        (r"\x{400}", "", r#"character value in \x{} or \o{} is too large in "\x{400}" at "}""#),
        (
            "(?<n>a)(?<n>b)",
            "",
            r#"two named subpatterns have the same name in "(?<n>a)(?<n>b)" at "b)""#,
        ),
        ("(?<n", "", r#"syntax error in subpattern name (missing terminator) in "(?<n""#),
        ("(?<1>a)", "", r#"group name must start with a non-digit in "(?<1>a)" at "1>a)""#),
        (r"\p{Nix}", "", r#"unknown property name after \P or \p in "\p{Nix}""#),
        ("(?#a", "", r#"missing ) after comment in "(?#a""#),
        // What was mended before counts for nothing.
        (r"\_\i(", "", r#"missing ) in "\_\i(""#),
        (r"[\w-.]**a", "", r#"nothing to repeat in "[\w-.]**a" at "*a""#),
    ] {
        let flags = Flags::parse(flags.as_bytes()).expect("flags");
        let error = Regex::compile(pattern.as_bytes(), flags).expect_err(pattern);
        assert_eq!(error.to_string(), format!("pcre_compile() failed: {text}"));
    }
    let error = Regex::compile(b"a\xff", Flags::UTF).expect_err("no UTF-8");
    assert_eq!(
        error.message(),
        b"pcre_compile() failed: invalid UTF-8 string in \"a\xff\" at \"\xff\""
    );
}

#[test]
fn what_only_pcre2_refuses_means_what_it_meant() {
    for (pattern, text, found) in [
        (r"a\ib", "aib", Some("aib")),
        (r"[\i]+", "\\ii", Some("ii")),
        (r"[\w-.]+", " a-b.c ", Some("a-b.c")),
        (r"[[:digit:]-x]+", "1-x", Some("1-x")),
        (r"\y[\d-z\s-.]+\j", "y1-z .j", Some("y1-z .j")),
        // A hyphen that stands for a range stays one.
        (r"[a-c\d-]+", "b-7", Some("b-7")),
    ] {
        assert_eq!(whole(pattern, "", text), found, "/{pattern}/");
    }
    // With many faults it is refused in the end, quickly.
    assert!(Regex::compile(&br"\i".repeat(10_000), Flags::default()).is_err());
}

#[test]
fn text_that_is_no_utf8_is_an_error_with_u_and_matches_nothing_with_big_u() {
    let mut matcher = Matcher::new();
    for jit in ["", "j"] {
        let strict = compile(".", &format!("u{jit}"));
        assert_eq!(matcher.find(&strict, b"\xe4\xbd", 0), Err(MatchError::BAD_UTF8));
        assert_eq!(matcher.find(&strict, "ä".as_bytes(), 1), Err(MatchError::BAD_UTF8_OFFSET));
        let lenient = compile(".+", &format!("U{jit}"));
        assert_eq!(matcher.find(&lenient, b"\xe4\xbda\xff", 0), Ok(1));
        assert_eq!(matcher.captures()[..2], [2, 3]);
        // Text is only looked through until it is known to be good.
        assert_eq!(matcher.find_in(&strict, "aä".as_bytes(), 1, Checked::Yes), Ok(1));
        assert_eq!(matcher.captures()[..2], [1, 3]);
        // So is the pattern's own wish.
        let own = compile("(*UTF)^.$", jit);
        assert_eq!(matcher.find(&own, "ä".as_bytes(), 0), Ok(1));
        assert_eq!(matcher.find(&own, b"\xff", 0), Err(MatchError::BAD_UTF8));
    }
    let dfa = compile(".", "dU");
    assert_eq!(matcher.find(&dfa, b"\xff", 0), Err(MatchError::BAD_UTF8));
}

#[test]
fn a_pattern_that_explodes_ends_by_the_limit() {
    let text = b"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa!";
    let mut matcher = Matcher::new();
    matcher.set_match_limit(10_000);
    for flags in ["", "j"] {
        let regex = compile("(a|a?)+$", flags);
        assert_eq!(matcher.find(&regex, text, 0), Err(MatchError::MATCH_LIMIT), "{flags}");
        // The next match is as if nothing had been.
        assert_eq!(matcher.find(&compile("(a)!", flags), text, 0), Ok(2));
    }
    // PCRE2's own limit holds without one.
    matcher.set_match_limit(0);
    let regex = compile("(a|a?)+$", "j");
    assert_eq!(matcher.find(&regex, text, 0), Err(MatchError::MATCH_LIMIT));
    assert_eq!(MatchError::MATCH_LIMIT.to_string(), "pcre_exec() failed: -8");
}

#[test]
fn a_stack_that_is_too_small_can_be_made_larger() {
    let regex = compile("(?:(.)|(..))*!", "j");
    let text = [&b"x".repeat(4000)[..], b"!"].concat();
    let mut matcher = Matcher::new();
    assert_eq!(matcher.find(&regex, &text, 0), Err(MatchError::JIT_STACK_LIMIT));
    assert!(matcher.set_jit_stack(4 << 20));
    assert!(matcher.find(&regex, &text, 0).is_ok_and(|found| found > 0));
    matcher.reset_jit_stack();
    assert_eq!(matcher.find(&regex, &text, 0), Err(MatchError::JIT_STACK_LIMIT));
}

#[test]
fn a_match_that_takes_much_memory_is_found_and_leaves_none() {
    let regex = compile("(?:(.)|(..))*!", "");
    let text = [&b"x".repeat(100_000)[..], b"!"].concat();
    let mut matcher = Matcher::new();
    for _ in 0..3 {
        assert!(matcher.find(&regex, &text, 0).is_ok_and(|found| found > 0));
        assert_eq!(matcher.captures()[1], 100_001);
        assert!(matcher.kept_memory() < 1 << 20, "{}", matcher.kept_memory());
    }
}

#[test]
fn a_match_that_takes_too_much_memory_is_given_up() {
    let regex = compile("(?:(.)|(..))*!", "");
    let text = [&b"x".repeat(700_000)[..], b"!"].concat();
    let mut matcher = Matcher::new();
    assert_eq!(matcher.find(&regex, &text, 0), Err(MatchError::RECURSION_LIMIT));
    assert!(matcher.kept_memory() < 1 << 20, "{}", matcher.kept_memory());
    assert_eq!(matcher.find(&regex, b"xx!", 0), Ok(2));
}

#[test]
fn the_dfa_takes_the_room_that_it_needs() {
    let pattern: Vec<_> = (1..400).map(|n| format!("a{{1,{n}}}b?")).collect();
    let regex = compile(&pattern.join("|"), "d");
    let mut matcher = Matcher::new();
    assert_eq!(matcher.find(&regex, &b"a".repeat(300), 0), Ok(1));
    assert_eq!(matcher.captures()[..2], [0, 300]);
    // References to groups are beyond it.
    assert_eq!(matcher.find(&compile(r"(a)\1", "d"), b"aa", 0), Err(MatchError(-16)));
}

#[test]
fn a_place_behind_the_text_is_an_error() {
    let mut matcher = Matcher::new();
    assert_eq!(matcher.find(&compile("$", ""), b"ab", 2), Ok(1));
    assert_eq!(matcher.find(&compile("$", ""), b"ab", 3), Err(MatchError::BAD_OFFSET));
}
