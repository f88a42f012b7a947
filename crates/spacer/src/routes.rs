//! `spacer routes`.

use std::fmt::Write as _;
use std::io::{self, Write};
use std::path::Path;

use gateway::Route;
use serde::Serialize;

use crate::error::Error;
use crate::project::{Project, GATEWAY};

pub fn run(dir: &Path, json: bool) -> Result<(), Error> {
    let table = Project::open(dir)?.gateway()?;
    let text = if json { as_json(table.routes())? } else { as_table(table.routes()) };
    io::stdout().write_all(text.as_bytes()).map_err(Error::Output)
}

#[derive(Serialize)]
struct JsonRoute<'a> {
    method: &'a str,
    path: &'a str,
    function: &'a str,
    file: &'a str,
    line: Option<u32>,
}

fn as_json(routes: &[Route]) -> Result<String, Error> {
    let routes: Vec<_> = routes
        .iter()
        .map(|route| JsonRoute {
            method: route.verb.name(),
            path: &route.path,
            function: &route.function,
            file: GATEWAY,
            line: route.line,
        })
        .collect();
    let text =
        serde_json::to_string_pretty(&routes).map_err(|error| Error::Output(error.into()))?;
    Ok(text + "\n")
}

fn as_table(routes: &[Route]) -> String {
    if routes.is_empty() {
        return format!("{GATEWAY} defines no routes\n");
    }
    let mut rows = vec![["METHOD", "PATH", "FUNCTION", "DEFINED AT"].map(String::from)];
    for route in routes {
        let line = route.line.map(|line| format!(":{line}")).unwrap_or_default();
        rows.push([
            route.verb.to_string(),
            route.path.clone(),
            route.function.clone(),
            format!("{GATEWAY}{line}"),
        ]);
    }
    let width =
        |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let (method, path, function) = (width(0), width(1), width(2));
    let mut text = String::new();
    for row in &rows {
        // Writing to a string can't fail.
        let _ = writeln!(
            text,
            "{:method$}  {:path$}  {:function$}  {}",
            row[0], row[1], row[2], row[3]
        );
    }
    text
}
