//! `spacer_private`: a server whose connections may reach every function, because nobody else gets there.

use std::ffi::{c_char, c_void, CStr};
use std::ptr;

use nginx_sys::*;

use crate::nginx::{self, log_error, CONF_OK};
use crate::platform::conf::{self, LocConf};
use crate::platform::gateway::directives::add_private;

/// `spacer_private;`
pub unsafe fn set_private(
    cf: *mut ngx_conf_t,
    _cmd: *mut ngx_command_t,
    conf: *mut c_void,
) -> *mut c_char {
    // SAFETY: nginx passes the module's configuration for the server.
    unsafe {
        let conf = &mut *conf.cast::<LocConf>();
        if std::mem::replace(&mut conf.private_listener, true) {
            return c"is duplicate".as_ptr().cast_mut();
        }
        match add_private(cf, conf) {
            Ok(()) => CONF_OK,
            Err(returned) => returned,
        }
    }
}

/// Sees that no address leads to a server with `spacer_private` and to one without: which of them a request reaches
/// is the client's choice there. False, and logged, where one does.
///
/// # Safety
/// Called at the end of `http`.
pub unsafe fn check(cf: *mut ngx_conf_t) -> bool {
    // SAFETY: the caller's promise: nginx has noted every `listen`, and the servers of each address.
    unsafe {
        let core = nginx::core_main_conf(&*cf);
        let Some(ports) = core.ports.as_ref() else { return true };
        for port in ports.as_slice::<ngx_http_conf_port_t>() {
            let addresses = port.addrs.as_slice::<ngx_http_conf_addr_t>();
            for address in addresses {
                let Some(private) = servers(address).iter().find(|server| is_private(server))
                else {
                    continue;
                };
                let public = addresses
                    .iter()
                    .filter(|other| ptr::eq(*other, address) || other.opt.wildcard() != 0)
                    .flat_map(|other| servers(other))
                    .find(|server| !is_private(server));
                if let Some(public) = public {
                    log_error!(
                        NGX_LOG_EMERG,
                        (*cf).log,
                        "the server with \"spacer_private\" in {} can be reached at {} like the one in {}: give it an \
                         address and port of its own",
                        place(private),
                        nginx::NgxStr::from_bytes(nginx::bytes(address.opt.addr_text)),
                        place(public)
                    );
                    return false;
                }
            }
        }
        true
    }
}

unsafe fn servers(address: &ngx_http_conf_addr_t) -> &[&ngx_http_core_srv_conf_t] {
    // SAFETY: an address has an array of pointers to its servers' configurations.
    unsafe { address.servers.as_slice() }
}

fn is_private(server: &ngx_http_core_srv_conf_t) -> bool {
    // SAFETY: a server has its array of configurations.
    unsafe { conf::loc_conf_of(&*server.ctx) }.private_listener
}

/// Where the configuration has the server.
fn place(server: &ngx_http_core_srv_conf_t) -> String {
    // SAFETY: nginx notes the name of the file, with a NUL at its end.
    let file = unsafe { CStr::from_ptr(server.file_name.cast()) };
    format!("{}:{}", file.to_string_lossy(), server.line)
}
