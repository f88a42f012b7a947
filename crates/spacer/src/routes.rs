//! `spacer routes`: the table, and what the compiler finds wrong with the functions of routes and events.

use std::path::Path;

use gateway::Route;
use serde::Serialize;

use crate::config::DEVELOPMENT;
use crate::error::Error;
use crate::output;
use crate::project::{Project, GATEWAY};
use crate::table::{Align, Table};

pub fn run(dir: &Path, json: bool) -> Result<(), Error> {
    let project = Project::open(dir)?;
    let table = project.gateway()?;
    match json {
        true => print_json(table.routes())?,
        false => output::print(&as_table(table.routes()))?,
    }
    let mut wrong = Vec::new();
    for trigger in project.application(DEVELOPMENT)?.triggers {
        for name in trigger.functions {
            if let Err(error) = project.check_function(&name) {
                let (file, line, topic) = (application::FILE, trigger.line, &trigger.topic);
                wrong.push(format!("{file}:{line}: events of topic \"{topic}\": {error}"));
            }
        }
    }
    let names = table.functions().iter().map(String::as_str);
    wrong.extend(gateway::check_functions(&project.dir, names).iter().map(ToString::to_string));
    match wrong.is_empty() {
        true => Ok(()),
        false => Err(Error::Functions(wrong)),
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
