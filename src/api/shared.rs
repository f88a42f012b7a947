//! `ngx.shared`: dictionaries in shared memory. They need no request and never wait.

use std::ffi::c_int;
use std::ptr;

use shdict::{Dict, End, Item, Kind, Mode, NotAList, Popped, PushError, Store, StoreError, Value};

use super::{arg, boundary, error, scratch, spacer_str, without_status, FAIL, NONE, OK, RAISE};
use crate::conf;
use crate::nginx;
use crate::nginx::cell::Worker;
use crate::shared::{self, Dictionary, ZoneLock};

/// A dictionary of the VM's configuration.
#[allow(non_camel_case_types)]
pub struct spacer_dict(());

/// What a call gives back, each as much as it has.
#[allow(non_camel_case_types)]
#[repr(C)]
pub struct spacer_dict_value {
    /// As Lua numbers its types.
    pub kind: c_int,
    pub flags: c_int,
    /// A number, a boolean as 0 or 1, or a count.
    pub number: f64,
    pub text: spacer_str,
    pub expired: bool,
    /// Whether entries that had not expired made room.
    pub forcible: bool,
}

/// How to store: bits.
pub const STORE_ADD: c_int = 1;
pub const STORE_REPLACE: c_int = 2;
pub const STORE_SAFE: c_int = 4;
/// Of a number: that it is a boolean.
pub const STORE_BOOLEAN: c_int = 8;

/// The dictionary of that index in the configuration that a VM is being made for, and its name; null beyond the last.
#[no_mangle]
pub extern "C" fn spacer_dict_at(index: usize, name: &mut spacer_str) -> *const spacer_dict {
    without_status(ptr::null(), || {
        let dictionary = conf::of_new_vm().and_then(|conf| shared::dictionaries(conf).nth(index));
        let Some(dictionary) = dictionary else { return ptr::null() };
        name.set(dictionary.name());
        ptr::from_ref(dictionary).cast()
    })
}

/// The dictionary that Lua has a pointer to.
///
/// # Safety
/// Lua passes what [`spacer_dict_at`] gave it, in the same VM.
unsafe fn dictionary<'a>(dict: *const spacer_dict) -> &'a Dictionary {
    // SAFETY: a VM lives no longer than its configuration.
    unsafe { &*dict.cast::<Dictionary>() }
}

/// Runs `f` with the dictionary and the time in milliseconds.
///
/// # Safety
/// As for [`dictionary`].
#[inline]
unsafe fn with(dict: *const spacer_dict, f: impl FnOnce(&Dict<ZoneLock>, u64) -> c_int) -> c_int {
    boundary(|| {
        // SAFETY: the caller's promise.
        let Some(dict) = (unsafe { dictionary(dict) }).dict() else {
            return error(RAISE, format_args!("the shared dictionary is not there yet"));
        };
        let (seconds, msec) = nginx::cached_time();
        f(dict, seconds as u64 * 1000 + msec)
    })
}

/// Seconds as milliseconds. What isn't more than 0 is for ever; a time, however short, is not.
fn milliseconds(seconds: f64) -> u64 {
    if seconds > 0.0 {
        ((seconds * 1000.0) as u64).max(1)
    } else {
        0
    }
}

#[cold]
fn failed(reason: StoreError) -> c_int {
    let text = match reason {
        StoreError::Exists => "exists",
        StoreError::NotFound => "not found",
        StoreError::NotANumber => "not a number",
        StoreError::NoMemory => "no memory",
    };
    error(FAIL, format_args!("{text}"))
}

fn not_a_list(_: NotAList) -> c_int {
    error(FAIL, format_args!("value not a list"))
}

/// What is under the key, also if it has expired, which a failure to read a list says as well; `NONE` if nothing is.
#[no_mangle]
pub unsafe extern "C" fn spacer_dict_get(
    dict: *const spacer_dict,
    key: *const u8,
    key_len: usize,
    out: &mut spacer_dict_value,
) -> c_int {
    // SAFETY: Lua's promises for a dictionary and an argument; the text is read before the next call.
    unsafe {
        with(dict, |dict, now| {
            let text = scratch();
            match dict.get(arg(key, key_len), now, text) {
                Some(got) => {
                    out.expired = got.expired;
                    if got.kind == Kind::List {
                        return error(FAIL, format_args!("value is a list"));
                    }
                    out.kind = got.kind as c_int;
                    out.flags = got.flags as c_int;
                    out.number = got.number;
                    out.text.set(text);
                    OK
                }
                None => NONE,
            }
        })
    }
}

