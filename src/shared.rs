//! `lua_shared_dict`: dictionaries in nginx's shared zones.
//!
//! A zone is nginx's, with its slab allocator and the mutex that the master takes from a worker that died. A dictionary has all the pages of the allocator as one
//! piece, and cuts it by itself ([`shdict`]). When a configuration is read anew its zones are those of the old one where the size is the same, contents
//! and all.
//!
//! nginx makes the zones when the whole configuration has been read, so that it is the last of them that `init_by_lua*` waits for.

use std::collections::hash_map::RandomState;
use std::ffi::{c_char, c_void};
use std::hash::{BuildHasher, Hasher};

use nginx_sys::*;
use shdict::{Dict, Lock, TooSmall};

use crate::conf::{main_conf, MainConf};
use crate::nginx::command::*;
use crate::nginx::{self, conf_error, guard, log_error, NgxStr, CONF_OK};
use crate::request::main_state;

/// The least that is a size, in bytes.
const SIZE_MIN: isize = 8192;

/// A process' view of a zone. It lives as long as its configuration.
pub struct Dictionary {
    name: ngx_str_t,
    /// In bytes, as configured.
    size: usize,
    conf: *const MainConf,
    cycle: *mut ngx_cycle_t,
    /// None until nginx has made the zone.
    made: Option<Made>,
}

struct Made {
    memory: *mut u8,
    len: usize,
    dict: Dict<ZoneLock>,
}

impl Dictionary {
    pub fn name(&self) -> &[u8] {
        // SAFETY: a directive's argument, which lives as long as the configuration.
        unsafe { nginx::bytes(self.name) }
    }

    pub fn size(&self) -> usize {
        self.size
    }

    /// The dictionary, once nginx has made its zone.
    #[inline]
    pub fn dict(&self) -> Option<&Dict<ZoneLock>> {
        self.made.as_ref().map(|made| &made.dict)
    }
}

/// The mutex of a zone.
pub struct ZoneLock {
    pool: *mut ngx_slab_pool_t,
    name: ngx_str_t,
}

impl Lock for ZoneLock {
    #[inline]
    fn lock(&self) {
        // SAFETY: the zone is mapped as long as its configuration is used.
        unsafe { ngx_shmtx_lock(&raw mut (*self.pool).mutex) }
    }

    #[inline]
    fn unlock(&self) {
        // SAFETY: as above.
        unsafe { ngx_shmtx_unlock(&raw mut (*self.pool).mutex) }
    }

    fn emptied(&self) {
        // SAFETY: the cycle's log is there as long as the process; the name as long as the configuration.
        unsafe {
            log_error!(
                NGX_LOG_ALERT,
                (*ngx_cycle).log,
                "lua_shared_dict \"{}\" was emptied: a process died while it changed it",
                NgxStr::from_bytes(nginx::bytes(self.name))
            );
        }
    }
}

pub const COMMANDS: [ngx_command_t; 1] =
    [command(c"lua_shared_dict", MAIN | TAKE2, add_dictionary, AT_MAIN, 0)];

/// `lua_shared_dict NAME SIZE;`
unsafe fn add_dictionary(
    cf: *mut ngx_conf_t,
    _cmd: *mut ngx_command_t,
    _conf: *mut c_void,
) -> *mut c_char {
    // SAFETY: nginx calls this with the directive and its two arguments.
    unsafe {
        let arguments: *mut ngx_str_t = (*(*cf).args).elts.cast();
        let (mut name, mut size_text) = (*arguments.add(1), *arguments.add(2));
        let text = NgxStr::from_bytes(nginx::bytes(name));
        if name.len == 0 {
            return conf_error(cf, &format!("invalid lua shared dict name \"{text}\""));
        }
        let size = ngx_parse_size(&mut size_text);
        if size < SIZE_MIN {
            let size = NgxStr::from_bytes(nginx::bytes(size_text));
            return conf_error(cf, &format!("invalid lua shared dict size \"{size}\""));
        }
        let size = size as usize;
        let zone = ngx_shared_memory_add(cf, &mut name, size, nginx::own::module_ptr().cast());
        let Some(zone) = zone.as_mut() else { return nginx::CONF_ERROR };
        if !zone.data.is_null() {
            let message = format!("lua_shared_dict \"{text}\" is already defined as \"{text}\"");
            return conf_error(cf, &message);
        }
        let conf = main_conf(cf);
        let cycle = (*cf).cycle;
        let dictionary = Dictionary { name, size, conf, cycle, made: None };
        let dictionary = nginx::pool_box((*cf).pool, dictionary);
        if dictionary.is_null() || !conf.add_zone((*cf).pool, zone) {
            return nginx::CONF_ERROR;
        }
        zone.data = dictionary.cast();
        zone.init = Some(zone_made);
        CONF_OK
    }
}

