//! A project folder to load a gateway file from.

use std::fs;
use std::path::{Path, PathBuf};

use gateway::{Error, Table};
use tempfile::TempDir;

pub struct Project {
    dir: TempDir,
}

impl Project {
    /// A project with the functions `hello`, `users/get` and `files`.
    pub fn new() -> Project {
        let project = Project { dir: TempDir::new().unwrap() };
        for function in ["hello", "users/get", "files"] {
            project.write(&format!("app/{function}.lua"), "return function() end");
        }
        project
    }

    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    pub fn gateway_file(&self) -> PathBuf {
        self.path().join("app/gateway.lua")
    }

    pub fn write(&self, file: &str, text: impl AsRef<[u8]>) {
        let file = self.path().join(file);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, text).unwrap();
    }

    pub fn load(&self, gateway: impl AsRef<[u8]>) -> Result<Table, Error> {
        self.write("app/gateway.lua", gateway);
        Table::load(&self.gateway_file(), self.path())
    }
}
