//! A router over any choice of routes finds for any path the route that a look at each of them finds, and for a path
//! with escapes what it finds for the decoded one.

#![no_main]

use std::cell::RefCell;
use std::collections::HashMap;
use std::fs;

use gateway::Table;
use libfuzzer_sys::fuzz_target;
use tempfile::TempDir;

/// A set of them is chosen by the bits of a number.
const ROUTES: [&str; 16] = [
    "/",
    "/a",
    "/a/b",
    "/a/b/c",
    "/a/:p",
    "/a/:p/c",
    "/a/:p/:q",
    "/a/*rest",
    "/:x",
    "/:x/b",
    "/:x/:y/c/d",
    "/*all",
    "/%/%2",
    "/ab/:p/a",
    "/ü/:p",
    "/a/b/*more",
];

struct Tables {
    project: TempDir,
    by_mask: HashMap<u16, Table>,
}

impl Tables {
    fn new() -> Tables {
        let project = TempDir::new().expect("a folder for temporary files");
        fs::create_dir(project.path().join("app")).expect("a folder");
        fs::write(project.path().join("app/f.lua"), "return function() end").expect("a file");
        Tables { project, by_mask: HashMap::new() }
    }

    fn get(&mut self, mask: u16) -> &Table {
        if self.by_mask.len() > 4096 {
            self.by_mask.clear();
        }
        let project = self.project.path();
        self.by_mask.entry(mask).or_insert_with(|| {
            let rows = chosen(mask).map(|path| format!("{{\"GET\", \"{path}\", \"f\"}},\n"));
            let file = project.join("app/gateway.lua");
            let text = format!("return {{\n{}}}", rows.collect::<String>());
            fs::write(&file, text).expect("a file");
            Table::load(&file, project).unwrap_or_else(|error| panic!("{error}"))
        })
    }
}

thread_local! {
    static TABLES: RefCell<Tables> = RefCell::new(Tables::new());
}

fn chosen(mask: u16) -> impl Iterator<Item = &'static str> {
    ROUTES.into_iter().enumerate().filter(move |(i, _)| mask >> i & 1 == 1).map(|(_, path)| path)
}

fn segments(path: &[u8]) -> Vec<&[u8]> {
    path.split(|&c| c == b'/').filter(|segment| !segment.is_empty()).collect()
}

/// How specific the route is for the path, segment by segment and the smaller the more; `None` where it doesn't match.
fn rank(route: &str, path: &[u8]) -> Option<Vec<u8>> {
    let path = segments(path);
    let route = segments(route.as_bytes());
    let mut rank = Vec::new();
    for (i, part) in route.iter().enumerate() {
        let segment = path.get(i)?;
        match part[0] {
            b'*' => {
                rank.push(2);
                return Some(rank);
            }
            b':' => rank.push(1),
            _ if part == segment => rank.push(0),
            _ => return None,
        }
    }
    (route.len() == path.len()).then_some(rank)
}

fn expected(mask: u16, path: &[u8]) -> Option<&'static str> {
    if path.first() != Some(&b'/') {
        return None;
    }
    let ranked = chosen(mask).filter_map(|route| Some((rank(route, path)?, route)));
    ranked.min().map(|(_, route)| route)
}

fuzz_target!(|input: (u16, u64, &[u8])| {
    let (mask, encode, path) = input;
    TABLES.with_borrow_mut(|tables| {
        let table = tables.get(mask);
        let found = table.find(path);
        assert_eq!(found.as_ref().map(|found| found.entry.path()), expected(mask, path));
        for (name, value) in found.iter().flat_map(|found| found.params()) {
            assert!(!name.is_empty() && !value.is_empty());
        }

        // As a client would send it, with some characters escaped that needn't be.
        if segments(path).iter().any(|segment| matches!(*segment, b"." | b"..")) {
            table.find_raw(path);
            return;
        }
        let mut raw = Vec::new();
        for (i, &byte) in path.iter().enumerate() {
            if byte != b'/' && (encode >> (i % 64) & 1 == 1 || matches!(byte, b'%' | b'?' | b'#')) {
                raw.extend_from_slice(format!("%{byte:02x}").as_bytes());
            } else {
                raw.push(byte);
            }
        }
        let of_raw = table.find_raw(&raw);
        assert_eq!(
            of_raw.as_ref().map(|found| found.entry.path()),
            found.as_ref().map(|found| found.entry.path())
        );
        let values = |found: &gateway::Match| -> Vec<Vec<u8>> {
            found.params().map(|(_, value)| value.into_owned()).collect()
        };
        assert_eq!(of_raw.as_ref().map(values), found.as_ref().map(values));
        table.find_raw(path);
    });
});
