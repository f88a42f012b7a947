//! The arrangement of locations' names in which nginx looks a request's path up: what stands at one level is a balanced
//! tree, and the names behind a prefix location are a level of its own below it. Plain data; `locations` makes nginx's
//! nodes of it.
//!
//! nginx builds such trees itself, from its queue of location blocks: by an insertion sort before version 1.25.3, and, before
//! 1.23.4, with names of 255 bytes at most. This one takes names that are many, and long.

use std::cmp::Ordering;

/// What a name leads to; a location that is exact and one that is a prefix may share it.
#[derive(Debug, Clone, PartialEq)]
pub struct Name<T> {
    pub text: Vec<u8>,
    pub exact: Option<T>,
    pub prefix: Option<T>,
    /// A request that lacks the slash at the end is redirected.
    pub auto_redirect: bool,
}

/// A node, whose links are places in the list that it is in.
#[derive(Debug, Clone, PartialEq)]
pub struct Node<T> {
    pub left: Option<usize>,
    pub right: Option<usize>,
    /// The names behind this one, where it is a prefix.
    pub below: Option<usize>,
    pub exact: Option<T>,
    pub prefix: Option<T>,
    pub auto_redirect: bool,
    /// What the name adds to the prefix that it stands below.
    pub text: Vec<u8>,
}

/// The names as a tree, whose root comes first. A node's text isn't longer than `longest`: a name that is gets nodes in
/// between, which lead to where the prefix around them does. Of two equal names one has what the other hasn't.
pub fn arrange<T: Copy>(mut names: Vec<Name<T>>, longest: usize) -> Vec<Node<T>> {
    names.sort_by(|a, b| compare(&a.text, &b.text));
    names.dedup_by(|later, first| {
        let same = later.text == first.text;
        if same {
            first.exact = first.exact.or(later.exact);
            first.prefix = first.prefix.or(later.prefix);
            first.auto_redirect |= later.auto_redirect;
        }
        same
    });
    let mut nodes: Vec<Node<T>> = Vec::with_capacity(names.len());
    let mut levels = vec![Level { names: &names[..], skip: 0, around: None, above: None }];
    while let Some(level) = levels.pop() {
        let groups = groups(&level, longest);
        let root = balance(&groups, level.skip, &mut nodes, &mut levels);
        if let Some(above) = level.above {
            nodes[above].below = root;
        }
    }
    nodes
}

/// Names that stand side by side below the same prefix.
struct Level<'n, T> {
    names: &'n [Name<T>],
    /// How many bytes of each name the prefix has.
    skip: usize,
    around: Option<T>,
    /// The prefix's node.
    above: Option<usize>,
}

/// A node to be, and the names that go below it.
struct Group<'n, T> {
    text: &'n [u8],
    exact: Option<T>,
    prefix: Option<T>,
    auto_redirect: bool,
    below: &'n [Name<T>],
}

fn groups<'n, T: Copy>(level: &Level<'n, T>, longest: usize) -> Vec<Group<'n, T>> {
    let mut groups = Vec::new();
    let mut rest = level.names;
    while let Some(first) = rest.first() {
        let text = &first.text[..first.text.len().min(level.skip + longest)];
        let is_whole = text.len() == first.text.len();
        let mut group = Group { text, exact: None, prefix: None, auto_redirect: false, below: &[] };
        if !is_whole && level.around.is_none() {
            // Not even "/" is around it: no request's path begins like that.
            rest = &rest[1..];
            continue;
        }
        if is_whole {
            group.exact = first.exact;
            group.prefix = first.prefix;
            group.auto_redirect = first.auto_redirect;
            rest = &rest[1..];
        }
        // The names that begin with a prefix follow it. Those behind an exact name are its neighbours, but for the ones
        // that have to be cut there.
        let is_cut = text.len() == level.skip + longest
            && rest.first().is_some_and(|next| next.text.starts_with(text));
        if is_cut && group.prefix.is_none() {
            group.prefix = level.around;
        }
        if group.prefix.is_some() {
            let count = rest.partition_point(|name| name.text.starts_with(text));
            (group.below, rest) = rest.split_at(count);
        }
        groups.push(group);
    }
    groups
}

/// Adds the nodes of one level, and the levels below it to those that are left to do. Gives the level's root.
fn balance<'n, T: Copy>(
    groups: &[Group<'n, T>],
    skip: usize,
    nodes: &mut Vec<Node<T>>,
    levels: &mut Vec<Level<'n, T>>,
) -> Option<usize> {
    let middle = groups.len() / 2;
    let group = groups.get(middle)?;
    let at = nodes.len();
    nodes.push(Node {
        left: None,
        right: None,
        below: None,
        exact: group.exact,
        prefix: group.prefix,
        auto_redirect: group.auto_redirect,
        text: group.text[skip..].to_vec(),
    });
    if !group.below.is_empty() {
        levels.push(Level {
            names: group.below,
            skip: group.text.len(),
            around: group.prefix,
            above: Some(at),
        });
    }
    nodes[at].left = balance(&groups[..middle], skip, nodes, levels);
    nodes[at].right = balance(&groups[middle + 1..], skip, nodes, levels);
    Some(at)
}

/// nginx's order of locations: by bytes, the slash before all others, so that what is behind a slash follows it.
pub fn compare(a: &[u8], b: &[u8]) -> Ordering {
    let rank = |&byte: &u8| if byte == b'/' { 0 } else { byte };
    a.iter().map(rank).cmp(b.iter().map(rank))
}
