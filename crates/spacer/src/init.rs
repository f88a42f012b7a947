//! `spacer init`: a project that answers `GET /hello`.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;

use crate::error::Error;

/// Each file of a new project, and what it is for.
const FILES: &[(&str, &str, &str)] = &[
    (
        "app/gateway.lua",
        include_str!("../skeleton/app/gateway.lua"),
        "which request reaches which function",
    ),
    ("app/hello.lua", include_str!("../skeleton/app/hello.lua"), "a function"),
    (
        "config/application.yml",
        include_str!("../skeleton/config/application.yml"),
        "the application's settings",
    ),
    (".gitignore", include_str!("../skeleton/gitignore"), ""),
];

const FOLDERS: &[(&str, &str)] = &[
    ("lib", "Lua modules of your own"),
    ("logs", "access.log and error.log"),
    ("temp", "what nginx writes while it runs"),
];

pub fn run(dir: &Path) -> Result<(), Error> {
    let there: Vec<_> =
        FILES.iter().map(|(file, _, _)| *file).filter(|file| is_there(dir, file)).collect();
    if !there.is_empty() {
        return Err(Error::Exists { dir: dir.into(), files: there.join(", ") });
    }
    fs::create_dir_all(dir).map_err(Error::file("make", dir))?;
    let name = app_name(&dir.canonicalize().map_err(Error::file("open", dir))?);
    for (folder, _) in FOLDERS {
        fs::create_dir_all(dir.join(folder)).map_err(Error::file("make", dir.join(folder)))?;
    }
    for (file, text, _) in FILES {
        let file = dir.join(file);
        let folder = file.parent().unwrap_or(dir);
        fs::create_dir_all(folder).map_err(Error::file("make", folder))?;
        File::create_new(&file)
            .and_then(|mut made| made.write_all(text.replace("{{app_name}}", &name).as_bytes()))
            .map_err(Error::file("write", &file))?;
    }

    println!("Made a project in {}:\n", dir.display());
    let folders = FOLDERS.iter().map(|(folder, what)| (format!("{folder}/"), *what));
    for (name, what) in FILES.iter().map(|(file, _, what)| (file.to_string(), *what)).chain(folders)
    {
        println!("{}", format!("  {name:24}{what}").trim_end());
    }
    println!(
        "\nServe it, with every saved change in effect at once:\n\n  spacer dev {}",
        quoted(dir)
    );
    Ok(())
}

/// A link that leads nowhere is there, too.
fn is_there(dir: &Path, file: &str) -> bool {
    dir.join(file).symlink_metadata().is_ok()
}

/// The folder's name in the characters that `appName` may have.
fn app_name(dir: &Path) -> String {
    let name = dir.file_name().unwrap_or_default().to_string_lossy();
    let name: String =
        name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
    match name.trim_matches('-') {
        "" => "app".into(),
        name => name.into(),
    }
}

/// A word as a shell takes it.
pub fn quoted(word: impl AsRef<OsStr>) -> String {
    let text = word.as_ref().to_string_lossy();
    if !text.is_empty() && text.chars().all(|c| c.is_alphanumeric() || "/._-+,=@%".contains(c)) {
        text.into_owned()
    } else {
        format!("'{}'", text.replace('\'', "'\\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_application_is_named_like_the_folder() {
        assert_eq!(app_name(Path::new("/srv/blog2")), "blog2");
        assert_eq!(app_name(Path::new("/srv/my_shop.example")), "my-shop-example");
        assert_eq!(app_name(Path::new("/srv/_é_")), "app");
        assert_eq!(quoted("it's here"), "'it'\\''s here'");
    }
}
