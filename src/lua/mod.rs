//! The Lua state: its creation, what it can load, its coroutines, and the chunks compiled in it.
//!
//! `lua_code_cache on` has one VM for a worker, made at configuration time and inherited by `fork`; `off` has one for
//! each request. A VM is counted: it lives as long as anybody who runs in it. Nothing in here knows of requests.

mod block;
pub mod chunks;
pub mod code;
mod embedded;
pub mod traceback;

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::ffi::{c_char, c_int, CStr};
use std::ptr;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};

use mlua::ffi as lua;
use mlua::ffi::lua_State;

use crate::nginx::cell::Worker;

extern "C" {
    /// Of OpenResty's LuaJIT: makes a coroutine that was left in mid-call, or failed, as good as new.
    fn lua_resetthread(l: *mut lua_State, thread: *mut lua_State);
}

/// A coroutine, kept from the collector by references in the registry.
#[derive(Clone, Copy, Debug)]
pub struct Coroutine {
    pub l: *mut lua_State,
    anchor: c_int,
    /// Of the user's coroutine that spawned it, whose end it may have to know.
    spawner: c_int,
}

impl PartialEq for Coroutine {
    fn eq(&self, other: &Self) -> bool {
        self.l == other.l
    }
}

impl Coroutine {
    /// A coroutine that somebody else keeps.
    pub fn kept_elsewhere(l: *mut lua_State) -> Coroutine {
        Coroutine { l, anchor: lua::LUA_NOREF, spawner: lua::LUA_NOREF }
    }

    /// A new one, which the collector keeps until it is let go.
    ///
    /// # Safety
    /// Called from a C function that `l` runs. Raises when there is no memory.
    pub unsafe fn new(l: *mut lua_State) -> Coroutine {
        // SAFETY: the caller's promise.
        unsafe {
            let new = lua::lua_newthread(l);
            let anchor = lua::luaL_ref(l, lua::LUA_REGISTRYINDEX);
            Coroutine { l: new, anchor, spawner: lua::LUA_NOREF }
        }
    }

    /// Keeps `l`, which spawns it, as long.
    ///
    /// # Safety
    /// As for [`new`](Self::new).
    pub unsafe fn keep_spawner(&mut self, l: *mut lua_State) {
        // SAFETY: the caller's promise.
        unsafe {
            lua::lua_pushthread(l);
            self.spawner = lua::luaL_ref(l, lua::LUA_REGISTRYINDEX);
        }
    }

    /// Lets the collector have it.
    ///
    /// # Safety
    /// `l` is a coroutine of the same VM.
    pub unsafe fn let_go(self, l: *mut lua_State) {
        // SAFETY: the references were made in this VM's registry; none is nothing.
        unsafe {
            lua::luaL_unref(l, lua::LUA_REGISTRYINDEX, self.anchor);
            lua::luaL_unref(l, lua::LUA_REGISTRYINDEX, self.spawner);
        }
    }

    /// Whether its function has not come to its end.
    ///
    /// # Safety
    /// The coroutine is not collected.
    pub unsafe fn is_alive(self) -> bool {
        // SAFETY: the caller's promise.
        unsafe {
            match lua::lua_status(self.l) {
                lua::LUA_YIELD => true,
                lua::LUA_OK => {
                    let mut frame: lua::lua_Debug = std::mem::zeroed();
                    lua::lua_getstack(self.l, 0, &mut frame) != 0 || lua::lua_gettop(self.l) > 0
                }
                _ => false,
            }
        }
    }
}

pub struct Vm {
    l: *mut lua_State,
    id: u64,
    /// Whether what is compiled is kept: `lua_code_cache on`.
    caches: bool,
    /// References of the chunks of files, by absolute path.
    files: RefCell<HashMap<Vec<u8>, c_int>>,
    /// The table of `ngx.ctx` tables, by the number that a request holds.
    ctx_tables: c_int,
    /// The functions of the layers above that run without a directive, in the order in which `spacer.boot` gives them.
    entries: Vec<c_int>,
    free_ctx: RefCell<Vec<c_int>>,
    ctx_count: Cell<c_int>,
    /// Coroutines for the next entry threads.
    idle: RefCell<Vec<Coroutine>>,
    idle_max: usize,
}

