//! The Lua state: its creation, what it can load, its coroutines, and the chunks compiled in it.
//!
//! `lua_code_cache on` has one VM for a worker, made at configuration time and inherited by `fork`; `off` has one for
//! each request. Nothing in here knows of requests.

mod block;
pub mod chunks;
pub mod code;
mod embedded;
pub mod traceback;

use std::collections::HashMap;
use std::ffi::{c_char, c_int, c_void, CStr};
use std::ptr;
use std::sync::atomic::{AtomicU64, Ordering};

use mlua::ffi as lua;
use mlua::ffi::lua_State;

extern "C" {
    /// Of OpenResty's LuaJIT: makes a coroutine that was left in mid-call, or failed, as good as new.
    fn lua_resetthread(l: *mut lua_State, thread: *mut lua_State);
}

/// A coroutine, kept from the collector by a reference in the registry.
#[derive(Clone, Copy)]
pub struct Coroutine {
    pub l: *mut lua_State,
    anchor: c_int,
}

pub struct Vm {
    l: *mut lua_State,
    id: u64,
    /// References of the chunks of files, by absolute path.
    files: HashMap<Vec<u8>, c_int>,
    /// The table of `ngx.ctx` tables, by the number that a request holds.
    ctx_tables: c_int,
    /// The function that runs the platform's functions.
    dispatcher: c_int,
    /// The function that runs an event's functions.
    trigger: c_int,
    /// What a coroutine yields when it waits for something of the scheduler's.
    wait_token: *const c_void,
    free_ctx: Vec<c_int>,
    ctx_count: c_int,
}

static NEXT_ID: AtomicU64 = AtomicU64::new(1);

impl Vm {
    /// Makes a VM with the standard libraries, everything embedded, and the global `ngx`.
    pub fn new(package_path: &[u8], package_cpath: &[u8], prefix: &[u8]) -> Result<Vm, String> {
        // SAFETY: the state is fresh and ours; all that may raise runs inside `lua_pcall`.
        unsafe {
            let l = lua::luaL_newstate();
            if l.is_null() {
                return Err("not enough memory for a Lua VM".into());
            }
            lua::lua_atpanic(l, at_panic);
            let mut vm = Vm {
                l,
                id: NEXT_ID.fetch_add(1, Ordering::Relaxed),
                files: HashMap::new(),
                ctx_tables: lua::LUA_NOREF,
                dispatcher: lua::LUA_NOREF,
                trigger: lua::LUA_NOREF,
                wait_token: ptr::null(),
                free_ctx: Vec::new(),
                ctx_count: 0,
            };
            lua::lua_gc(l, lua::LUA_GCSTOP, 0);
            lua::luaL_openlibs(l);
            set_package_field(l, c"path", package_path, prefix);
            set_package_field(l, c"cpath", package_cpath, prefix);
            embedded::preload(l);
            vm.boot()?;
            lua::lua_gc(l, lua::LUA_GCRESTART, 0);
            Ok(vm)
        }
    }

    pub fn state(&self) -> *mut lua_State {
        self.l
    }

    /// Runs the embedded `spacer.boot`, which makes the global `ngx` and returns what the scheduler needs of it.
    unsafe fn boot(&mut self) -> Result<(), String> {
        // SAFETY: the state is ours, and the call is protected.
        unsafe {
            lua::lua_getglobal(self.l, c"require".as_ptr());
            lua::lua_pushstring(self.l, c"spacer.boot".as_ptr());
            if lua::lua_pcall(self.l, 1, 1, 0) != lua::LUA_OK {
                let message =
                    format!("spacer.boot: {}", String::from_utf8_lossy(string_at(self.l, -1)));
                lua::lua_settop(self.l, 0);
                return Err(message);
            }
            lua::lua_getfield(self.l, -1, c"dispatch".as_ptr());
            self.dispatcher = lua::luaL_ref(self.l, lua::LUA_REGISTRYINDEX);
            lua::lua_getfield(self.l, -1, c"trigger".as_ptr());
            self.trigger = lua::luaL_ref(self.l, lua::LUA_REGISTRYINDEX);
            lua::lua_getfield(self.l, -1, c"wait".as_ptr());
            self.wait_token = lua::lua_topointer(self.l, -1);
            lua::lua_settop(self.l, -2);
            lua::lua_getfield(self.l, -1, c"ctx_tables".as_ptr());
            self.ctx_tables = lua::luaL_ref(self.l, lua::LUA_REGISTRYINDEX);
            lua::lua_settop(self.l, 0);
            Ok(())
        }
    }

    /// Whether the coroutine, which has just yielded, waits for something of the scheduler's.
    pub fn is_wait(&self, l: *mut lua_State) -> bool {
        // SAFETY: what was yielded is on the coroutine's stack.
        unsafe { lua::lua_gettop(l) > 0 && lua::lua_topointer(l, 1) == self.wait_token }
    }

    /// The reference of the platform's dispatcher.
    pub fn dispatcher(&self) -> c_int {
        self.dispatcher
    }

    /// The reference of the function that runs an event's functions.
    pub fn trigger(&self) -> c_int {
        self.trigger
    }

