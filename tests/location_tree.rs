//! The tree of locations' names. Included as source: the module itself is a library that only nginx can load.

#[path = "../src/platform/gateway/tree.rs"]
mod tree;

use tree::{arrange, Name, Node};

/// What a path leads to, as nginx looks it up in such a tree: the location, and whether that ends the search.
fn find(nodes: &[Node<usize>], path: &[u8]) -> Option<(usize, bool)> {
    let mut found = None;
    let mut rest = path;
    let mut at = (!nodes.is_empty()).then_some(0);
    while let Some(node) = at.map(|at: usize| &nodes[at]) {
        let shared = rest.len().min(node.text.len());
        at = match tree::compare(&rest[..shared], &node.text[..shared]) {
            std::cmp::Ordering::Less => node.left,
            std::cmp::Ordering::Greater => node.right,
            _ if rest.len() < node.text.len() => node.left,
            _ if rest.len() == node.text.len() => {
                return Some(node.exact.map_or_else(
                    || (node.prefix.expect("a node leads somewhere"), false),
                    |exact| (exact, true),
                ))
            }
            _ => match node.prefix {
                Some(prefix) => {
                    found = Some((prefix, false));
                    rest = &rest[shared..];
                    node.below
                }
                None => node.right,
            },
        };
    }
    found
}

/// The same by the rules that nginx's manual has: an exact name, or else the longest prefix.
fn wanted(names: &[Name<usize>], path: &[u8]) -> Option<(usize, bool)> {
    let exact = names.iter().filter(|name| name.text == path).find_map(|name| name.exact);
    let prefixes =
        names.iter().filter(|name| name.prefix.is_some() && path.starts_with(&name.text));
    let longest = prefixes.max_by_key(|name| name.text.len()).and_then(|name| name.prefix);
    exact.map(|exact| (exact, true)).or(longest.map(|prefix| (prefix, false)))
}

fn exact(text: &str, to: usize) -> Name<usize> {
    Name { text: text.into(), exact: Some(to), prefix: None, auto_redirect: false }
}

fn prefix(text: &str, to: usize) -> Name<usize> {
    Name { text: text.into(), exact: None, prefix: Some(to), auto_redirect: false }
}

/// xorshift64*
fn random(state: &mut u64) -> usize {
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    (state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize
}

#[test]
fn any_names_are_found_by_nginxs_rules_however_short_a_nodes_text_must_be() {
    let mut state = 11;
    let text = |state: &mut u64, least: usize| {
        let length = least + random(state) % 9;
        let letter = |state: &mut u64| b"/a/b-"[random(state) % 5];
        let mut text = vec![b'/'];
        text.extend((0..length).map(|_| letter(state)));
        text
    };
    for round in 0..3000 {
        let mut names = vec![prefix("/", 0)];
        let mut seen = std::collections::HashSet::from([(b"/".to_vec(), false)]);
        for to in 1..random(&mut state) % 24 + 2 {
            let text = text(&mut state, 0);
            let is_exact = random(&mut state) & 1 == 0;
            if seen.insert((text.clone(), is_exact)) {
                names.push(Name {
                    text,
                    exact: is_exact.then_some(to),
                    prefix: (!is_exact).then_some(to),
                    auto_redirect: false,
                });
            }
        }
        let longest = [1, 2, 3, 5, 255][round % 5];
        let nodes = arrange(names.clone(), longest);
        assert!(nodes.iter().all(|node| node.text.len() <= longest));
        let paths = names.iter().map(|name| name.text.clone()).collect::<Vec<_>>();
        for path in paths.into_iter().chain((0..40).map(|_| text(&mut state, 0))) {
            assert_eq!(
                find(&nodes, &path),
                wanted(&names, &path),
                "{:?} among {names:?} in nodes of {longest}",
                String::from_utf8_lossy(&path)
            );
        }
    }
}

#[test]
fn many_names_are_balanced() {
    let names = (0..100_000).map(|i| exact(&format!("/n{i:06}"), i)).chain([prefix("/", 100_000)]);
    let nodes = arrange(names.collect(), 255);
    let mut deepest = 0;
    let mut left = vec![(0, 1)];
    while let Some((at, depth)) = left.pop() {
        deepest = deepest.max(depth);
        let node = &nodes[at];
        left.extend(
            [node.left, node.right, node.below].into_iter().flatten().map(|at| (at, depth + 1)),
        );
    }
    assert_eq!((nodes.len(), deepest), (100_001, 18));
}

#[test]
fn prefixes_may_be_nested_deeply() {
    let depth = 3000;
    let names = (0..depth).map(|i| prefix(&format!("/{}", "a/".repeat(i)), i)).collect();
    let nodes = arrange(names, 255);
    assert_eq!(
        find(&nodes, format!("/{}b", "a/".repeat(depth)).as_bytes()),
        Some((depth - 1, false))
    );
    assert_eq!(find(&nodes, b"/a/a/b"), Some((2, false)));
}

#[test]
fn a_redirect_for_a_missing_slash_is_kept() {
    let mut name = prefix("/users/", 1);
    name.auto_redirect = true;
    let nodes = arrange(vec![prefix("/", 0), name, exact("/users/", 2)], 255);
    let users = nodes.iter().find(|node| node.text == b"users/").unwrap();
    assert_eq!((users.exact, users.prefix, users.auto_redirect), (Some(2), Some(1), true));
    assert_eq!(nodes.iter().filter(|node| node.auto_redirect).count(), 1);
}

#[test]
fn a_long_name_outside_of_every_prefix_has_no_node() {
    assert_eq!(arrange(vec![exact("abcdef", 1)], 3), []);
    assert_eq!(arrange(vec![exact("abc", 1)], 3).len(), 1);
}
