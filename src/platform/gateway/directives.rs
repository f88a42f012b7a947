//! `spacer_project`, `spacer_gateway`, `spacer_function`, `spacer_append` and `spacer_trigger`. `spacer_private` is in
//! `access`.

use std::ffi::{c_char, c_void, OsStr};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::ptr;
use std::rc::Rc;

use gateway::Location;
use nginx_sys::*;

use super::locations;
use super::{new_targets, Endpoint, Gateway, Kind};
use crate::nginx::{self, conf_error, CONF_ERROR, CONF_OK};
use crate::phase::directives::set_content_handler;
use crate::platform::conf::{self, LocConf, Served};
use crate::platform::function;

unsafe fn argument<'a>(cf: *mut ngx_conf_t) -> &'a [u8] {
    // SAFETY: nginx checked that the directive has an argument.
    unsafe { nginx::bytes((*(*cf).args).as_slice::<ngx_str_t>()[1]) }
}

/// `spacer_project DIR;` relative to nginx's prefix.
pub unsafe fn set_project(
    cf: *mut ngx_conf_t,
    _cmd: *mut ngx_command_t,
    conf: *mut c_void,
) -> *mut c_char {
    // SAFETY: nginx passes the module's location configuration.
    unsafe {
        let conf = &mut *conf.cast::<LocConf>();
        if !conf.project.data.is_null() {
            return c"is duplicate".as_ptr().cast_mut();
        }
        let prefix = Path::new(OsStr::from_bytes(nginx::bytes((*(*cf).cycle).prefix)));
        let dir = prefix.join(OsStr::from_bytes(argument(cf)));
        let dir = match dir.canonicalize() {
            Ok(dir) if dir.is_dir() => dir,
            Ok(_) => {
                return conf_error(
                    cf,
                    &format!("spacer_project: {} is not a folder", dir.display()),
                )
            }
            Err(cause) => {
                return conf_error(cf, &format!("spacer_project: {}: {cause}", dir.display()));
            }
        };
        match nginx::pool_str((*cf).pool, dir.as_os_str().as_bytes()) {
            Some(text) => {
                conf.project = text;
                if conf::main_conf(cf).add_project((*cf).pool, dir) {
                    CONF_OK
                } else {
                    CONF_ERROR
                }
            }
            None => CONF_ERROR,
        }
    }
}

/// The project that holds where the directive stands, which may be set further out.
unsafe fn project(cf: *mut ngx_conf_t, conf: &LocConf) -> Option<PathBuf> {
    // SAFETY: while `http` is read, the cycle's entry for it holds the arrays of the outer levels.
    unsafe {
        let here = &*(*cf).ctx.cast::<ngx_http_conf_ctx_t>();
        let core = nginx::core_server_conf(here);
        let server = conf::loc_conf_of(&*core.ctx);
        let http = *(*(*cf).cycle).conf_ctx.add((*ptr::addr_of!(ngx_http_module)).index);
        let http = conf::loc_conf_of(&*(http as *mut ngx_http_conf_ctx_t));
        [conf, server, http]
            .into_iter()
            .map(|conf| nginx::bytes(conf.project))
            .find(|project| !project.is_empty())
            .map(|project| PathBuf::from(OsStr::from_bytes(project)))
    }
}

/// Leaves what is served to be checked at the end of the configuration: only then it is known in which environment.
unsafe fn note(
    cf: *mut ngx_conf_t,
    conf: &LocConf,
    project: &Path,
    functions: Vec<String>,
) -> bool {
    let served = Served { conf, project: project.to_path_buf(), functions };
    // SAFETY: the caller's `cf` is live and inside `http`.
    unsafe { conf::main_conf(cf).add_served((*cf).pool, served) }
}

const NO_PROJECT: &str = "needs a \"spacer_project\" above it";

/// `spacer_gateway FILE;` relative to the project.
pub unsafe fn set_gateway(
    cf: *mut ngx_conf_t,
    _cmd: *mut ngx_command_t,
    conf: *mut c_void,
) -> *mut c_char {
    // SAFETY: nginx passes the module's configuration for the server.
    unsafe {
        let conf = &mut *conf.cast::<LocConf>();
        if std::mem::replace(&mut conf.has_gateway, true) {
            return c"is duplicate".as_ptr().cast_mut();
        }
        let Some(project) = project(cf, conf) else {
            return conf_error(cf, &format!("\"spacer_gateway\" {NO_PROJECT}"));
        };
        let file = project.join(OsStr::from_bytes(argument(cf)));
        let gateway = match Gateway::load(file, project.clone()) {
            Ok(gateway) => gateway,
            Err(message) => return conf_error(cf, &message),
        };
        // The table was just loaded, so it is there.
        let Ok((table, _)) = gateway.table(false) else { return CONF_ERROR };
        let gateway = Rc::new(gateway);
        if !note(cf, conf, &project, table.functions().to_vec()) {
            return CONF_ERROR;
        }
        let routes =
            nginx::pool_box((*cf).pool, Endpoint { project, kind: Kind::Gateway(gateway) });
        if routes.is_null() {
            return CONF_ERROR;
        }
        let mut names = table.locations();
        // Everything else of the server gets the platform's 404, and, in development, the routes of a file that has
        // changed since.
        let rest = Location::Prefix("/".into());
        if !names.contains(&rest) {
            names.push(rest);
        }
        let own_private = names.contains(&private_name());
        let added = locations::add(cf, names, routes).and_then(|()| {
            if own_private {
                Ok(())
            } else {
                add_private(cf, conf)
            }
        });
        if let Err(returned) = added {
            return returned;
        }
        CONF_OK
    }
}

