//! The tree of path segments that finds a request's entry.
//!
//! A tree over whole segments rather than a radix tree over characters, because it has to work on bytes that need not be
//! UTF-8, and on a path that is not decoded yet, where `/` and `%2F` differ. At each segment a literal is tried
//! before a parameter and a parameter before a rest, and a branch that leads nowhere is left again, so the search
//! visits a node of the tree at most once.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::ops::Range;

use crate::pattern::{Pattern, Segment, MAX_PARAMS};
use crate::request::{cmp_decoded, first_segment};

/// The ranges of a path that its parameters took.
#[derive(Debug, Clone, Copy, Default)]
pub struct Values {
    ranges: [(u32, u32); MAX_PARAMS],
}

impl Values {
    pub fn get(&self, i: usize) -> Range<usize> {
        let (start, end) = self.ranges[i];
        start as usize..end as usize
    }

    fn set(&mut self, i: usize, range: Range<usize>) {
        self.ranges[i] = (range.start as u32, range.end as u32);
    }
}

/// The place of a node or an entry.
type Index = u32;

#[derive(Debug, Default)]
struct Node {
    /// Sorted by their text.
    literals: Box<[(Box<[u8]>, Index)]>,
    param: Option<Index>,
    /// What a path that ends here reaches.
    entry: Option<Index>,
    /// What any path that goes on from here reaches.
    rest: Option<Index>,
}

/// A router while patterns are added. Looking a literal up in a sorted list that grows would be quadratic in the number
/// of routes.
#[derive(Debug, Default)]
pub struct Builder {
    nodes: Vec<Node>,
    literals: HashMap<(Index, Box<[u8]>), Index>,
}

#[derive(Debug)]
pub struct Router {
    nodes: Box<[Node]>,
}

impl Builder {
    pub fn new() -> Builder {
        Builder { nodes: vec![Node::default()], literals: HashMap::new() }
    }

    /// Adds a pattern, or gives the entry that a pattern of the same shape has already.
    pub fn insert(&mut self, pattern: &Pattern, entry: Index) -> Result<(), Index> {
        let mut at = 0;
        for segment in &pattern.segments {
            at = match segment {
                Segment::Literal(text) => self.literal(at, text.as_bytes()),
                Segment::Param(_) => match self.node(at).param {
                    Some(child) => child,
                    None => {
                        let child = self.add();
                        self.node(at).param = Some(child);
                        child
                    }
                },
                Segment::Rest(_) => return take(&mut self.node(at).rest, entry),
            };
        }
        take(&mut self.node(at).entry, entry)
    }

    pub fn finish(mut self) -> Router {
        let mut literals: Vec<_> = self.literals.into_iter().collect();
        literals.sort_unstable();
        let mut literals = literals.into_iter().peekable();
        while let Some(&((parent, _), _)) = literals.peek() {
            let mut children = Vec::new();
            while let Some(((_, text), child)) = literals.next_if(|((of, _), _)| *of == parent) {
                children.push((text, child));
            }
            self.nodes[parent as usize].literals = children.into_boxed_slice();
        }
        Router { nodes: self.nodes.into_boxed_slice() }
    }

    fn node(&mut self, at: Index) -> &mut Node {
        &mut self.nodes[at as usize]
    }

    fn literal(&mut self, at: Index, text: &[u8]) -> Index {
        let key = (at, text.into());
        if let Some(&child) = self.literals.get(&key) {
            return child;
        }
        let child = self.add();
        self.literals.insert(key, child);
        child
    }

    fn add(&mut self) -> Index {
        self.nodes.push(Node::default());
        (self.nodes.len() - 1) as Index
    }
}

/// Puts an entry into a slot that is free, or gives the one that has it.
fn take(slot: &mut Option<Index>, entry: Index) -> Result<(), Index> {
    match *slot {
        None => {
            *slot = Some(entry);
            Ok(())
        }
        Some(earlier) => Err(earlier),
    }
}

impl Router {
    /// Finds the entry of a path. With `escaped`, the path's segments are percent-encoded and are compared decoded.
    pub fn find(&self, path: &[u8], escaped: bool, values: &mut Values) -> Option<usize> {
        // Ranges are kept in 32 bits; nginx's own limits on a request line are far below.
        if path.first() != Some(&b'/') || u32::try_from(path.len()).is_err() {
            return None;
        }
        self.walk(0, path, 0, escaped, 0, values).map(|entry| entry as usize)
    }

