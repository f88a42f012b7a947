//! `spacer nginx-config`.

use std::io::{self, Write};

use crate::cli::StartOptions;
use crate::config::Config;
use crate::error::Error;
use crate::project::Project;

pub fn run(options: &StartOptions) -> Result<(), Error> {
    let project = Project::open(&options.server.dir)?;
    let text = Config::server(&project, &options.server, &options.env).render()?;
    io::stdout().write_all(text.as_bytes()).map_err(Error::Output)
}
