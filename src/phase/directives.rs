//! The directives that name Lua code. They are made from the table of phases: a directive stores its code by its phase,
//! whatever its form.

use std::ffi::{c_char, c_void, CStr};

use nginx_sys::*;

use super::content;
use crate::conf::phase::{Level, Phase};
use crate::conf::{main_conf, LocConf, MainConf};
use crate::lua::code::{self, Form};
use crate::nginx::command::*;
use crate::nginx::{self, conf_error, conf_log, CONF_OK};

/// What nginx keeps of a directive beside its name: its phase and form, packed into the row's offset.
const fn packed(phase: Phase, form: Form) -> usize {
    phase.index() << 2 | form as usize
}

const fn code(name: &'static CStr, phase: Phase, form: Form, contexts: usize) -> ngx_command_t {
    let arguments = match form {
        Form::Block => BLOCK,
        Form::Text | Form::File => TAKE1,
    };
    let at =
        if contexts == MAIN && !matches!(phase, Phase::ServerRewrite) { AT_MAIN } else { AT_LOC };
    command(name, contexts | arguments, set_code, at, packed(phase, form))
}

/// A phase that nginx has with OpenResty's patches only.
const fn patched(name: &'static CStr, arguments: usize) -> ngx_command_t {
    command(name, LOC | arguments, refuse_phase, AT_LOC, 0)
}

pub const COMMANDS: [ngx_command_t; 34] = [
    code(c"init_by_lua", Phase::Init, Form::Text, MAIN),
    code(c"init_by_lua_block", Phase::Init, Form::Block, MAIN),
    code(c"init_by_lua_file", Phase::Init, Form::File, MAIN),
    code(c"init_worker_by_lua", Phase::InitWorker, Form::Text, MAIN),
    code(c"init_worker_by_lua_block", Phase::InitWorker, Form::Block, MAIN),
    code(c"init_worker_by_lua_file", Phase::InitWorker, Form::File, MAIN),
    code(c"exit_worker_by_lua_block", Phase::ExitWorker, Form::Block, MAIN),
    code(c"exit_worker_by_lua_file", Phase::ExitWorker, Form::File, MAIN),
    code(c"server_rewrite_by_lua_block", Phase::ServerRewrite, Form::Block, MAIN | SRV),
    code(c"server_rewrite_by_lua_file", Phase::ServerRewrite, Form::File, MAIN | SRV),
    code(c"rewrite_by_lua", Phase::Rewrite, Form::Text, ANYWHERE),
    code(c"rewrite_by_lua_block", Phase::Rewrite, Form::Block, ANYWHERE),
    code(c"rewrite_by_lua_file", Phase::Rewrite, Form::File, ANYWHERE),
    code(c"access_by_lua", Phase::Access, Form::Text, ANYWHERE),
    code(c"access_by_lua_block", Phase::Access, Form::Block, ANYWHERE),
    code(c"access_by_lua_file", Phase::Access, Form::File, ANYWHERE),
    code(c"precontent_by_lua_block", Phase::Precontent, Form::Block, ANYWHERE),
    code(c"precontent_by_lua_file", Phase::Precontent, Form::File, ANYWHERE),
    code(c"content_by_lua", Phase::Content, Form::Text, LOC | LIF),
    code(c"content_by_lua_block", Phase::Content, Form::Block, LOC | LIF),
    code(c"content_by_lua_file", Phase::Content, Form::File, LOC | LIF),
    code(c"header_filter_by_lua", Phase::HeaderFilter, Form::Text, ANYWHERE),
    code(c"header_filter_by_lua_block", Phase::HeaderFilter, Form::Block, ANYWHERE),
    code(c"header_filter_by_lua_file", Phase::HeaderFilter, Form::File, ANYWHERE),
    code(c"body_filter_by_lua", Phase::BodyFilter, Form::Text, ANYWHERE),
    code(c"body_filter_by_lua_block", Phase::BodyFilter, Form::Block, ANYWHERE),
    code(c"body_filter_by_lua_file", Phase::BodyFilter, Form::File, ANYWHERE),
    code(c"log_by_lua", Phase::Log, Form::Text, ANYWHERE),
    code(c"log_by_lua_block", Phase::Log, Form::Block, ANYWHERE),
    code(c"log_by_lua_file", Phase::Log, Form::File, ANYWHERE),
    patched(c"proxy_ssl_certificate_by_lua_block", BLOCK),
    patched(c"proxy_ssl_certificate_by_lua_file", TAKE1),
    patched(c"proxy_ssl_verify_by_lua_block", BLOCK),
    patched(c"proxy_ssl_verify_by_lua_file", TAKE1),
];

unsafe fn refuse_phase(
    cf: *mut ngx_conf_t,
    cmd: *mut ngx_command_t,
    _conf: *mut c_void,
) -> *mut c_char {
    // SAFETY: nginx passes the configuration and the row that is being read.
    unsafe {
        let name = nginx::text((*cmd).name);
        let version = nginx::NgxStr::from_bytes(NGINX_VER.to_bytes());
        conf_error(
            cf,
            &format!("\"{name}\" is for a phase that {version} doesn't have: it needs OpenResty's patches"),
        )
    }
}

unsafe fn set_code(cf: *mut ngx_conf_t, cmd: *mut ngx_command_t, conf: *mut c_void) -> *mut c_char {
    // SAFETY: nginx passes the configuration of the level that the table says; `offset` is what `packed` made.
    unsafe {
        let row = &crate::conf::phase::ROWS[(*cmd).offset >> 2];
        let form = Form::from_number((*cmd).offset & 3);
        let slot = match row.level {
            Level::Main => &mut (*conf.cast::<MainConf>()).code[row.phase.index()],
            _ => (*conf.cast::<LocConf>()).code_slot(row.phase),
        };
        if !slot.is_null() {
            // nginx adds the directive's name, file and line to what is returned.
            return c"is duplicate".as_ptr().cast_mut();
        }
        match code::read(cf, form, row.tag(), 1) {
            Ok(code) => *slot = code,
            Err(returned) => return returned,
        }
        main_conf(cf).phases |= row.phase as u32;
        if let Phase::Content = row.phase {
            return set_content_handler(cf, content::handler);
        }
        CONF_OK
    }
}

/// Makes the location being read answer with the handler.
///
/// # Safety
/// Called from a directive's handler inside a location.
pub unsafe fn set_content_handler(
    cf: *mut ngx_conf_t,
    handler: unsafe extern "C" fn(crate::nginx::Request) -> ngx_int_t,
) -> *mut c_char {
    // SAFETY: inside `location`, `ctx` holds nginx's core configuration for it.
    unsafe {
        nginx::core_location_conf(&*cf).handler = Some(handler);
        main_conf(cf).phases |= Phase::Content as u32;
        CONF_OK
    }
}

/// `lua_code_cache on|off;`
pub unsafe fn set_code_cache(
    cf: *mut ngx_conf_t,
    cmd: *mut ngx_command_t,
    conf: *mut c_void,
) -> *mut c_char {
    // SAFETY: nginx passes the configuration that the offset is for.
    unsafe {
        // nginx would take what is ours in `post` for its own.
        let mut plain = *cmd;
        plain.post = std::ptr::null_mut();
        let returned = ngx_conf_set_flag_slot(cf, &mut plain, conf);
        if returned.is_null() && (*conf.cast::<LocConf>()).code_cache == 0 {
            conf_log(cf, NGX_LOG_ALERT, "lua_code_cache is off; this will hurt performance");
        }
        returned
    }
}
