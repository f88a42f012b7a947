//! The table of directives. Those that name Lua code differ by data only: where the code is stored, the tag that
//! tracebacks show, and what else naming it sets up.

use std::ffi::{c_char, c_void, CStr};
use std::mem::offset_of;
use std::ptr;

use nginx_sys::*;

use super::code::{self, Code, Form};
use super::{conf_log, LocConf, MainConf, CONF_OK};
use crate::module;
use crate::phase::Phase;

const MAIN: usize = NGX_HTTP_MAIN_CONF as usize;
const SRV: usize = NGX_HTTP_SRV_CONF as usize;
const LOC: usize = NGX_HTTP_LOC_CONF as usize;
const LIF: usize = NGX_HTTP_LIF_CONF as usize;
const FLAG: usize = NGX_CONF_FLAG as usize;
const TAKE1: usize = NGX_CONF_TAKE1 as usize;
const BLOCK: usize = (NGX_CONF_BLOCK | NGX_CONF_NOARGS) as usize;
const ANYWHERE: usize = MAIN | SRV | LOC | LIF;

/// What a `*_by_lua*` directive stands for.
struct Lua {
    tag: &'static str,
    form: Form,
    phase: Phase,
}

const fn lua(tag: &'static str, form: Form, phase: Phase) -> Lua {
    Lua { tag, form, phase }
}

type Setter = unsafe extern "C" fn(*mut ngx_conf_t, *mut ngx_command_t, *mut c_void) -> *mut c_char;

const fn command(
    name: &'static CStr,
    type_: usize,
    set: Setter,
    conf: usize,
    offset: usize,
    post: *const c_void,
) -> ngx_command_t {
    ngx_command_t {
        // The name's length leaves the NUL out, but nginx wants it there.
        name: ngx_str_t { len: name.count_bytes(), data: name.as_ptr() as *mut u_char },
        type_,
        set: Some(set),
        conf,
        offset,
        post: post.cast_mut(),
    }
}

macro_rules! code_at_main {
    ($name:literal, $tag:literal, $field:ident, $form:ident) => {{
        static LUA: Lua = lua($tag, Form::$form, Phase::Init);
        command(
            $name,
            MAIN | form_type(Form::$form),
            set_code,
            NGX_HTTP_MAIN_CONF_OFFSET,
            offset_of!(MainConf, $field),
            ptr::addr_of!(LUA).cast(),
        )
    }};
}

macro_rules! code_at_location {
    ($name:literal, $tag:literal, $field:ident, $form:ident, $contexts:expr, $phase:ident) => {{
        static LUA: Lua = lua($tag, Form::$form, Phase::$phase);
        command(
            $name,
            $contexts | form_type(Form::$form),
            set_code,
            NGX_HTTP_LOC_CONF_OFFSET,
            offset_of!(LocConf, $field),
            ptr::addr_of!(LUA).cast(),
        )
    }};
}

const fn form_type(form: Form) -> usize {
    match form {
        Form::Block => BLOCK,
        Form::Text | Form::File => TAKE1,
    }
}

const fn flag(name: &'static CStr, offset: usize) -> ngx_command_t {
    command(
        name,
        ANYWHERE | FLAG,
        ngx_conf_set_flag_slot,
        NGX_HTTP_LOC_CONF_OFFSET,
        offset,
        ptr::null(),
    )
}

const fn endpoint(name: &'static CStr, set: Setter) -> ngx_command_t {
    const NOARGS: usize = NGX_CONF_NOARGS as usize;
    command(name, LOC | NOARGS, set, NGX_HTTP_LOC_CONF_OFFSET, 0, ptr::null())
}

const fn main_str(name: &'static CStr, offset: usize) -> ngx_command_t {
    command(
        name,
        MAIN | TAKE1,
        ngx_conf_set_str_slot,
        NGX_HTTP_MAIN_CONF_OFFSET,
        offset,
        ptr::null(),
    )
}

