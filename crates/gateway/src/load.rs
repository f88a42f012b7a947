//! Runs a gateway file and turns what it returns into a [`Table`].

use std::path::Path;
use std::time::{Duration, Instant};
use std::{fs, io};

use mlua::chunk::ChunkMode;
use mlua::{HookTriggers, Lua, LuaOptions, StdLib, Value, VmState};

use crate::function::{function_file, function_name};
use crate::method::Verb;
use crate::pattern::Pattern;
use crate::source::entry_lines;
use crate::table::{Builder, Clash, Table};
use crate::Error;

/// A gateway file that computes its routes needs milliseconds; this one is in a loop.
const TIME_LIMIT: Duration = Duration::from_secs(5);

pub fn load(gateway_file: &Path, project: &Path) -> Result<Table, Error> {
    let file = shown(gateway_file, project);
    let fail = |message: String| Error { file: file.clone(), line: None, message };
    if !project.is_dir() {
        return Err(Error {
            file: project.display().to_string(),
            line: None,
            message: "the project folder does not exist".into(),
        });
    }
    let source = fs::read(gateway_file).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => fail("the gateway file does not exist".into()),
        _ => fail(format!("the gateway file can't be read: {error}")),
    })?;
    let lua =
        fresh_state(project).map_err(|error| fail(format!("Lua can't be started: {error}")))?;
    let chunk = lua.load(source.as_slice()).set_name(format!("@{file}")).set_mode(ChunkMode::Text);
    // Not `eval`, which would take an expression without `return` as well.
    let result: Value = chunk
        .into_function()
        .and_then(|main| main.call(()))
        .map_err(|error| lua_error(&error, &file, project))?;
    let (entries, count) = entries(result).map_err(fail)?;

    let lines = entry_lines(&String::from_utf8_lossy(&source)).filter(|lines| lines.len() == count);
    let line = |i: usize| lines.as_ref().map(|lines| lines[i]);
    let place = |i: usize| match line(i) {
        Some(line) => format!("line {line}"),
        None => format!("route #{}", i + 1),
    };
    let mut table = Builder::new();
    // Each entry is read and let go: a state has room for a few thousand values that are held at a time.
    for i in 0..count {
        let fail = |message: String| Error {
            file: file.clone(),
            line: line(i),
            message: match line(i) {
                Some(_) => message,
                None => format!("route #{}: {message}", i + 1),
            },
        };
        let entry = entry(&entries, i).map_err(fail)?;
        let (verb, pattern, function) = route(&entry, &table, project).map_err(fail)?;
        table.add(verb, &pattern, function, line(i)).map_err(|clash| {
            let path = pattern.path();
            fail(match clash {
                Clash::Duplicate(earlier) => {
                    format!(
                        "duplicate route: {verb} {path} is already defined at {}",
                        place(earlier)
                    )
                }
                Clash::Pattern(earlier) => format!(
                    "conflicting patterns: {path} matches the same requests as {} at {}: \
                     use the same parameter names in both",
                    written_path(&entries, earlier),
                    place(earlier)
                ),
            })
        })?;
    }
    Ok(table.finish())
}

/// A Lua state that can `require` the project's modules, and in which an endless loop ends.
fn fresh_state(project: &Path) -> mlua::Result<Lua> {
    let lua = Lua::new_with(StdLib::ALL_SAFE, LuaOptions::default())?;
    let folder = project.display();
    let path = format!(
        "{folder}/app/?.lua;{folder}/app/?/init.lua;{folder}/lib/?.lua;{folder}/lib/?/init.lua;"
    );
    let package: mlua::Table = lua.globals().get("package")?;
    let system: String = package.get("path")?;
    package.set("path", path + &system)?;
    // Compiled traces do not call hooks. What the file prints must not end up in a command's own output.
    lua.load(
        "jit.off()
         function print(...)
           local texts = {}
           for i = 1, select('#', ...) do texts[i] = tostring((select(i, ...))) end
           io.stderr:write(table.concat(texts, '\\t'), '\\n')
         end",
    )
    .exec()?;
    let deadline = Instant::now() + TIME_LIMIT;
    lua.set_global_hook(HookTriggers::new().every_nth_instruction(10_000), move |_, _| {
        if Instant::now() < deadline {
            return Ok(VmState::Continue);
        }
        Err(mlua::Error::runtime(format!("the file ran for more than {} s", TIME_LIMIT.as_secs())))
    })?;
    Ok(lua)
}

