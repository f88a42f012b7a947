//! Templates, and replacing matches.

use luare::{substitute, Flags, Matcher, Regex, Substitution, Template};

fn replace(text: &str, pattern: &str, flags: &str, template: &str, all: bool) -> (String, usize) {
    let regex = Regex::compile(pattern.as_bytes(), Flags::parse(flags.as_bytes()).expect("flags"))
        .expect("a pattern");
    let template = Template::parse(template.as_bytes()).expect("a template");
    let mut out = Vec::new();
    let mut matcher = Matcher::new();
    let count = substitute(&mut matcher, &regex, text.as_bytes(), &template, all, &mut out)
        .expect("a match within limits");

    // The same, with replacements from outside.
    let mut one_by_one = Substitution::default();
    one_by_one.begin();
    let mut steps = 0;
    loop {
        let set = one_by_one.next(&mut matcher, &regex, text.as_bytes()).expect("no error");
        if set == 0 || !all && steps == 1 {
            break;
        }
        steps += 1;
        let mut piece = Vec::new();
        template.append(&mut piece, text.as_bytes(), &matcher.captures()[..2 * set]);
        one_by_one.replace(text.as_bytes(), &piece);
        if !all {
            break;
        }
    }
    assert_eq!(steps, count);
    if count > 0 {
        assert_eq!(one_by_one.finish(text.as_bytes()), out);
    } else {
        assert_eq!(out, b"");
        out.extend_from_slice(text.as_bytes());
    }
    (String::from_utf8(out).expect("UTF-8"), count)
}

#[test]
fn groups_stand_where_the_template_names_them() {
    for (template, result) in [
        ("$2 $1", "[c b]"),
        ("${2}2$0$$", "[c2bc$]"),
        ("$3$9$99999999999999999999", "[]"),
        ("x", "[x]"),
        ("", "[]"),
        ("$1$1", "[bb]"),
        ("$$1", "[$1]"),
        ("$12", "[]"),
        ("${1}2", "[b2]"),
    ] {
        let (text, count) = replace("[bc]", "(b)(c)(d)?", "", template, true);
        assert_eq!((&*text, count), (result, 1), "{template}");
    }
}

#[test]
fn what_is_no_template_is_refused_in_the_words_that_users_know() {
    for (template, text) in [
        ("$", "lua script: invalid capturing variable name found in \"$\""),
        ("a$", "lua script: invalid capturing variable name found in \"a$\""),
        ("$-", "lua script: invalid capturing variable name found in \"$-\""),
        ("${}", "lua script: invalid capturing variable name found in \"${}\""),
        ("x${", "lua script: invalid capturing variable name found in \"x${\""),
        ("${1", "the closing bracket in \"1\" variable is missing"),
        ("${1a}", "the closing bracket in \"1\" variable is missing"),
        ("${ab-}", "the closing bracket in \"ab\" variable is missing"),
        ("${-}", "the closing bracket in \"\" variable is missing"),
        (
            "$hello-",
            "attempt to use named capturing variable \"hello\" (named captures not supported yet)",
        ),
        (
            "${h_1}",
            "attempt to use named capturing variable \"h_1\" (named captures not supported yet)",
        ),
        (
            "$1 $x $",
            "attempt to use named capturing variable \"x\" (named captures not supported yet)",
        ),
    ] {
        let error = Template::parse(template.as_bytes()).expect_err(template);
        assert_eq!(error.to_string(), text, "{template}");
    }
}

#[test]
fn all_matches_are_replaced_or_the_first() {
    assert_eq!(replace("a,b,c", ",", "", "-", true), ("a-b-c".into(), 2));
    assert_eq!(replace("a,b,c", ",", "", "-", false), ("a-b,c".into(), 1));
    assert_eq!(replace("abc", ",", "", "-", true), ("abc".into(), 0));
    assert_eq!(replace("abc", "b", "", "", true), ("ac".into(), 1));
    assert_eq!(replace("", "", "", "-", true), ("-".into(), 1));
}

#[test]
fn after_an_empty_match_it_goes_on_a_character_further() {
    assert_eq!(replace("abc", "", "", "-", true), ("-a-b-c-".into(), 4));
    assert_eq!(replace("aab", "a*", "", "x", true), ("xxbx".into(), 3));
    assert_eq!(replace("aä", "", "u", "-", true), ("-a-ä-".into(), 3));
    assert_eq!(replace("aä", "", "U", "-", true), ("-a-ä-".into(), 3));
    assert_eq!(replace("ä", "(*UTF)x*", "j", "-", true), ("-ä-".into(), 2));
    assert_eq!(replace("a b", r"\b", "", "|", true), ("|a| |b|".into(), 4));
}

#[test]
fn a_match_that_begins_elsewhere_by_backslash_k_goes_on_and_ends() {
    assert_eq!(replace("aab", r"a\K", "", "-", true), ("a-ab".into(), 1));
    assert_eq!(replace("foobar", r"foo\Kbar", "", "x", true), ("foox".into(), 1));
    // In a group that is called from a look-ahead it puts the begin behind the end.
    let ahead = Regex::compile(br"(?(DEFINE)(a\K))(?=(?1))", Flags::default()).expect("a pattern");
    let mut matcher = Matcher::new();
    assert_eq!(matcher.find(&ahead, b"aa", 0).map(|found| found > 0), Ok(true));
    assert_eq!(matcher.captures()[..2], [0, 0]);
    assert_eq!(replace("aa", r"(?(DEFINE)(a\K))(?=(?1))", "", "-", true), ("-a-a".into(), 2));
    // From a look-behind it puts it before where the last match ended.
    assert_eq!(replace("b", r"(?(DEFINE)(\Kb))(?<=(?1))", "", "-", true), ("--".into(), 2));
    assert_eq!(replace("bc", r"(?(DEFINE)(\Kb))(?:b|(?<=(?1))c)", "", "-", true), ("--".into(), 2));
}

#[test]
fn a_template_takes_the_place_of_another() {
    let mut template = Template::parse(b"$1 and more").expect("a template");
    assert!(template.read(b"$x").is_err());
    template.read(b"<$0>").expect("a template");
    let mut out = Vec::new();
    template.append(&mut out, b"abc", &[1, 2]);
    assert_eq!(out, b"<b>");
}