    /// A number that no other VM of the process has, ever.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// A new coroutine with an empty stack; `None` when there is no memory for one.
    #[cold]
    pub fn coroutine(&mut self) -> Option<Coroutine> {
        unsafe extern "C-unwind" fn make(l: *mut lua_State) -> c_int {
            // SAFETY: called by `lua_cpcall` with a pointer to the result.
            unsafe {
                let result = lua::lua_touserdata(l, 1).cast::<Coroutine>();
                let thread = lua::lua_newthread(l);
                let anchor = lua::luaL_ref(l, lua::LUA_REGISTRYINDEX);
                result.write(Coroutine { l: thread, anchor });
                0
            }
        }
        let mut coroutine = Coroutine { l: ptr::null_mut(), anchor: lua::LUA_NOREF };
        // SAFETY: errors are caught by `lua_cpcall`, and `coroutine` outlives the call.
        unsafe {
            if lua::lua_cpcall(self.l, make, (&raw mut coroutine).cast()) != lua::LUA_OK {
                lua::lua_settop(self.l, -2);
                return None;
            }
        }
        Some(coroutine)
    }

    /// Empties a coroutine's stack. `returned` says that its function came to its end.
    pub fn reset_coroutine(&mut self, coroutine: Coroutine, returned: bool) {
        // SAFETY: the coroutine belongs to this VM and isn't running.
        unsafe {
            if !returned {
                lua_resetthread(self.l, coroutine.l);
            } else if lua::lua_gettop(coroutine.l) != 0 {
                lua::lua_settop(coroutine.l, 0);
            }
        }
    }

    /// Lets the collector have a coroutine.
    pub fn drop_coroutine(&mut self, coroutine: Coroutine) {
        // SAFETY: the reference was made in this VM's registry.
        unsafe { lua::luaL_unref(self.l, lua::LUA_REGISTRYINDEX, coroutine.anchor) }
    }

    /// A number for a new `ngx.ctx` table; Lua puts the table in its place.
    pub fn new_ctx_slot(&mut self) -> c_int {
        self.free_ctx.pop().unwrap_or_else(|| {
            self.ctx_count += 1;
            self.ctx_count
        })
    }

    /// Drops the `ngx.ctx` table of that number.
    #[cold]
    pub fn free_ctx_slot(&mut self, slot: c_int) {
        // SAFETY: assigning nil to an existing element of a plain table neither allocates nor raises.
        unsafe {
            lua::lua_rawgeti(self.l, lua::LUA_REGISTRYINDEX, self.ctx_tables as _);
            lua::lua_pushnil(self.l);
            lua::lua_rawseti(self.l, -2, slot as _);
            lua::lua_settop(self.l, -2);
        }
        self.free_ctx.push(slot);
    }
}

impl Drop for Vm {
    fn drop(&mut self) {
        // SAFETY: the state is ours, and nobody runs in it when its owner is dropped.
        unsafe { lua::lua_close(self.l) }
    }
}

/// The bytes of the string at `index`; empty when it is no string.
///
/// # Safety
/// The value stays on the stack, or is otherwise kept, for `'a`.
pub unsafe fn string_at<'a>(l: *mut lua_State, index: c_int) -> &'a [u8] {
    let mut len = 0;
    // SAFETY: only strings and numbers are converted, in place.
    unsafe {
        let data = lua::lua_tolstring(l, index, &mut len);
        crate::nginx::raw_bytes(data.cast(), len)
    }
}

/// Sets `package.path` or `package.cpath`: `;;` stands for Lua's default, `$prefix` for nginx's prefix.
unsafe fn set_package_field(l: *mut lua_State, field: &CStr, value: &[u8], prefix: &[u8]) {
    if value.is_empty() {
        return;
    }
    // SAFETY: `package` and its fields are there after `luaL_openlibs`.
    unsafe {
        lua::lua_getglobal(l, c"package".as_ptr());
        lua::lua_getfield(l, -1, field.as_ptr());
        let default = string_at(l, -1).to_vec();
        let prefix = prefix.strip_suffix(b"/").unwrap_or(prefix);
        let mut text = replace(value, b"${prefix}", prefix);
        text = replace(&text, b"$prefix", prefix);
        let mut between = Vec::with_capacity(default.len() + 2);
        between.push(b';');
        between.extend_from_slice(&default);
        between.push(b';');
        text = replace(&text, b";;", &between);
        let text = text.strip_suffix(b";").unwrap_or(&text);
        lua::lua_pushlstring(l, text.as_ptr().cast(), text.len());
        lua::lua_setfield(l, -3, field.as_ptr());
        lua::lua_settop(l, 0);
    }
}

fn replace(text: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.windows(from.len()).position(|window| window == from) {
        out.extend_from_slice(&rest[..at]);
        out.extend_from_slice(to);
        rest = &rest[at + from.len()..];
    }
    out.extend_from_slice(rest);
    out
}

/// Lua raised outside any protected call: only memory running out gets here. Says so and ends the worker, which the
/// master starts anew.
unsafe extern "C-unwind" fn at_panic(l: *mut lua_State) -> c_int {
    // SAFETY: the state still holds the error's value; the cycle's log is there as long as the process.
    unsafe {
        let message: *const c_char = lua::lua_tostring(l, -1);
        let reason = if message.is_null() {
            c"unknown reason".to_bytes()
        } else {
            CStr::from_ptr(message).to_bytes()
        };
        crate::nginx::log_parts(
            nginx_sys::NGX_LOG_CRIT,
            (*nginx_sys::ngx_cycle).log,
            &[b"lua atpanic: Lua VM crashed, reason: ", reason],
        );
        libc::_exit(1)
    }
}