/// The returned table, and how many elements it has, holes included.
fn entries(result: Value) -> Result<(mlua::Table, usize), String> {
    let Value::Table(table) = result else {
        return Err(format!(
            "the file returns {}, not an array of {{METHOD, PATH, FUNCTION}}",
            described(&result)
        ));
    };
    let mut last = 0i64;
    let mut count = 0i64;
    for pair in table.pairs::<Value, Value>() {
        let (key, _) = pair.map_err(|error| error.to_string())?;
        match key.as_integer() {
            Some(i) if i >= 1 => last = last.max(i),
            _ => {
                return Err(format!(
                    "the file returns a table with the key {}, not an array of {{METHOD, PATH, FUNCTION}}",
                    key.to_string().map(|key| format!("\"{key}\"")).unwrap_or_else(|_| described(&key))
                ))
            }
        }
        count += 1;
    }
    // A table with a huge key would otherwise be walked hole by hole.
    let end = if last > 2 * count + 16 { count + 1 } else { last };
    Ok((table, end as usize))
}

fn entry(entries: &mlua::Table, i: usize) -> Result<Value, String> {
    entries.raw_get(i + 1).map_err(|error| error.to_string())
}

fn route(
    entry: &Value,
    table: &Builder,
    project: &Path,
) -> Result<(Verb, Pattern, String), String> {
    let Value::Table(fields) = entry else {
        return Err(format!("{{METHOD, PATH, FUNCTION}} expected, got {}", described(entry)));
    };
    let verb = field(fields, 1, "METHOD")?;
    let path = field(fields, 2, "PATH")?;
    let function = field(fields, 3, "FUNCTION")?;
    if fields.raw_len() > 3 {
        return Err(format!(
            "{{METHOD, PATH, FUNCTION}} expected, got {} values",
            fields.raw_len()
        ));
    }
    let verb = Verb::parse(&verb).ok_or_else(|| {
        format!("unknown method \"{}\": use {}", verb.escape_debug(), Verb::NAMES)
    })?;
    let pattern = Pattern::parse(&path)
        .map_err(|message| format!("bad path \"{}\": {message}", path.escape_debug()))?;
    let name = function_name(&function)
        .map_err(|message| format!("bad function \"{}\": {message}", function.escape_debug()))?;
    if !table.has_function(&name) && !function_file(project, &name).is_file() {
        return Err(format!("function \"{function}\" not found: app/{name}.lua does not exist"));
    }
    Ok((verb, pattern, name))
}

fn field(fields: &mlua::Table, i: usize, name: &str) -> Result<String, String> {
    match fields.raw_get(i).map_err(|error| error.to_string())? {
        Value::String(text) => match text.to_str() {
            Ok(text) => Ok(text.to_string()),
            Err(_) => Err(format!("{name} is not valid UTF-8")),
        },
        Value::Nil => Err(format!("{{METHOD, PATH, FUNCTION}} expected, {name} is missing")),
        other => Err(format!("{name} has to be a string, got {}", described(&other))),
    }
}

/// The path of an earlier entry, as the file writes it.
fn written_path(entries: &mlua::Table, i: usize) -> String {
    let entry = entry(entries, i).ok();
    let fields = entry.as_ref().and_then(Value::as_table);
    fields.and_then(|fields| field(fields, 2, "PATH").ok()).unwrap_or_default()
}

fn described(value: &Value) -> String {
    match value {
        Value::Nil => "nil".into(),
        Value::Boolean(value) => value.to_string(),
        Value::Integer(number) => format!("the number {number}"),
        Value::Number(number) => format!("the number {number}"),
        Value::String(text) => format!("the string \"{}\"", text.to_string_lossy().escape_debug()),
        other => format!("a {}", other.type_name()),
    }
}

/// Takes file and line off the front of Lua's message or else out of its traceback, and the traceback off its end.
pub fn lua_error(error: &mlua::Error, file: &str, project: &Path) -> Error {
    let text = match error {
        mlua::Error::SyntaxError { message, .. } => message.clone(),
        mlua::Error::RuntimeError(message) => message.clone(),
        mlua::Error::CallbackError { cause, traceback } => {
            format!("{}\nstack traceback:{traceback}", lua_error(cause, file, project).message)
        }
        other => other.to_string(),
    };
    let (text, traceback) = text.split_once("\nstack traceback:").unwrap_or((&text, ""));
    let placed = |place: &str, line: u32, message: &str| Error {
        file: shown(Path::new(place), project),
        line: Some(line),
        message: message.into(),
    };
    if let Some((place, line, message)) = position(text) {
        return placed(place, line, message.trim_start());
    }
    if let Some((place, line, _)) = traceback.lines().find_map(|frame| position(frame.trim_start()))
    {
        return placed(place, line, text);
    }
    Error { file: file.into(), line: None, message: text.into() }
}

/// Splits `file:line: message`.
fn position(text: &str) -> Option<(&str, u32, &str)> {
    let mut parts = text.splitn(3, ':');
    let (place, line, message) = (parts.next()?, parts.next()?, parts.next()?);
    Some((place, line.parse().ok()?, message))
}

/// The name that a person in the project's folder would use.
fn shown(file: &Path, project: &Path) -> String {
    file.strip_prefix(project).unwrap_or(file).display().to_string()
}