fn private_name() -> Location {
    Location::Prefix("/private/".into())
}

/// Adds the location of private functions to the `server` being read.
///
/// # Safety
/// Called from a directive's handler inside `server`, with the module's configuration for it.
pub unsafe fn add_private(cf: *mut ngx_conf_t, conf: &LocConf) -> Result<(), *mut c_char> {
    // SAFETY: the caller's promise.
    unsafe {
        let Some(project) = project(cf, conf) else {
            return Err(conf_error(cf, &format!("\"spacer_private\" {NO_PROJECT}")));
        };
        let private = nginx::pool_box((*cf).pool, Endpoint { project, kind: Kind::Private });
        if private.is_null() {
            return Err(CONF_ERROR);
        }
        locations::add(cf, vec![private_name()], private)
    }
}

/// `spacer_function NAME;`
pub unsafe fn set_function(
    cf: *mut ngx_conf_t,
    _cmd: *mut ngx_command_t,
    conf: *mut c_void,
) -> *mut c_char {
    // SAFETY: nginx passes the module's configuration for the location.
    unsafe {
        let conf = &mut *conf.cast::<LocConf>();
        if !conf.endpoint.is_null() {
            return c"is duplicate".as_ptr().cast_mut();
        }
        let Some(project) = project(cf, conf) else {
            return conf_error(cf, &format!("\"spacer_function\" {NO_PROJECT}"));
        };
        let name = String::from_utf8_lossy(argument(cf)).into_owned();
        let function = match gateway::function_name(&name) {
            Ok(function) => function,
            Err(reason) => return conf_error(cf, &format!("spacer_function \"{name}\": {reason}")),
        };
        let file = gateway::function_file(&project, &function);
        if !file.is_file() {
            return conf_error(
                cf,
                &format!("spacer_function \"{name}\": {} does not exist", file.display()),
            );
        }
        if !note(cf, conf, &project, vec![function.clone()]) {
            return CONF_ERROR;
        }
        let kind = Kind::Function { name: function, target: new_targets(1) };
        conf.endpoint = nginx::pool_box((*cf).pool, Endpoint { project, kind });
        if conf.endpoint.is_null() {
            return CONF_ERROR;
        }
        set_content_handler(cf, function::handler)
    }
}

/// `spacer_append;`
pub unsafe fn set_append(
    cf: *mut ngx_conf_t,
    _cmd: *mut ngx_command_t,
    conf: *mut c_void,
) -> *mut c_char {
    // SAFETY: nginx passes the module's configuration for the location.
    unsafe { set_endpoint(cf, &mut *conf.cast(), "spacer_append", Kind::Append) }
}

/// `spacer_trigger;`
pub unsafe fn set_trigger(
    cf: *mut ngx_conf_t,
    _cmd: *mut ngx_command_t,
    conf: *mut c_void,
) -> *mut c_char {
    // SAFETY: as above.
    unsafe { set_endpoint(cf, &mut *conf.cast(), "spacer_trigger", Kind::Trigger) }
}

unsafe fn set_endpoint(
    cf: *mut ngx_conf_t,
    conf: &mut LocConf,
    directive: &str,
    kind: Kind,
) -> *mut c_char {
    // SAFETY: the caller's `cf` is live and inside a location.
    unsafe {
        if !conf.endpoint.is_null() {
            return c"is duplicate".as_ptr().cast_mut();
        }
        let Some(project) = project(cf, conf) else {
            return conf_error(cf, &format!("\"{directive}\" {NO_PROJECT}"));
        };
        if !note(cf, conf, &project, Vec::new()) {
            return CONF_ERROR;
        }
        conf.endpoint = nginx::pool_box((*cf).pool, Endpoint { project, kind });
        if conf.endpoint.is_null() {
            return CONF_ERROR;
        }
        set_content_handler(cf, function::handler)
    }
}