    /// Calls itself only where there is another way to go on, so that a long chain of segments needs no stack.
    fn walk(
        &self,
        mut at: Index,
        path: &[u8],
        mut from: usize,
        escaped: bool,
        mut params: usize,
        values: &mut Values,
    ) -> Option<Index> {
        loop {
            let node = &self.nodes[at as usize];
            let Some(segment) = first_segment(path, from) else { return node.entry };
            from = segment.end;
            if let Some(child) = node.find_literal(&path[segment.clone()], escaped) {
                if node.param.is_none() && node.rest.is_none() {
                    at = child;
                    continue;
                }
                let found = self.walk(child, path, from, escaped, params, values);
                if found.is_some() {
                    return found;
                }
            }
            if let Some(child) = node.param {
                values.set(params, segment.clone());
                if node.rest.is_none() {
                    at = child;
                    params += 1;
                    continue;
                }
                let found = self.walk(child, path, from, escaped, params + 1, values);
                if found.is_some() {
                    return found;
                }
            }
            if node.rest.is_some() {
                let slashes = path.iter().rev().take_while(|&&c| c == b'/').count();
                values.set(params, segment.start..path.len() - slashes);
            }
            return node.rest;
        }
    }
}

impl Node {
    fn find_literal(&self, text: &[u8], escaped: bool) -> Option<Index> {
        let order = |key: &[u8]| -> Ordering {
            if escaped {
                cmp_decoded(text, key).reverse()
            } else {
                key.cmp(text)
            }
        };
        let i = self.literals.binary_search_by(|(key, _)| order(key)).ok()?;
        Some(self.literals[i].1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn router(paths: &[&str]) -> Router {
        builder(paths).finish()
    }

    fn builder(paths: &[&str]) -> Builder {
        let mut builder = Builder::new();
        for (i, path) in (0..).zip(paths) {
            builder.insert(&Pattern::parse(path).unwrap(), i).unwrap();
        }
        builder
    }

    fn find<'p>(router: &Router, path: &'p str, params: usize) -> Option<(usize, Vec<&'p str>)> {
        let mut values = Values::default();
        let entry = router.find(path.as_bytes(), false, &mut values)?;
        Some((entry, (0..params).map(|i| &path[values.get(i)]).collect()))
    }

    #[test]
    fn static_beats_parameter_beats_rest() {
        let router = router(&["/users/*rest", "/users/:id", "/users/me", "/"]);
        assert_eq!(find(&router, "/users/me", 0), Some((2, vec![])));
        assert_eq!(find(&router, "/users/7", 1), Some((1, vec!["7"])));
        assert_eq!(find(&router, "/users/7/x", 1), Some((0, vec!["7/x"])));
        assert_eq!(find(&router, "/", 0), Some((3, vec![])));
        assert_eq!(find(&router, "/users", 0), None);
    }

    #[test]
    fn a_branch_that_leads_nowhere_is_left_again() {
        let router =
            router(&["/users/me", "/users/:id/x", "/a/:b/c", "/a/b/d", "/*rest", "/a/:b/:c/:d"]);
        assert_eq!(find(&router, "/users/me/x", 1), Some((1, vec!["me"])));
        assert_eq!(find(&router, "/a/b/c", 1), Some((2, vec!["b"])));
        assert_eq!(find(&router, "/a/b/d", 0), Some((3, vec![])));
        assert_eq!(find(&router, "/a/b/d/e", 3), Some((5, vec!["b", "d", "e"])));
        assert_eq!(find(&router, "/a/b/x", 1), Some((4, vec!["a/b/x"])));
    }

    #[test]
    fn slashes_at_the_end_and_doubled_ones_do_not_count() {
        let router = router(&["/users/:id", "/files/*rest"]);
        assert_eq!(find(&router, "/users/7/", 1), Some((0, vec!["7"])));
        assert_eq!(find(&router, "//users//7//", 1), Some((0, vec!["7"])));
        assert_eq!(find(&router, "/files/a/b/", 1), Some((1, vec!["a/b"])));
        assert_eq!(find(&router, "/files/", 0), None);
    }

    #[test]
    fn patterns_of_one_shape_are_found_out() {
        let mut router = builder(&["/users/:id", "/f/*rest"]);
        assert_eq!(router.insert(&Pattern::parse("/users/:name").unwrap(), 7), Err(0));
        assert_eq!(router.insert(&Pattern::parse("/f/*path").unwrap(), 7), Err(1));
        assert_eq!(router.insert(&Pattern::parse("/users/:name/x").unwrap(), 7), Ok(()));
        assert_eq!(find(&router.finish(), "/f/x", 1), Some((1, vec!["x"])));
    }

    #[test]
    fn any_bytes_are_looked_up_without_a_panic() {
        let router = router(&["/:a", "/:a/*b"]);
        for path in
            [&b""[..], b"x", b"\xff", b"/\xff\xfe", b"/%", b"/%2", b"/%zz/%", b"///", b"/\0/\xc3("]
        {
            for escaped in [false, true] {
                router.find(path, escaped, &mut Values::default());
            }
        }
    }
}