/// What a VM is made with.
pub struct Settings<'a> {
    /// `lua_package_path` and `lua_package_cpath`; empty for Lua's own.
    pub package_path: &'a [u8],
    pub package_cpath: &'a [u8],
    /// nginx's prefix, which `$prefix` stands for.
    pub prefix: &'a [u8],
    /// Whether what is compiled is kept.
    pub caches: bool,
    /// How many idle coroutines are kept.
    pub idle_max: usize,
}

/// A module in C, by its name.
pub type CModule = (&'static CStr, lua::lua_CFunction);

/// The C modules of the layers above, which every VM can load.
static C_MODULES: Worker<&[CModule]> = Worker::new(&[]);

/// Makes C modules known to the VMs that are made from here on.
pub fn provide(modules: &'static [CModule]) {
    // SAFETY: one thread, before a VM is made.
    unsafe { *C_MODULES.get() = modules }
}

static NEXT_ID: AtomicU64 = AtomicU64::new(1);

impl Vm {
    /// Makes a VM with the standard libraries, everything embedded, and the global `ngx`.
    pub fn new(settings: &Settings<'_>) -> Result<Rc<Vm>, String> {
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
                caches: settings.caches,
                files: RefCell::default(),
                ctx_tables: lua::LUA_NOREF,
                entries: Vec::new(),
                free_ctx: RefCell::default(),
                ctx_count: Cell::new(0),
                idle: RefCell::default(),
                idle_max: settings.idle_max,
            };
            lua::lua_gc(l, lua::LUA_GCSTOP, 0);
            lua::luaL_openlibs(l);
            set_package_field(l, c"path", settings.package_path, settings.prefix);
            set_package_field(l, c"cpath", settings.package_cpath, settings.prefix);
            embedded::preload(l, *C_MODULES.get());
            vm.boot()?;
            lua::lua_gc(l, lua::LUA_GCRESTART, 0);
            Ok(Rc::new(vm))
        }
    }

    pub fn state(&self) -> *mut lua_State {
        self.l
    }

    /// Whether the coroutine is one of this VM's.
    ///
    /// # Safety
    /// `l` is a live coroutine.
    pub unsafe fn has(&self, l: *mut lua_State) -> bool {
        // SAFETY: the caller's promise. Each VM has one registry.
        unsafe {
            lua::lua_topointer(l, lua::LUA_REGISTRYINDEX)
                == lua::lua_topointer(self.l, lua::LUA_REGISTRYINDEX)
        }
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
            lua::lua_getfield(self.l, -1, c"ctx_tables".as_ptr());
            self.ctx_tables = lua::luaL_ref(self.l, lua::LUA_REGISTRYINDEX);
            lua::lua_getfield(self.l, -1, c"entries".as_ptr());
            for index in 1.. {
                lua::lua_rawgeti_(self.l, -1, index);
                if lua::lua_isnil(self.l, -1) != 0 {
                    break;
                }
                self.entries.push(lua::luaL_ref(self.l, lua::LUA_REGISTRYINDEX));
            }
            lua::lua_settop(self.l, 0);
            Ok(())
        }
    }

    /// The reference of the entry function of that index in `spacer.boot`'s list, from 0.
    pub fn entry(&self, index: usize) -> c_int {
        self.entries[index]
    }

    /// A coroutine with an empty stack, an idle one where there is one; `None` when there is no memory for one.
    pub fn coroutine(&self) -> Option<(Coroutine, bool)> {
        match self.idle.borrow_mut().pop() {
            Some(coroutine) => Some((coroutine, true)),
            None => self.new_coroutine().map(|coroutine| (coroutine, false)),
        }
    }

    #[cold]
    fn new_coroutine(&self) -> Option<Coroutine> {
        unsafe extern "C-unwind" fn make(l: *mut lua_State) -> c_int {
            // SAFETY: called by `lua_cpcall` with a pointer to the result.
            unsafe {
                let result = lua::lua_touserdata(l, 1).cast::<Coroutine>();
                let thread = lua::lua_newthread(l);
                let anchor = lua::luaL_ref(l, lua::LUA_REGISTRYINDEX);
                result.write(Coroutine { l: thread, anchor, spawner: lua::LUA_NOREF });
                0
            }
        }
        let mut coroutine = Coroutine::kept_elsewhere(ptr::null_mut());
        // SAFETY: errors are caught by `lua_cpcall`, and `coroutine` outlives the call.
        unsafe {
            if lua::lua_cpcall(self.l, make, (&raw mut coroutine).cast()) != lua::LUA_OK {
                lua::lua_settop(self.l, -2);
                return None;
            }
        }
        Some(coroutine)
    }

    /// Keeps a coroutine for the next entry thread, unless there are enough; says whether it is kept. `returned` says that its
    /// function came to its end.
    pub fn recycle(&self, coroutine: Coroutine, returned: bool) -> bool {
        // SAFETY: the coroutine belongs to this VM and isn't running.
        unsafe {
            if !returned {
                lua_resetthread(self.l, coroutine.l);
            } else if lua::lua_gettop(coroutine.l) != 0 {
                lua::lua_settop(coroutine.l, 0);
            }
        }
        let mut idle = self.idle.borrow_mut();
        let kept = idle.len() < self.idle_max;
        if kept {
            idle.push(coroutine);
        } else {
            self.discard(coroutine);
        }
        kept
    }

    /// Lets the collector have a coroutine.
    pub fn discard(&self, coroutine: Coroutine) {
        // SAFETY: the state is one of the coroutine's VM.
        unsafe { coroutine.let_go(self.l) }
    }

    /// A number for a new `ngx.ctx` table; Lua puts the table in its place.
    pub fn new_ctx_slot(&self) -> c_int {
        self.free_ctx.borrow_mut().pop().unwrap_or_else(|| {
            self.ctx_count.set(self.ctx_count.get() + 1);
            self.ctx_count.get()
        })
    }

    /// Drops the `ngx.ctx` table of that number.
    #[cold]
    pub fn free_ctx_slot(&self, slot: c_int) {
        // SAFETY: assigning nil to an existing element of a plain table neither allocates nor raises.
        unsafe {
            lua::lua_rawgeti(self.l, lua::LUA_REGISTRYINDEX, self.ctx_tables as _);
            lua::lua_pushnil(self.l);
            lua::lua_rawseti(self.l, -2, slot as _);
            lua::lua_settop(self.l, -2);
        }
        self.free_ctx.borrow_mut().push(slot);
    }
}

impl Drop for Vm {
    fn drop(&mut self) {
        // SAFETY: the state is ours, and nobody runs in it when its owner is dropped.
        unsafe { lua::lua_close(self.l) }
    }
}

/// What a coroutine yields when it waits for something of the scheduler's is the address of this.
static WAIT: u8 = 0;

/// Whether the coroutine, which has just yielded, waits for something of the scheduler's.
///
/// # Safety
/// `l` is a suspended coroutine.
#[inline]
pub unsafe fn is_wait(l: *mut lua_State) -> bool {
    // SAFETY: what was yielded is on the coroutine's stack; where there is nothing this is null.
    ptr::eq(unsafe { lua::lua_touserdata(l, 1) }.cast(), &raw const WAIT)
}

/// Pushes what a coroutine yields to wait.
///
/// # Safety
/// The stack of `l` has room.
#[inline]
pub unsafe fn push_wait(l: *mut lua_State) {
    // SAFETY: the caller's promise; Lua takes the pointer for a number.
    unsafe { lua::lua_pushlightuserdata(l, (&raw const WAIT).cast_mut().cast()) }
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
