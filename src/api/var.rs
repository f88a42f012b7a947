//! `ngx.var`: nginx's variables. A name is looked up once; Lua keeps the handle.

use std::collections::HashMap;
use std::ffi::{c_int, c_void};

use nginx_sys::*;

use super::{arg, boundary, error, spacer_str, with_request, NONE, OK, RAISE};
use crate::nginx::cell::Worker;
use crate::nginx::{self, Request};
use crate::request::var::{assign, Refused};

/// A variable's name, in lower case, and what it was last found to be.
struct Name {
    text: Vec<u8>,
    hash: ngx_uint_t,
    /// The configuration that `found` was looked up in: a reload makes another.
    conf: *const *mut c_void,
    found: Found,
}

#[derive(Clone, Copy)]
enum Found {
    /// nginx keeps its value in this place of the request.
    Indexed(ngx_uint_t),
    Computed(ngx_http_get_variable_pt, usize),
    /// `$http_NAME`, `$arg_NAME` and the like, or none at all.
    ByName,
}

/// Handles are places in this list; they stay valid for the process.
static NAMES: Worker<Vec<Name>> = Worker::new(Vec::new());
static HANDLES: Worker<Option<HashMap<Vec<u8>, c_int>>> = Worker::new(None);

/// Names made up at run time, `ngx.var["arg_" .. x]` say, must not fill the memory.
const HANDLES_MAX: usize = 4096;

/// The handle for a variable's name; `NONE` when there are too many, and the name must be passed each time.
#[no_mangle]
pub extern "C" fn spacer_var_handle(name: *const u8, len: usize) -> c_int {
    // SAFETY: Lua's string; one thread.
    boundary(|| unsafe {
        let name = arg(name, len).to_ascii_lowercase();
        let handles = (*HANDLES.get()).get_or_insert_with(HashMap::new);
        if let Some(&handle) = handles.get(&name) {
            return handle;
        }
        let names = &mut *NAMES.get();
        if names.len() >= HANDLES_MAX {
            return NONE;
        }
        let handle = names.len() as c_int;
        let hash = nginx::hash_key(&name);
        let conf = std::ptr::null();
        names.push(Name { text: name.clone(), hash, conf, found: Found::ByName });
        handles.insert(name, handle);
        handle
    })
}

/// The variable of a handle.
#[no_mangle]
pub extern "C" fn spacer_var_get(handle: c_int, out: &mut spacer_str) -> c_int {
    with_request(|ctx| {
        // SAFETY: handles come from `spacer_var_handle`; the request is live.
        unsafe {
            let names = &mut *NAMES.get();
            match names.get_mut(handle as usize) {
                Some(name) => name.read(ctx.r, out),
                None => NONE,
            }
        }
    })
}

impl Name {
    unsafe fn read(&mut self, r: Request, out: &mut spacer_str) -> c_int {
        // SAFETY: the caller's request is live; its variables and their handlers belong to its configuration.
        unsafe {
            if (*r).main_conf.cast_const() != self.conf {
                self.found = find(r, &self.text, self.hash);
                self.conf = (*r).main_conf;
            }
            match self.found {
                Found::Indexed(index) => {
                    give(ngx_http_get_flushed_variable(r, index).as_ref(), out)
                }
                Found::Computed(Some(handler), data) => {
                    let mut value: ngx_http_variable_value_t = std::mem::zeroed();
                    if handler(r, &mut value, data) != nginx::OK {
                        return NONE;
                    }
                    give(Some(&value), out)
                }
                Found::Computed(None, _) | Found::ByName => read(r, &self.text, self.hash, out),
            }
        }
    }
}

unsafe fn find(r: Request, name: &[u8], hash: ngx_uint_t) -> Found {
    // SAFETY: the caller's request has its configuration, whose hash holds variables.
    let found = unsafe {
        let core = nginx::core_main_conf(&*r);
        ngx_hash_find(&mut core.variables_hash, hash, name.as_ptr().cast_mut(), name.len())
            .cast::<ngx_http_variable_t>()
            .as_ref()
    };
    match found {
        Some(variable) if variable.flags & NGX_HTTP_VAR_INDEXED as ngx_uint_t != 0 => {
            Found::Indexed(variable.index)
        }
        Some(variable) => Found::Computed(variable.get_handler, variable.data),
        // Some are kept out of the hash, such as those of the proxy module.
        None => indexed(r, name).map_or(Found::ByName, Found::Indexed),
    }
}