pub static mut COMMANDS: [ngx_command_t; 40] = [
    main_str(c"lua_package_path", offset_of!(MainConf, package_path)),
    main_str(c"lua_package_cpath", offset_of!(MainConf, package_cpath)),
    command(
        c"lua_code_cache",
        ANYWHERE | FLAG,
        set_code_cache,
        NGX_HTTP_LOC_CONF_OFFSET,
        offset_of!(LocConf, code_cache),
        ptr::null(),
    ),
    flag(c"lua_need_request_body", offset_of!(LocConf, need_request_body)),
    flag(c"lua_http10_buffering", offset_of!(LocConf, http10_buffering)),
    flag(c"lua_use_default_type", offset_of!(LocConf, use_default_type)),
    flag(
        c"lua_transform_underscores_in_response_headers",
        offset_of!(LocConf, transform_underscores),
    ),
    code_at_main!(c"init_by_lua", "init_by_lua", init, Text),
    code_at_main!(c"init_by_lua_block", "init_by_lua", init, Block),
    code_at_main!(c"init_by_lua_file", "init_by_lua", init, File),
    code_at_main!(c"init_worker_by_lua", "init_worker_by_lua", init_worker, Text),
    code_at_main!(c"init_worker_by_lua_block", "init_worker_by_lua", init_worker, Block),
    code_at_main!(c"init_worker_by_lua_file", "init_worker_by_lua", init_worker, File),
    code_at_location!(c"rewrite_by_lua", "rewrite_by_lua", rewrite, Text, ANYWHERE, Rewrite),
    code_at_location!(c"rewrite_by_lua_block", "rewrite_by_lua", rewrite, Block, ANYWHERE, Rewrite),
    code_at_location!(c"rewrite_by_lua_file", "rewrite_by_lua", rewrite, File, ANYWHERE, Rewrite),
    code_at_location!(c"access_by_lua", "access_by_lua", access, Text, ANYWHERE, Access),
    code_at_location!(c"access_by_lua_block", "access_by_lua", access, Block, ANYWHERE, Access),
    code_at_location!(c"access_by_lua_file", "access_by_lua", access, File, ANYWHERE, Access),
    code_at_location!(c"content_by_lua", "content_by_lua", content, Text, LOC | LIF, Content),
    code_at_location!(
        c"content_by_lua_block",
        "content_by_lua",
        content,
        Block,
        LOC | LIF,
        Content
    ),
    code_at_location!(c"content_by_lua_file", "content_by_lua", content, File, LOC | LIF, Content),
    code_at_location!(
        c"header_filter_by_lua",
        "header_filter_by_lua",
        header_filter,
        Text,
        ANYWHERE,
        HeaderFilter
    ),
    code_at_location!(
        c"header_filter_by_lua_block",
        "header_filter_by_lua",
        header_filter,
        Block,
        ANYWHERE,
        HeaderFilter
    ),
    code_at_location!(
        c"header_filter_by_lua_file",
        "header_filter_by_lua",
        header_filter,
        File,
        ANYWHERE,
        HeaderFilter
    ),
    code_at_location!(
        c"body_filter_by_lua",
        "body_filter_by_lua",
        body_filter,
        Text,
        ANYWHERE,
        BodyFilter
    ),
    code_at_location!(
        c"body_filter_by_lua_block",
        "body_filter_by_lua",
        body_filter,
        Block,
        ANYWHERE,
        BodyFilter
    ),
    code_at_location!(
        c"body_filter_by_lua_file",
        "body_filter_by_lua",
        body_filter,
        File,
        ANYWHERE,
        BodyFilter
    ),
    code_at_location!(c"log_by_lua", "log_by_lua", log, Text, ANYWHERE, Log),
    code_at_location!(c"log_by_lua_block", "log_by_lua", log, Block, ANYWHERE, Log),
    code_at_location!(c"log_by_lua_file", "log_by_lua", log, File, ANYWHERE, Log),
    command(
        c"spacer_project",
        MAIN | SRV | TAKE1,
        crate::gateway::directives::set_project,
        NGX_HTTP_LOC_CONF_OFFSET,
        0,
        ptr::null(),
    ),
    command(
        c"spacer_env",
        MAIN | SRV | TAKE1,
        ngx_conf_set_str_slot,
        NGX_HTTP_LOC_CONF_OFFSET,
        offset_of!(LocConf, env),
        ptr::null(),
    ),
    command(
        c"spacer_triggers",
        MAIN | FLAG,
        ngx_conf_set_flag_slot,
        NGX_HTTP_MAIN_CONF_OFFSET,
        offset_of!(MainConf, triggers),
        ptr::null(),
    ),
    command(
        c"spacer_slow_function",
        MAIN | SRV | LOC | TAKE1,
        ngx_conf_set_msec_slot,
        NGX_HTTP_LOC_CONF_OFFSET,
        offset_of!(LocConf, slow_function),
        ptr::null(),
    ),
    command(
        c"spacer_gateway",
        SRV | TAKE1,
        crate::gateway::directives::set_gateway,
        NGX_HTTP_LOC_CONF_OFFSET,
        0,
        ptr::null(),
    ),
    command(
        c"spacer_function",
        LOC | TAKE1,
        crate::gateway::directives::set_function,
        NGX_HTTP_LOC_CONF_OFFSET,
        0,
        ptr::null(),
    ),
    endpoint(c"spacer_append", crate::gateway::directives::set_append),
    endpoint(c"spacer_trigger", crate::gateway::directives::set_trigger),
    ngx_command_t::empty(),
];

