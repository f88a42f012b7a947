//! Locations made by a directive rather than written in the configuration.

use std::ptr;

use nginx_sys::*;

use super::Endpoint;
use crate::conf::main_conf;
use crate::conf::phase::Phase;
use crate::nginx::{self, CONF_ERROR};
use crate::platform::conf::LocConf;
use crate::platform::function;
use crate::platform::module::module;

/// A location's name and how it matches.
pub struct Name<'a> {
    pub path: &'a str,
    pub exact: bool,
}

/// Adds a location to the `server` being read, as a `location` block would, that serves `endpoint`. One of the same
/// name that stands above in the configuration is left alone.
///
/// # Safety
/// Called from a directive's handler inside `server`.
pub unsafe fn add(
    cf: *mut ngx_conf_t,
    name: Name<'_>,
    endpoint: *mut Endpoint,
) -> Result<(), *mut std::ffi::c_char> {
    // SAFETY: inside `server`, `ctx` holds the server's arrays of configurations. The location's own array is made
    // as nginx makes it for a `location` block.
    unsafe {
        let server = &*(*cf).ctx.cast::<ngx_http_conf_ctx_t>();
        let core_module = &*ptr::addr_of!(ngx_http_core_module);
        main_conf(cf).phases |= Phase::Content as u32;
        let parent: &mut ngx_http_core_loc_conf_t =
            nginx::module_conf(server.loc_conf, core_module);
        if exists(parent, &name) {
            return Ok(());
        }

        let loc_conf: *mut *mut std::ffi::c_void =
            ngx_pcalloc((*cf).pool, size_of::<*mut std::ffi::c_void>() * ngx_http_max_module)
                .cast();
        if loc_conf.is_null() {
            return Err(CONF_ERROR);
        }
        let mut modules = (*(*cf).cycle).modules;
        while let Some(http) = (*modules).as_ref() {
            if http.type_ == NGX_HTTP_MODULE as ngx_uint_t {
                let context = &*http.ctx.cast::<ngx_http_module_t>();
                if let Some(create) = context.create_loc_conf {
                    let conf = create(cf);
                    if conf.is_null() {
                        return Err(CONF_ERROR);
                    }
                    *loc_conf.add(http.ctx_index) = conf;
                }
            }
            modules = modules.add(1);
        }

        let core: &mut ngx_http_core_loc_conf_t = nginx::module_conf(loc_conf, core_module);
        core.loc_conf = loc_conf;
        core.name = nginx::pool_str((*cf).pool, name.path.as_bytes()).ok_or(CONF_ERROR)?;
        core.set_exact_match(name.exact as _);
        core.handler = Some(function::handler);
        let conf: &mut LocConf = nginx::module_conf(loc_conf, module());
        conf.endpoint = endpoint;
        if ngx_http_add_location(cf, &mut parent.locations, core) != nginx::OK {
            return Err(CONF_ERROR);
        }
        Ok(())
    }
}

/// Whether the server has a location of that name already.
unsafe fn exists(parent: &ngx_http_core_loc_conf_t, name: &Name<'_>) -> bool {
    if parent.locations.is_null() {
        return false;
    }
    // SAFETY: the queue links `ngx_http_location_queue_t`s by their first field and ends where it began.
    unsafe {
        let head = parent.locations;
        let mut at = (*head).next;
        while at != head {
            let location = &*at.cast::<ngx_http_location_queue_t>();
            let core = if location.exact.is_null() { location.inclusive } else { location.exact };
            if let Some(core) = core.as_ref() {
                let is_regex = !core.regex.is_null() || core.noname() != 0 || core.named() != 0;
                let exact = core.exact_match() != 0;
                if !is_regex
                    && exact == name.exact
                    && nginx::bytes(core.name) == name.path.as_bytes()
                {
                    return true;
                }
            }
            at = (*at).next;
        }
        false
    }
}
