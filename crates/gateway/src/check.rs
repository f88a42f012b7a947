//! Compiles functions without running them, for what can be told before a request comes: a syntax error, with its line.

use std::fs;
use std::path::Path;

use mlua::chunk::ChunkMode;
use mlua::{Lua, LuaOptions, StdLib};

use crate::function::function_file;
use crate::load::lua_error;
use crate::Error;

/// What begins a file of bytecode, which has been compiled.
const BYTECODE: &[u8] = b"\x1b";

/// What the compiler finds wrong with functions, whose names [`crate::function_name`] has accepted; each finding names the
/// file, relative to the project, and the line. Nothing of them is run.
pub fn check_functions<'a>(project: &Path, names: impl IntoIterator<Item = &'a str>) -> Vec<Error> {
    let lua = Lua::new_with(StdLib::NONE, LuaOptions::default());
    let check = |name: &str| {
        let file = format!("app/{name}.lua");
        let fail = |message: String| Error { file: file.clone(), line: None, message };
        let lua = lua.as_ref().map_err(|error| fail(format!("Lua can't be started: {error}")))?;
        let mut source = fs::read(function_file(project, name))
            .map_err(|error| fail(format!("the file can't be read: {error}")))?;
        if source.starts_with(BYTECODE) {
            return Ok(());
        }
        // A first line that starts with "#" is for the shell.
        if source.starts_with(b"#") {
            source.splice(0..0, *b"--");
        }
        let chunk = lua.load(source).set_name(format!("@{file}")).set_mode(ChunkMode::Text);
        chunk.into_function().map(drop).map_err(|error| lua_error(&error, &file, project))
    };
    names.into_iter().filter_map(|name| check(name).err()).collect()
}
