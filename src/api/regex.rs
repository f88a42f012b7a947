//! `ngx.re`, by the crate `luare`. A compiled pattern is a pointer that Lua gives back, and so is a substitution whose
//! replacements Lua makes.

use std::ffi::c_int;
use std::ptr;

use luare::{substitute, Checked, Flags, MatchError, Regex, Substitution, UnknownFlag};
use nginx_sys::NGX_LOG_ERR;

use super::{
    arg, boundary, error, error_bytes, log, scratch, spacer_str, without_status, FAIL, NONE, OK,
    RAISE,
};
use crate::nginx;
use crate::regex::engine;

/// The bits of flags that Lua looks at.
pub const REGEX_DUPLICATE_NAMES: c_int = 4;
pub const REGEX_ONCE: c_int = 128;

const _: () = assert!(
    REGEX_DUPLICATE_NAMES as u32 == Flags::DUPLICATE_NAMES.bits()
        && REGEX_ONCE as u32 == Flags::ONCE.bits()
);

/// A compiled pattern.
#[allow(non_camel_case_types)]
pub struct spacer_regex(());

/// A substitution whose replacements Lua makes.
#[allow(non_camel_case_types)]
pub struct spacer_substitution(());

/// `None` when it was given back, see [`gone`].
///
/// # Safety
/// Lua passes what `spacer_regex_new` gave it, or null once it has given it back.
unsafe fn regex<'a>(regex: *const spacer_regex) -> Option<&'a Regex> {
    // SAFETY: the caller's promise.
    unsafe { regex.cast::<Regex>().as_ref() }
}

/// `None` when it was given back, see [`gone`].
///
/// # Safety
/// Lua passes what `spacer_substitution_new` gave it, or null once it has given it back, and uses it for one substitution
/// at a time.
unsafe fn substitution<'a>(substitution: *mut spacer_substitution) -> Option<&'a mut Substitution> {
    // SAFETY: the caller's promise.
    unsafe { substitution.cast::<Substitution>().as_mut() }
}

/// A closing VM's collector gives everything back, then runs the finalizers of userdata, which may still match.
#[cold]
fn gone() -> c_int {
    error(FAIL, format_args!("the Lua VM is closing"))
}

/// What a match gives: how many captures are set, 0 for no match, `FAIL`.
fn count(found: Result<usize, MatchError>) -> c_int {
    match found {
        Ok(count) => count as c_int,
        Err(reason) => error(FAIL, format_args!("{reason}")),
    }
}

/// The set of the letters of options, in `bits`; `RAISE` where one is none.
#[no_mangle]
pub extern "C" fn spacer_regex_flags(data: *const u8, len: usize, bits: &mut u32) -> c_int {
    boundary(|| {
        // SAFETY: Lua's string.
        let letters = unsafe { arg(data, len) };
        match Flags::parse(letters) {
            Ok(flags) => {
                *bits = flags.bits();
                OK
            }
            Err(UnknownFlag { letter }) => {
                let text =
                    [b"unknown flag \"", &[letter][..], b"\" (flags \"", letters, b"\")"].concat();
                error_bytes(RAISE, &text)
            }
        }
    })
}

/// How many patterns a VM keeps.
#[no_mangle]
pub extern "C" fn spacer_regex_cache_max() -> u32 {
    // SAFETY: the reference ends here.
    unsafe { engine() }.cache_max as u32
}

/// A compiled pattern, or null and the last error's text.
#[no_mangle]
pub extern "C" fn spacer_regex_new(data: *const u8, len: usize, bits: u32) -> *mut spacer_regex {
    let mut compiled = ptr::null_mut();
    boundary(|| {
        // SAFETY: Lua's string.
        match Regex::compile(unsafe { arg(data, len) }, Flags::from_bits(bits)) {
            Ok(regex) => {
                if let Some(jit) = regex.is_jit_compiled() {
                    // SAFETY: the log is live.
                    unsafe {
                        let log = log::log();
                        nginx::log_debug_at!(log, "pcre JIT compiling result: {}", u8::from(jit));
                    }
                }
                compiled = Box::into_raw(Box::new(regex)).cast();
                OK
            }
            Err(reason) => error_bytes(FAIL, &reason.message()),
        }
    });
    compiled
}

#[no_mangle]
pub unsafe extern "C" fn spacer_regex_free(regex: *mut spacer_regex) {
    without_status((), || {
        if !regex.is_null() {
            // SAFETY: Lua gives back once what it had from `new`.
            drop(unsafe { Box::from_raw(regex.cast::<Regex>()) });
        }
    });
}

/// How many groups the pattern has.
#[no_mangle]
pub unsafe extern "C" fn spacer_regex_groups(re: *const spacer_regex) -> c_int {
    // SAFETY: as `regex` asks for.
    without_status(0, || unsafe { regex(re) }.map_or(0, |regex| regex.groups() as c_int))
}

/// The name at `index`, and the number of its group; `NONE` when there are no more.
#[no_mangle]
pub unsafe extern "C" fn spacer_regex_name(
    re: *const spacer_regex,
    index: c_int,
    out: &mut spacer_str,
) -> c_int {
    without_status(NONE, || {
        // SAFETY: as `regex` asks for.
        match unsafe { regex(re) }.and_then(|regex| regex.names().nth(index as usize)) {
            Some((number, name)) => {
                out.set(name);
                number as c_int
            }
            None => NONE,
        }
    })
}

