//! Finds nginx and the Spacer module, and lets nginx check a configuration.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::{env, fs};

use crate::cli::NginxOptions;
use crate::error::Error;
use crate::project::Project;

const MODULE: &str = "ngx_http_spacer_module.so";
const USUAL_PLACE: &str = "/usr/sbin/nginx";

/// The nginx to run: as named, or on the PATH, or where distributions put it for root only.
pub fn find_nginx(options: &NginxOptions) -> Result<PathBuf, Error> {
    if let Some(path) = &options.nginx {
        return Ok(path.clone());
    }
    let path = env::var_os("PATH").unwrap_or_default();
    let candidates = env::split_paths(&path).map(|folder| folder.join("nginx"));
    candidates.chain([PathBuf::from(USUAL_PLACE)]).find(|file| file.is_file()).ok_or(Error::NoNginx)
}

/// The module to load: as named, or beside this command, or where nginx keeps its modules.
pub fn find_module(options: &NginxOptions) -> Result<PathBuf, Error> {
    if let Some(path) = &options.module {
        return path.canonicalize().map_err(|_| Error::ModuleMissing(path.clone()));
    }
    let mut candidates = Vec::new();
    if let Some(folder) = env::current_exe().ok().as_deref().and_then(Path::parent) {
        candidates.push(folder.join(MODULE));
    }
    if let Some(folder) = modules_path(&find_nginx(options)?)? {
        candidates.push(folder.join(MODULE));
    }
    match candidates.iter().find(|file| file.is_file()) {
        Some(file) => file.canonicalize().map_err(Error::file("open", file)),
        None => {
            let looked: Vec<_> = candidates.iter().map(|file| file.display().to_string()).collect();
            Err(Error::NoModule { looked: looked.join(", ") })
        }
    }
}

/// The folder of modules that nginx was built with.
fn modules_path(nginx: &Path) -> Result<Option<PathBuf>, Error> {
    let run = |error| Error::NginxRun { path: nginx.into(), error };
    let output = Command::new(nginx).arg("-V").stdin(Stdio::null()).output().map_err(run)?;
    let text = String::from_utf8_lossy(&output.stderr);
    Ok(text
        .split_whitespace()
        .find_map(|word| word.strip_prefix("--modules-path="))
        .map(PathBuf::from))
}

/// What every call of nginx for a project starts with.
pub fn arguments(project: &Project, conf: &Path) -> Vec<OsString> {
    let mut prefix = project.dir.clone().into_os_string();
    prefix.push("/");
    let mut arguments: Vec<OsString> = ["-e", "stderr", "-p"].map(OsString::from).into();
    arguments.extend([prefix, "-c".into(), conf.into()]);
    if !says_daemon(conf) {
        arguments.extend(["-g", "daemon off;"].map(OsString::from));
    }
    arguments
}

/// A configuration that says so itself must not be told a second time.
fn says_daemon(conf: &Path) -> bool {
    let text = fs::read_to_string(conf).unwrap_or_default();
    text.lines().any(|line| line.split_whitespace().next() == Some("daemon"))
}

/// Lets nginx check a configuration; what it finds goes to the terminal in its own words.
pub fn test(nginx: &Path, project: &Project, conf: &Path) -> Result<(), Error> {
    let status = Command::new(nginx)
        .args(["-t", "-q"])
        .args(arguments(project, conf))
        .stdin(Stdio::null())
        .status()
        .map_err(|error| Error::NginxRun { path: nginx.into(), error })?;
    if status.success() {
        Ok(())
    } else {
        Err(Error::Refused(conf.into()))
    }
}
