//! What is wrong with a gateway file, and where.

/// One finding, shown as `app/gateway.lua:12: function "hello" not found: ...`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{file}{}: {message}", line.map(|line| format!(":{line}")).unwrap_or_default())]
pub struct Error {
    /// The file as a person would name it: relative to the project when it lies inside.
    pub file: String,
    /// Counts from 1; `None` where the finding has no line, as in a file that can't be read.
    pub line: Option<u32>,
    pub message: String,
}