/// Where the groups of the last match begin and end, -1 where one isn't part of it. Always the same place.
#[no_mangle]
pub extern "C" fn spacer_regex_captures() -> *const i32 {
    // SAFETY: the reference ends here, and what it gives stays where it is.
    unsafe { engine() }.matcher.captures().as_ptr()
}

/// The first match from `from` on. `checked` says that the text was matched by the same pattern before.
#[no_mangle]
pub unsafe extern "C" fn spacer_regex_match(
    re: *const spacer_regex,
    text: *const u8,
    len: usize,
    from: usize,
    checked: bool,
) -> c_int {
    boundary(|| {
        let checked = if checked { Checked::Yes } else { Checked::No };
        // SAFETY: as `regex` asks for; Lua's string; the references end here.
        unsafe {
            let Some(regex) = regex(re) else { return gone() };
            count(engine().matcher.find_in(regex, arg(text, len), from, checked))
        }
    })
}

/// Where to look on after an empty match at `at`.
#[no_mangle]
pub unsafe extern "C" fn spacer_regex_after_empty(
    re: *const spacer_regex,
    text: *const u8,
    len: usize,
    at: usize,
) -> usize {
    // SAFETY: as `regex` asks for; Lua's string.
    without_status(at + 1, || unsafe {
        regex(re).map_or(at + 1, |regex| regex.after_empty(arg(text, len), at))
    })
}

/// The text with its first match, or `all`, replaced by a template. Gives how many there were; for none, no text.
#[no_mangle]
pub unsafe extern "C" fn spacer_regex_substitute(
    re: *const spacer_regex,
    text: *const u8,
    len: usize,
    template: *const u8,
    template_len: usize,
    all: bool,
    out: &mut spacer_str,
) -> c_int {
    boundary(|| {
        // SAFETY: as `regex` asks for; Lua's strings; the references end here, and the result is read before the next call.
        unsafe {
            let Some(regex) = regex(re) else { return gone() };
            let engine = engine();
            if let Err(reason) = engine.template.read(arg(template, template_len)) {
                nginx::log_parts(NGX_LOG_ERR, log::log(), &[&reason.message()]);
                return error(FAIL, format_args!("failed to compile the replacement template"));
            }
            let (subject, result) = (arg(text, len), scratch());
            let found =
                substitute(&mut engine.matcher, regex, subject, &engine.template, all, result);
            out.set(result);
            count(found)
        }
    })
}

#[no_mangle]
pub extern "C" fn spacer_substitution_new() -> *mut spacer_substitution {
    without_status(ptr::null_mut(), || Box::into_raw(Box::new(Substitution::default())).cast())
}

#[no_mangle]
pub unsafe extern "C" fn spacer_substitution_free(substitution: *mut spacer_substitution) {
    without_status((), || {
        if !substitution.is_null() {
            // SAFETY: Lua gives back once what it had from `new`.
            drop(unsafe { Box::from_raw(substitution.cast::<Substitution>()) });
        }
    });
}

/// Finds the first match.
#[no_mangle]
pub unsafe extern "C" fn spacer_substitution_begin(
    state: *mut spacer_substitution,
    re: *const spacer_regex,
    text: *const u8,
    len: usize,
) -> c_int {
    boundary(|| {
        // SAFETY: as `substitution` and `regex` ask for; Lua's string; the references end here.
        unsafe {
            let (Some(state), Some(regex)) = (substitution(state), regex(re)) else {
                return gone();
            };
            state.begin();
            count(state.next(&mut engine().matcher, regex, arg(text, len)))
        }
    })
}

/// Replaces the match that was found, and finds the next.
#[no_mangle]
pub unsafe extern "C" fn spacer_substitution_next(
    state: *mut spacer_substitution,
    re: *const spacer_regex,
    text: *const u8,
    len: usize,
    piece: *const u8,
    piece_len: usize,
) -> c_int {
    boundary(|| {
        // SAFETY: as `substitution` and `regex` ask for; Lua's strings; the references end here.
        unsafe {
            let (Some(state), Some(regex)) = (substitution(state), regex(re)) else {
                return gone();
            };
            let text = arg(text, len);
            state.replace(text, arg(piece, piece_len));
            count(state.next(&mut engine().matcher, regex, text))
        }
    })
}

/// Replaces the match that was found, unless `piece` is null, and gives the text.
#[no_mangle]
pub unsafe extern "C" fn spacer_substitution_end(
    state: *mut spacer_substitution,
    text: *const u8,
    len: usize,
    piece: *const u8,
    piece_len: usize,
    out: &mut spacer_str,
) -> c_int {
    boundary(|| {
        // SAFETY: as `substitution` asks for; Lua's strings; the text is read before the state is used again.
        unsafe {
            let Some(state) = substitution(state) else { return gone() };
            let text = arg(text, len);
            if !piece.is_null() {
                state.replace(text, arg(piece, piece_len));
            }
            out.set(state.finish(text));
            OK
        }
    })
}

/// The size up to which the stack of patterns compiled by `j` grows; `FAIL` without memory.
#[no_mangle]
pub extern "C" fn spacer_regex_jit_stack(size: i64) -> c_int {
    boundary(|| {
        // SAFETY: the reference ends here.
        match unsafe { engine() }.matcher.set_jit_stack(usize::try_from(size).unwrap_or(0)) {
            true => OK,
            false => error(FAIL, format_args!("pcre jit stack allocation failed")),
        }
    })
}