/// Stores what `value` makes, as `how` says. (Made here, a value stays in registers. Handed to the closure that [`boundary`] runs it is read
/// from memory in other pieces than it was just written in, for which the processor waits.)
///
/// # Safety
/// As for [`dictionary`].
#[inline(always)]
unsafe fn store<'a>(
    dict: *const spacer_dict,
    how: c_int,
    (key, key_len): (*const u8, usize),
    value: impl FnOnce() -> Value<'a>,
    exptime: f64,
    flags: c_int,
    out: &mut spacer_dict_value,
) -> c_int {
    // SAFETY: the caller's promise.
    unsafe {
        with(dict, |dict, now| {
            let mode = match how & (STORE_ADD | STORE_REPLACE) {
                STORE_ADD => Mode::Add,
                STORE_REPLACE => Mode::Replace,
                _ => Mode::Set,
            };
            let (safe, ttl) = (how & STORE_SAFE != 0, milliseconds(exptime));
            let (key, value, flags) = (arg(key, key_len), value(), flags as u32);
            let stored = dict.store(&Store { mode, safe, key, value, ttl, flags }, now);
            out.forcible = stored.forcible;
            stored.result.map_or_else(failed, |()| OK)
        })
    }
}

fn number_or_boolean(how: c_int, number: f64) -> Value<'static> {
    match how & STORE_BOOLEAN {
        0 => Value::Number(number),
        _ => Value::Boolean(number != 0.0),
    }
}

/// Stores a number or a boolean.
#[no_mangle]
pub unsafe extern "C" fn spacer_dict_store_number(
    dict: *const spacer_dict,
    how: c_int,
    key: *const u8,
    key_len: usize,
    number: f64,
    exptime: f64,
    flags: c_int,
    out: &mut spacer_dict_value,
) -> c_int {
    // SAFETY: Lua's promises for a dictionary and an argument.
    unsafe {
        store(dict, how, (key, key_len), || number_or_boolean(how, number), exptime, flags, out)
    }
}

/// Stores a string.
#[no_mangle]
pub unsafe extern "C" fn spacer_dict_store_string(
    dict: *const spacer_dict,
    how: c_int,
    key: *const u8,
    key_len: usize,
    text: *const u8,
    text_len: usize,
    exptime: f64,
    flags: c_int,
    out: &mut spacer_dict_value,
) -> c_int {
    // SAFETY: Lua's promises for a dictionary and arguments.
    unsafe {
        store(dict, how, (key, key_len), || Value::String(arg(text, text_len)), exptime, flags, out)
    }
}

/// Removes what is under the key.
#[no_mangle]
pub unsafe extern "C" fn spacer_dict_delete(
    dict: *const spacer_dict,
    key: *const u8,
    key_len: usize,
) -> c_int {
    // SAFETY: Lua's promises for a dictionary and an argument.
    unsafe {
        with(dict, |dict, _| {
            dict.delete(arg(key, key_len));
            OK
        })
    }
}

/// Adds to the number under the key, or to `init` if there is none and `has_init` says so.
#[no_mangle]
pub unsafe extern "C" fn spacer_dict_incr(
    dict: *const spacer_dict,
    key: *const u8,
    key_len: usize,
    by: f64,
    has_init: bool,
    init: f64,
    init_ttl: f64,
    out: &mut spacer_dict_value,
) -> c_int {
    // SAFETY: Lua's promises for a dictionary and an argument.
    unsafe {
        with(dict, |dict, now| {
            let init = has_init.then(|| (init, milliseconds(init_ttl)));
            let (result, forcible) = dict.incr(arg(key, key_len), by, init, now);
            out.forcible = forcible;
            match result {
                Ok(number) => {
                    out.number = number;
                    OK
                }
                Err(reason) => failed(reason),
            }
        })
    }
}

fn end(left: bool) -> End {
    if left {
        End::Left
    } else {
        End::Right
    }
}

/// Puts a string, or the number if `text` is null, at an end of a list. Its length is the count.
#[no_mangle]
pub unsafe extern "C" fn spacer_dict_push(
    dict: *const spacer_dict,
    left: bool,
    key: *const u8,
    key_len: usize,
    text: *const u8,
    text_len: usize,
    number: f64,
    out: &mut spacer_dict_value,
) -> c_int {
    // SAFETY: Lua's promises for a dictionary and arguments.
    unsafe {
        with(dict, |dict, now| {
            let item = match text.is_null() {
                true => Item::Number(number),
                false => Item::String(arg(text, text_len)),
            };
            match dict.push(end(left), arg(key, key_len), item, now) {
                Ok(len) => {
                    out.number = len as f64;
                    OK
                }
                Err(PushError::NotAList) => not_a_list(NotAList),
                Err(PushError::NoMemory) => failed(StoreError::NoMemory),
            }
        })
    }
}