unsafe extern "C" fn set_code_cache(
    cf: *mut ngx_conf_t,
    cmd: *mut ngx_command_t,
    conf: *mut c_void,
) -> *mut c_char {
    // SAFETY: nginx passes the configuration that the offset is for.
    unsafe {
        let returned = ngx_conf_set_flag_slot(cf, cmd, conf);
        if returned.is_null() && (*conf.cast::<LocConf>()).code_cache == 0 {
            conf_log(cf, NGX_LOG_ALERT, "lua_code_cache is off; this will hurt performance");
        }
        returned
    }
}

unsafe extern "C" fn set_code(
    cf: *mut ngx_conf_t,
    cmd: *mut ngx_command_t,
    conf: *mut c_void,
) -> *mut c_char {
    // SAFETY: `post` and `offset` are what the table above says, and nginx passes the configuration they are for.
    unsafe {
        let lua = &*(*cmd).post.cast::<Lua>();
        let slot: *mut *mut Code = conf.byte_add((*cmd).offset).cast();
        if !(*slot).is_null() {
            // nginx adds the directive's name, file and line to what is returned.
            return c"is duplicate".as_ptr().cast_mut();
        }
        match code::read(cf, lua.form, lua.tag) {
            Ok(code) => *slot = code,
            Err(returned) => return returned,
        }
        super::main_conf(cf).phases |= lua.phase as u32;
        if let Phase::Content = lua.phase {
            return crate::conf::directives::set_handler(cf);
        }
        CONF_OK
    }
}

/// Makes the location being read answer with the module's content handler.
///
/// # Safety
/// Called from a directive's handler inside a location.
pub unsafe fn set_handler(cf: *mut ngx_conf_t) -> *mut c_char {
    // SAFETY: inside `location`, `ctx` holds nginx's core configuration for it.
    unsafe {
        let ctx = &*(*cf).ctx.cast::<ngx_http_conf_ctx_t>();
        let core: &mut ngx_http_core_loc_conf_t =
            crate::ngx::module_conf(ctx.loc_conf, &*ptr::addr_of!(ngx_http_core_module));
        core.handler = Some(module::CONTENT_HANDLER);
        super::main_conf(cf).phases |= Phase::Content as u32;
        CONF_OK
    }
}
