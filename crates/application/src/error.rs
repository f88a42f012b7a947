//! Why a file is refused, and where.

use std::fmt;

use crate::secrets::without_passwords;
use crate::FILE;

/// `config/application.yml:LINE:COLUMN: message`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct Error {
    pub file: String,
    /// Both begin with 1.
    pub line: Option<usize>,
    pub column: Option<usize>,
    pub message: String,
}

impl Error {
    pub(crate) fn file(message: String) -> Error {
        // A message may quote the value of a key that it doesn't belong to.
        let message = without_passwords(&message);
        Error { file: FILE.into(), line: None, column: None, message }
    }

    pub(crate) fn at(location: Option<yaml_serde::Location>, message: String) -> Error {
        Error {
            line: location.as_ref().map(yaml_serde::Location::line),
            column: location.as_ref().map(yaml_serde::Location::column),
            ..Error::file(message)
        }
    }
}

impl From<yaml_serde::Error> for Error {
    fn from(error: yaml_serde::Error) -> Error {
        // The place is at the end of serde's messages, and in the middle of the parser's, before what it was doing.
        let message = error.to_string();
        let end = message.find(" at line ").unwrap_or(message.len());
        Error::at(error.location(), message[..end].replace('`', "\""))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        for number in [self.line, self.column].into_iter().flatten() {
            write!(f, ":{number}")?;
        }
        write!(f, ": {}", self.message)
    }
}
