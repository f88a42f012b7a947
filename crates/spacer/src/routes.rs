//! `spacer routes`.

use std::path::Path;

use gateway::Route;
use serde::Serialize;

use crate::error::Error;
use crate::output;
use crate::project::{Project, GATEWAY};
use crate::table::{Align, Table};

pub fn run(dir: &Path, json: bool) -> Result<(), Error> {
    let table = Project::open(dir)?.gateway()?;
    match json {
        true => print_json(table.routes()),
        false => output::print(&as_table(table.routes())),
    }
}

#[derive(Serialize)]
struct JsonRoute<'a> {
    method: &'a str,
    path: &'a str,
    function: &'a str,
    file: &'a str,
    line: Option<u32>,
}

fn print_json(routes: &[Route]) -> Result<(), Error> {
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
    output::print_document(&routes)
}

fn as_table(routes: &[Route]) -> String {
    if routes.is_empty() {
        return format!("{GATEWAY} defines no routes\n");
    }
    let columns = ["METHOD", "PATH", "FUNCTION", "DEFINED AT"];
    let mut table = Table::new(columns.map(|title| (title, Align::Left)));
    for route in routes {
        let line = route.line.map(|line| format!(":{line}")).unwrap_or_default();
        table.row([
            route.verb.to_string(),
            route.path.clone(),
            route.function.clone(),
            format!("{GATEWAY}{line}"),
        ]);
    }
    table.render(output::colours())
}
