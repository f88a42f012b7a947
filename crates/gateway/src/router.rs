//! The tree of path segments that finds a request's entry.
//!
//! A tree over whole segments rather than a radix tree over characters, because it has to work on bytes that need not be
//! UTF-8, and on a path that is not decoded yet, where `/` and `%2F` differ. At each segment a literal is tried
//! before a parameter and a parameter before a rest, and a branch that leads nowhere is left again, so the search
//! visits a node of the tree at most once.

use std::ops::Range;

use crate::pattern::{Pattern, Segment, MAX_PARAMS};
use crate::request::{eq_decoded, first_segment};

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

#[derive(Debug, Default)]
struct Node {
    /// Sorted by their text.
    literals: Vec<(Box<[u8]>, usize)>,
    param: Option<usize>,
    /// What a path that ends here reaches.
    entry: Option<usize>,
    /// What any path that goes on from here reaches.
    rest: Option<usize>,
}

#[derive(Debug)]
pub struct Router {
    nodes: Vec<Node>,
}

impl Router {
    pub fn new() -> Router {
        Router { nodes: vec![Node::default()] }
    }

    /// Adds a pattern, or gives the entry that a pattern of the same shape has already.
    pub fn insert(&mut self, pattern: &Pattern, entry: usize) -> Result<(), usize> {
        let mut at = 0;
        for segment in &pattern.segments {
            at = match segment {
                Segment::Literal(text) => self.literal(at, text.as_bytes()),
                Segment::Param(_) => match self.nodes[at].param {
                    Some(child) => child,
                    None => {
                        let child = self.add();
                        self.nodes[at].param = Some(child);
                        child
                    }
                },
                Segment::Rest(_) => {
                    return match self.nodes[at].rest.replace(entry) {
                        None => Ok(()),
                        Some(earlier) => {
                            self.nodes[at].rest = Some(earlier);
                            Err(earlier)
                        }
                    }
                }
            };
        }
        match self.nodes[at].entry {
            None => {
                self.nodes[at].entry = Some(entry);
                Ok(())
            }
            Some(earlier) => Err(earlier),
        }
    }

    /// Finds the entry of a path. With `escaped`, the path's segments are percent-encoded and are compared decoded.
    pub fn find(&self, path: &[u8], escaped: bool, values: &mut Values) -> Option<usize> {
        // Ranges are kept in 32 bits; nginx's own limits on a request line are far below.
        if path.first() != Some(&b'/') || u32::try_from(path.len()).is_err() {
            return None;
        }
        self.walk(0, path, 0, escaped, 0, values)
    }

    fn walk(
        &self,
        at: usize,
        path: &[u8],
        from: usize,
        escaped: bool,
        params: usize,
        values: &mut Values,
    ) -> Option<usize> {
        let node = &self.nodes[at];
        let Some(segment) = first_segment(path, from) else { return node.entry };
        let text = &path[segment.clone()];
        if let Some(child) = node.find_literal(text, escaped) {
            let found = self.walk(child, path, segment.end, escaped, params, values);
            if found.is_some() {
                return found;
            }
        }
        if let Some(child) = node.param {
            values.set(params, segment.clone());
            let found = self.walk(child, path, segment.end, escaped, params + 1, values);
            if found.is_some() {
                return found;
            }
        }
        if node.rest.is_some() {
            let slashes = path.iter().rev().take_while(|&&c| c == b'/').count();
            values.set(params, segment.start..path.len() - slashes);
        }
        node.rest
    }

    fn literal(&mut self, at: usize, text: &[u8]) -> usize {
        match self.nodes[at].literals.binary_search_by(|(key, _)| key.as_ref().cmp(text)) {
            Ok(i) => self.nodes[at].literals[i].1,
            Err(i) => {
                let child = self.add();
                self.nodes[at].literals.insert(i, (text.into(), child));
                child
            }
        }
    }

    fn add(&mut self) -> usize {
        self.nodes.push(Node::default());
        self.nodes.len() - 1
    }
}

impl Node {
    fn find_literal(&self, text: &[u8], escaped: bool) -> Option<usize> {
        if escaped && text.contains(&b'%') {
            return self
                .literals
                .iter()
                .find(|(key, _)| eq_decoded(text, key))
                .map(|&(_, child)| child);
        }
        let i = self.literals.binary_search_by(|(key, _)| key.as_ref().cmp(text)).ok()?;
        Some(self.literals[i].1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn router(paths: &[&str]) -> Router {
        let mut router = Router::new();
        for (i, path) in paths.iter().enumerate() {
            router.insert(&Pattern::parse(path).unwrap(), i).unwrap();
        }
        router
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
        let mut router = router(&["/users/:id", "/f/*rest"]);
        assert_eq!(router.insert(&Pattern::parse("/users/:name").unwrap(), 7), Err(0));
        assert_eq!(router.insert(&Pattern::parse("/f/*path").unwrap(), 7), Err(1));
        assert_eq!(router.insert(&Pattern::parse("/users/:name/x").unwrap(), 7), Ok(()));
        assert_eq!(find(&router, "/f/x", 1), Some((1, vec!["x"])));
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
