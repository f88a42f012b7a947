//! The secret by which a request reaches private functions: the environment variable `SPACER_PRIVATE_TOKEN`.
//!
//! nginx clears the environment of its workers, so the variable is read with the configuration, and kept. It is said
//! nowhere.

use std::hint::black_box;
use std::os::unix::ffi::OsStringExt;
use std::sync::OnceLock;

const VARIABLE: &str = "SPACER_PRIVATE_TOKEN";

/// `None` where the variable is unset or empty: then no header has the secret.
static SECRET: OnceLock<Option<Vec<u8>>> = OnceLock::new();

/// Reads the variable, the first time. Fails where no header could have that value.
pub fn read() -> Result<(), String> {
    let set =
        || std::env::var_os(VARIABLE).map(OsStringExt::into_vec).filter(|set| !set.is_empty());
    match SECRET.get_or_init(set) {
        Some(secret) if !secret.iter().all(u8::is_ascii_graphic) => Err(format!(
            "the environment variable {VARIABLE} holds white space or bytes beyond ASCII, which its header can't: use \
             letters, digits and punctuation"
        )),
        _ => Ok(()),
    }
}

/// Whether it is the secret. How long that takes doesn't depend on how much of it is right.
pub fn is(given: &[u8]) -> bool {
    let Some(Some(secret)) = SECRET.get() else { return false };
    same(given, secret)
}

/// Whether two texts are the same, in a time that doesn't depend on how much of them is.
pub fn same(given: &[u8], secret: &[u8]) -> bool {
    let differences = given
        .iter()
        .zip(secret)
        .fold(0, |found, (given, secret)| black_box(found | (given ^ secret)));
    given.len() == secret.len() && differences == 0
}