/// The dictionaries of a configuration, in its order.
pub fn dictionaries(conf: &MainConf) -> impl Iterator<Item = &Dictionary> {
    // SAFETY: `add_dictionary` has put one into each zone, which lives as long as the configuration.
    conf.zones().iter().map(|&zone| unsafe { &*(*zone).data.cast::<Dictionary>() })
}

/// nginx has made a zone, or found it in the configuration before, where its `data` is `old`.
unsafe extern "C" fn zone_made(zone: *mut ngx_shm_zone_t, old: *mut c_void) -> ngx_int_t {
    // SAFETY: `data` is what `add_dictionary` put there, in this and in the configuration before.
    unsafe {
        let dictionary = &mut *(*zone).data.cast::<Dictionary>();
        guard((*dictionary.cycle).log, nginx::ERROR, || {
            let old = old.cast::<Dictionary>().as_ref();
            match make(dictionary, (*zone).shm.addr.cast(), old) {
                Some(made) => dictionary.made = Some(made),
                None => return nginx::ERROR,
            }
            let conf = &*dictionary.conf;
            if dictionaries(conf).all(|dictionary| dictionary.made.is_some()) {
                return init(conf, dictionary.cycle);
            }
            nginx::OK
        })
    }
}

/// A view of a zone's dictionary, which is made unless the old one's is there. `None` when the zone is too small, which is logged.
unsafe fn make(
    dictionary: &Dictionary,
    pool: *mut ngx_slab_pool_t,
    old: Option<&Dictionary>,
) -> Option<Made> {
    // SAFETY: the pool is a zone's, which nobody else allocates from; its mutex is the lock of all views of it.
    unsafe {
        let lock = ZoneLock { pool, name: dictionary.name };
        if let Some(old) = old.and_then(|old| old.made.as_ref()) {
            let dict = Dict::new(old.memory, old.len, lock).ok()?;
            return Some(Made { memory: old.memory, len: old.len, dict });
        }
        let len = (*pool).pfree * ngx_pagesize;
        let memory: *mut u8 = match len {
            0 => std::ptr::null_mut(),
            len => ngx_slab_alloc(pool, len).cast(),
        };
        let dict = match memory.is_null() {
            true => Err(TooSmall),
            false => Dict::new(memory, len, lock),
        };
        match dict {
            Ok(dict) => {
                dict.format(RandomState::new().build_hasher().finish());
                Some(Made { memory, len, dict })
            }
            Err(TooSmall) => {
                log_error!(
                    NGX_LOG_EMERG,
                    (*dictionary.cycle).log,
                    "lua_shared_dict \"{}\" is too small: {} bytes have no room for a page of values",
                    NgxStr::from_bytes(dictionary.name()),
                    dictionary.size
                );
                None
            }
        }
    }
}

/// Runs `init_by_lua*` for the VM of the configuration, as the process that the cycle will be.
unsafe fn init(conf: &MainConf, cycle: *mut ngx_cycle_t) -> ngx_int_t {
    // SAFETY: nginx calls back on its only thread, with both cycles alive.
    unsafe {
        let Some(vm) = conf.vm() else { return nginx::ERROR };
        match nginx::with_cycle(cycle, || main_state::run_init(conf, vm)) {
            Ok(()) => nginx::OK,
            Err(message) => {
                nginx::log_parts(NGX_LOG_ERR, (*cycle).log, &[&message]);
                nginx::ERROR
            }
        }
    }
}
