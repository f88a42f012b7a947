//! Compiled chunks: a directive's Lua is compiled when it is first run, and kept by reference in the VM's registry.

use std::ffi::{c_int, CStr, CString};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use mlua::ffi as lua;
use nginx_sys::*;

use super::{string_at, Vm};
use crate::lua::code::{Code, Source};
use crate::nginx::{self, Request};

/// Why a chunk isn't there, and the status that a request is answered with.
pub struct Error {
    pub status: ngx_int_t,
    pub message: Vec<u8>,
}

impl Error {
    fn broken(message: Vec<u8>) -> Self {
        Error { status: NGX_HTTP_INTERNAL_SERVER_ERROR as ngx_int_t, message }
    }
}

impl Vm {
    /// Pushes the chunk's function on the stack of `l`, one of this VM's coroutines.
    pub fn push_code(
        &self,
        l: *mut lua::lua_State,
        code: &Code,
        r: Option<Request>,
    ) -> Result<(), Error> {
        match code.compiled.get() {
            Some((vm, reference)) if vm == self.id => {
                push_reference(l, reference);
                Ok(())
            }
            _ => self.compile_and_push(l, code, r),
        }
    }

    #[cold]
    fn compile_and_push(
        &self,
        l: *mut lua::lua_State,
        code: &Code,
        r: Option<Request>,
    ) -> Result<(), Error> {
        match &code.source {
            Source::Inline { text, chunk_name } => {
                let function = self.compile(text, chunk_name).map_err(|message| {
                    // Without a request the directive is named in front.
                    let prefix = if r.is_some() { "failed to load inlined Lua code: " } else { "" };
                    Error::broken([prefix.as_bytes(), &message[..]].concat())
                })?;
                push_reference(l, function);
                if self.caches {
                    code.compiled.set(Some((self.id, function)));
                } else {
                    self.forget(function);
                }
                Ok(())
            }
            Source::File(value) => {
                let path = file_path(value, r).map_err(Error::broken)?;
                let key = path.as_os_str().as_bytes();
                if let Some(&reference) = self.files.borrow().get(key) {
                    push_reference(l, reference);
                    return Ok(());
                }
                let function = self.compile_file(&path)?;
                push_reference(l, function);
                if self.caches {
                    self.files.borrow_mut().insert(key.to_vec(), function);
                    if value.lengths.is_null() {
                        code.compiled.set(Some((self.id, function)));
                    }
                } else {
                    self.forget(function);
                }
                Ok(())
            }
        }
    }

    fn forget(&self, reference: c_int) {
        // SAFETY: the reference was made in this VM's registry.
        unsafe { lua::luaL_unref(self.l, lua::LUA_REGISTRYINDEX, reference) }
    }

    fn compile_file(&self, path: &Path) -> Result<c_int, Error> {
        let shown = path.display();
        let text = std::fs::read(path).map_err(|error| {
            // SAFETY: the C library's text for an error number.
            let cause =
                unsafe { CStr::from_ptr(libc::strerror(error.raw_os_error().unwrap_or(0))) };
            let message = format!(
                "failed to load external Lua file \"{shown}\": cannot open {shown}: {}",
                cause.to_string_lossy()
            );
            let status = match error.kind() {
                std::io::ErrorKind::NotFound => NGX_HTTP_NOT_FOUND,
                std::io::ErrorKind::PermissionDenied => NGX_HTTP_SERVICE_UNAVAILABLE,
                _ => NGX_HTTP_INTERNAL_SERVER_ERROR,
            };
            Error { status: status as ngx_int_t, message: message.into_bytes() }
        })?;
        let mut name = b"@".to_vec();
        name.extend_from_slice(path.as_os_str().as_bytes());
        let name =
            CString::new(name).map_err(|_| Error::broken(b"a path with a NUL byte".to_vec()))?;
        self.compile(luasource::without_shebang(&text), &name).map_err(|message| {
            Error::broken(
                [format!("failed to load external Lua file \"{shown}\": ").as_bytes(), &message]
                    .concat(),
            )
        })
    }

    /// Compiles `text` to a reference in the registry, or to the compiler's message.
    ///
    /// The text is compiled by itself first, which refuses what is no chunk, and then as the body of a plain function,
    /// which is used where the text is Lua source without `...`.
    fn compile(&self, text: &[u8], name: &CString) -> Result<c_int, Vec<u8>> {
        // SAFETY: loading and calling are protected, and the stack is as before afterwards.
        unsafe {
            let l = self.l;
            if lua::luaL_loadbuffer(l, text.as_ptr().cast(), text.len(), name.as_ptr())
                != lua::LUA_OK
            {
                let message = string_at(l, -1).to_vec();
                lua::lua_settop(l, -2);
                return Err(message);
            }
            if let Some(body) = luasource::as_function(text) {
                let loaded =
                    lua::luaL_loadbuffer(l, body.as_ptr().cast(), body.len(), name.as_ptr());
                if loaded == lua::LUA_OK && lua::lua_pcall(l, 0, 1, 0) == lua::LUA_OK {
                    lua::lua_replace(l, -2);
                } else {
                    lua::lua_settop(l, -2);
                }
            }
            Ok(lua::luaL_ref(l, lua::LUA_REGISTRYINDEX))
        }
    }
}

/// Pushes what a reference in the registry stands for.
pub fn push_reference(l: *mut lua::lua_State, reference: c_int) {
    // SAFETY: reading the registry by number can't raise, and a coroutine's empty stack has room.
    unsafe {
        lua::lua_rawgeti_(l, lua::LUA_REGISTRYINDEX, reference as _);
    }
}

/// The path of a `_by_lua_file`, with variables resolved, relative to nginx's prefix.
fn file_path(value: &ngx_http_complex_value_t, r: Option<Request>) -> Result<PathBuf, Vec<u8>> {
    // SAFETY: a value without variables is its text; one with variables is only evaluated with a live request.
    unsafe {
        let mut text = value.value;
        if !value.lengths.is_null() {
            let Some(r) = r else {
                return Err(
                    b"variables can't be used in the path of a file that runs without a request"
                        .to_vec(),
                );
            };
            if ngx_http_complex_value(r, ptr_mut(value), &mut text) != nginx::OK {
                return Err(b"the path of the Lua file can't be evaluated".to_vec());
            }
        }
        let prefix = nginx::bytes((*ngx_cycle).prefix);
        let path = Path::new(std::ffi::OsStr::from_bytes(nginx::bytes(text)));
        Ok(Path::new(std::ffi::OsStr::from_bytes(prefix)).join(path))
    }
}

fn ptr_mut<T>(value: &T) -> *mut T {
    std::ptr::from_ref(value).cast_mut()
}
