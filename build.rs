//! Passes nginx's features on as `cfg` flags, embeds the Lua sources, and generates the C declarations through
//! which Lua calls the boundary functions.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::{env, io};

/// Where the boundary functions are.
const BOUNDARY: [&str; 2] = ["src/api", "src/platform/api"];

/// Where numbers are that both sides know, beside those of the boundary itself.
const SHARED: [&str; 2] = ["src/conf/phase.rs", "src/request/capture.rs"];

fn main() {
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    nginx_features();
    embed_lua(&out).expect("the Lua sources in lua/");
    boundary_declarations(&out);
}

/// nginx-sys detects the features of the nginx it binds and hands them to its direct dependents.
fn nginx_features() {
    println!("cargo::rustc-check-cfg=cfg(ngx_feature, values(any()))");
    println!("cargo::rerun-if-env-changed=DEP_NGINX_FEATURES");
    for feature in env::var("DEP_NGINX_FEATURES").unwrap_or_default().split(',') {
        println!("cargo::rustc-cfg=ngx_feature=\"{}\"", feature.trim());
    }

    // Since 1.23.0, headers of one name are a linked list rather than an array.
    println!("cargo::rustc-check-cfg=cfg(ngx_linked_headers)");
    println!("cargo::rerun-if-env-changed=DEP_NGINX_VERSION_NUMBER");
    let version: u64 =
        env::var("DEP_NGINX_VERSION_NUMBER").ok().and_then(|v| v.parse().ok()).unwrap_or(0);
    if version >= 1_023_000 {
        println!("cargo::rustc-cfg=ngx_linked_headers");
    }
}

/// Writes `embedded.rs`: a table of (module name, file name, source) of every file below `lua/`.
fn embed_lua(out: &Path) -> io::Result<()> {
    let root = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it")).join("lua");
    println!("cargo::rerun-if-changed={}", root.display());
    let mut files = Vec::new();
    collect(&root, &mut files)?;
    files.sort();

    let mut text = String::from("&[\n");
    for file in &files {
        let relative = file.strip_prefix(&root).expect("below the root");
        let module = relative.with_extension("").display().to_string().replace('/', ".");
        writeln!(
            text,
            "({module:?}, {:?}, include_str!({file:?})),",
            relative.display().to_string()
        )
        .expect("writing to a String");
    }
    text.push_str("]\n");
    fs::write(out.join("embedded.rs"), text)
}

fn collect(dir: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, files)?;
        } else if path.extension().is_some_and(|e| e == "lua") {
            files.push(path);
        }
    }
    Ok(())
}

/// Writes `boundary.h`, what `ffi.cdef` is given: no preprocessor, only types that LuaJIT knows.
fn boundary_declarations(out: &Path) {
    let mut sources = Vec::new();
    for dir in BOUNDARY {
        println!("cargo::rerun-if-changed={dir}");
        let entries = fs::read_dir(dir).unwrap_or_else(|error| panic!("{dir}: {error}"));
        let files = entries.map(|entry| entry.expect("an entry of the folder").path());
        sources.extend(files.filter(|path| path.extension().is_some_and(|e| e == "rs")));
    }
    for file in SHARED {
        println!("cargo::rerun-if-changed={file}");
        sources.push(file.into());
    }
    sources.sort();

    let config = cbindgen::Config {
        language: cbindgen::Language::C,
        no_includes: true,
        usize_is_size_t: true,
        documentation: false,
        style: cbindgen::Style::Type,
        // No function takes a phase, so that it has to be asked for.
        export: cbindgen::ExportConfig {
            include: vec!["Phase".into()],
            rename: [("Phase".into(), "spacer_phase_bit".into())].into(),
            ..Default::default()
        },
        enumeration: cbindgen::EnumConfig {
            rename_variants: cbindgen::RenameRule::QualifiedScreamingSnakeCase,
            ..Default::default()
        },
        ..Default::default()
    };
    let mut builder = cbindgen::Builder::new().with_config(config);
    for source in &sources {
        builder = builder.with_src(source);
    }
    let mut header = Vec::new();
    builder
        .generate()
        .expect("the boundary functions of src/api can be declared in C")
        .write(&mut header);
    let header = String::from_utf8(header).expect("cbindgen writes UTF-8");
    fs::write(out.join("boundary.h"), without_preprocessor(&header)).expect("OUT_DIR is writable");
}

/// The header as `ffi.cdef` takes it, which has no preprocessor: a macro for a number becomes a constant, and of what a standard of C
/// decides, the `#else` is taken.
fn without_preprocessor(header: &str) -> String {
    let mut text = String::new();
    let mut is_left_out = false;
    for line in header.lines() {
        match line.split_whitespace().collect::<Vec<_>>()[..] {
            ["#if", ..] => is_left_out = true,
            ["#else", ..] | ["#endif", ..] => is_left_out = false,
            ["#define", name, value] if value.parse::<i32>().is_ok() => {
                // All of Lua shares these names.
                writeln!(text, "static const int SPACER_{name} = {value};").expect("a String");
            }
            [] => {}
            [first, ..] if is_left_out || first.starts_with('#') => {}
            _ => {
                text.push_str(line);
                text.push('\n');
            }
        }
    }
    text
}