/// The place of an indexed variable.
unsafe fn indexed(r: Request, name: &[u8]) -> Option<ngx_uint_t> {
    // SAFETY: the caller's request has its configuration.
    unsafe {
        let core = nginx::core_main_conf(&*r);
        core.variables.as_slice::<ngx_http_variable_t>().iter().position(|variable| {
            nginx::bytes(variable.name) == name && variable.get_handler.is_some()
        })
    }
}

fn give(value: Option<&ngx_http_variable_value_t>, out: &mut spacer_str) -> c_int {
    // The bit fields in one: 28 bits of length, `valid`, `no_cacheable`, `not_found`, `escape`.
    const LEN: u32 = 0x0fff_ffff;
    const NOT_FOUND: u32 = 1 << 30;
    let Some(value) = value else { return NONE };
    // SAFETY: the bit fields are the structure's first 32 bits.
    let bits = unsafe { std::ptr::from_ref(value).cast::<u32>().read() };
    if bits & NOT_FOUND != 0 {
        return NONE;
    }
    out.data = value.data;
    out.len = (bits & LEN) as usize;
    OK
}

/// A variable by its name.
#[no_mangle]
pub extern "C" fn spacer_var_get_by_name(
    name: *const u8,
    len: usize,
    out: &mut spacer_str,
) -> c_int {
    with_request(|ctx| {
        // SAFETY: Lua's string; the request is live.
        unsafe {
            let name = arg(name, len).to_ascii_lowercase();
            read(ctx.r, &name, nginx::hash_key(&name), out)
        }
    })
}

/// A capture of the last regular expression that nginx matched: `ngx.var[1]`.
#[no_mangle]
pub extern "C" fn spacer_var_capture(index: c_int, out: &mut spacer_str) -> c_int {
    with_request(|ctx| {
        // SAFETY: nginx keeps `ncaptures` offsets into `captures_data`.
        unsafe {
            let r = &*ctx.r;
            let at = index.max(0) as usize * 2;
            if index <= 0 || at >= r.ncaptures || r.captures.is_null() || r.captures_data.is_null()
            {
                return NONE;
            }
            let (from, to) = (*r.captures.add(at), *r.captures.add(at + 1));
            if from < 0 || to < from {
                return NONE;
            }
            out.set(nginx::raw_bytes(r.captures_data.add(from as usize), (to - from) as usize));
            OK
        }
    })
}

unsafe fn read(r: Request, name: &[u8], hash: ngx_uint_t, out: &mut spacer_str) -> c_int {
    let mut name = nginx::str_of(name);
    // SAFETY: the caller's request is live.
    unsafe { give(ngx_http_get_variable(r, &mut name, hash).as_ref(), out) }
}

/// Assigns a variable; a null value makes it empty, as `nil` does.
#[no_mangle]
pub extern "C" fn spacer_var_set(
    name: *const u8,
    name_len: usize,
    value: *const u8,
    value_len: usize,
) -> c_int {
    with_request(|ctx| {
        // SAFETY: Lua's strings, and a live request.
        unsafe {
            let name = arg(name, name_len);
            let value = if value.is_null() { None } else { Some(arg(value, value_len)) };
            match assign(ctx.r, name, value) {
                Ok(()) => OK,
                Err(Refused::NotChangeable) => error(
                    RAISE,
                    format_args!("variable \"{}\" not changeable", nginx::NgxStr::from_bytes(name)),
                ),
                Err(Refused::NotAssignable) => error(
                    RAISE,
                    format_args!(
                        "variable \"{}\" cannot be assigned a value",
                        nginx::NgxStr::from_bytes(name)
                    ),
                ),
                Err(Refused::Undefined) => {
                    let name = nginx::NgxStr::from_bytes(name);
                    error(
                        RAISE,
                        format_args!(
                            "variable \"{name}\" not found for writing; maybe it is a built-in variable that is \
                             not changeable or you forgot to use \"set ${name} '';\" in the config file to define \
                             it first"
                        ),
                    )
                }
                Err(Refused::NoMemory) => error(RAISE, format_args!("no memory")),
            }
        }
    })
}