/// Takes an item off an end of a list; `NONE` if there is no list.
#[no_mangle]
pub unsafe extern "C" fn spacer_dict_pop(
    dict: *const spacer_dict,
    left: bool,
    key: *const u8,
    key_len: usize,
    out: &mut spacer_dict_value,
) -> c_int {
    // SAFETY: Lua's promises for a dictionary and an argument; the text is read before the next call.
    unsafe {
        with(dict, |dict, now| {
            let text = scratch();
            let popped = match dict.pop(end(left), arg(key, key_len), now, text) {
                Ok(Some(popped)) => popped,
                Ok(None) => return NONE,
                Err(reason) => return not_a_list(reason),
            };
            match popped {
                Popped::Number(number) => {
                    out.kind = Kind::Number as c_int;
                    out.number = number;
                }
                Popped::String => {
                    out.kind = Kind::String as c_int;
                    out.text.set(text);
                }
            }
            OK
        })
    }
}

/// How many items a list has.
#[no_mangle]
pub unsafe extern "C" fn spacer_dict_len(
    dict: *const spacer_dict,
    key: *const u8,
    key_len: usize,
    out: &mut spacer_dict_value,
) -> c_int {
    // SAFETY: Lua's promises for a dictionary and an argument.
    unsafe {
        with(dict, |dict, now| match dict.len(arg(key, key_len), now) {
            Ok(len) => {
                out.number = len as f64;
                OK
            }
            Err(reason) => not_a_list(reason),
        })
    }
}

/// In how many seconds it expires, less than 0 if it has; 0 for never.
#[no_mangle]
pub unsafe extern "C" fn spacer_dict_ttl(
    dict: *const spacer_dict,
    key: *const u8,
    key_len: usize,
    out: &mut spacer_dict_value,
) -> c_int {
    // SAFETY: Lua's promises for a dictionary and an argument.
    unsafe {
        with(dict, |dict, now| match dict.ttl(arg(key, key_len), now) {
            Some(ttl) => {
                out.number = ttl.unwrap_or(0) as f64 / 1000.0;
                OK
            }
            None => failed(StoreError::NotFound),
        })
    }
}

#[no_mangle]
pub unsafe extern "C" fn spacer_dict_expire(
    dict: *const spacer_dict,
    key: *const u8,
    key_len: usize,
    exptime: f64,
) -> c_int {
    // SAFETY: Lua's promises for a dictionary and an argument.
    unsafe {
        with(dict, |dict, now| match dict.expire(arg(key, key_len), milliseconds(exptime), now) {
            true => OK,
            false => failed(StoreError::NotFound),
        })
    }
}

#[no_mangle]
pub unsafe extern "C" fn spacer_dict_flush_all(dict: *const spacer_dict) -> c_int {
    // SAFETY: Lua's promise for a dictionary.
    unsafe {
        with(dict, |dict, _| {
            dict.flush_all();
            OK
        })
    }
}

/// As many entries as Lua asks for; what isn't more than 0 is all.
fn limit(max: f64) -> usize {
    max as usize
}

/// Removes up to `max` entries that have expired, and counts them.
#[no_mangle]
pub unsafe extern "C" fn spacer_dict_flush_expired(
    dict: *const spacer_dict,
    max: f64,
    out: &mut spacer_dict_value,
) -> c_int {
    // SAFETY: Lua's promise for a dictionary.
    unsafe {
        with(dict, |dict, now| {
            out.number = dict.flush_expired(limit(max), now) as f64;
            OK
        })
    }
}

/// Where each key of the last `spacer_dict_keys` ends.
static ENDS: Worker<Vec<usize>> = Worker::new(Vec::new());

/// Up to `max` keys: their bytes one after the other, where each ends, and how many there are.
#[no_mangle]
pub unsafe extern "C" fn spacer_dict_keys(
    dict: *const spacer_dict,
    max: f64,
    ends: &mut *const usize,
    out: &mut spacer_dict_value,
) -> c_int {
    // SAFETY: Lua's promise for a dictionary; one thread, and what is in the vectors is read before the next call.
    unsafe {
        with(dict, |dict, now| {
            let (keys, all) = (scratch(), &mut *ENDS.get());
            all.clear();
            all.shrink_to(1 << 16);
            dict.keys(limit(max), now, keys, all);
            out.text.set(keys);
            out.number = all.len() as f64;
            *ends = all.as_ptr();
            OK
        })
    }
}

/// The size that was configured, in bytes.
#[no_mangle]
pub unsafe extern "C" fn spacer_dict_capacity(dict: *const spacer_dict) -> f64 {
    // SAFETY: Lua's promise for a dictionary.
    unsafe { dictionary(dict) }.size() as f64
}

/// How many bytes are in pages of which nothing is used.
#[no_mangle]
pub unsafe extern "C" fn spacer_dict_free_space(
    dict: *const spacer_dict,
    out: &mut spacer_dict_value,
) -> c_int {
    // SAFETY: Lua's promise for a dictionary.
    unsafe {
        with(dict, |dict, _| {
            out.number = dict.free_space() as f64;
            OK
        })
    }
}
