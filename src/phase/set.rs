//! `set_by_lua*`: Lua that computes a variable's value among the directives of nginx's rewrite module, in their order.
//!
//! That module keeps what its directives do as a program, in an array that is the first field of its configuration, and runs it in its own
//! phases. `set_by_lua` adds to that program what `set` does: push a value, store it in a variable.

use std::cell::Cell;
use std::ffi::{c_char, c_int, c_void, CStr};
use std::ptr;

use mlua::ffi as lua;
use nginx_sys::*;
use ngx::http::HttpModuleConfExt as _;

use crate::conf;
use crate::conf::phase::Phase;
use crate::lua::code::{self, Code, Form};
use crate::lua::string_at;
use crate::nginx::cell::{Held, Worker};
use crate::nginx::command::*;
use crate::nginx::{self, conf_error, guard, log_error, Request, CONF_ERROR, CONF_OK};
use crate::request::{ctx, main_state};

const CONTEXTS: usize = SRV | SIF | LOC | LIF;
const TAKE2_OR_MORE: usize = NGX_CONF_2MORE as usize;

pub const COMMANDS: [ngx_command_t; 3] = [
    command(c"set_by_lua", CONTEXTS | TAKE2_OR_MORE, set, AT_LOC, Form::Text as usize),
    command(c"set_by_lua_block", CONTEXTS | BLOCK1, set, AT_LOC, Form::Block as usize),
    command(c"set_by_lua_file", CONTEXTS | TAKE2_OR_MORE, set, AT_LOC, Form::File as usize),
];

/// A directive: its code, and the arguments that it is given.
struct Directive {
    code: *mut Code,
    arguments: Vec<ngx_http_complex_value_t>,
}

/// An instruction in the program of the rewrite module.
#[repr(C)]
struct Instruction {
    code: ngx_http_script_code_pt,
    directive: *const Directive,
}

/// Where a program that failed goes on: it ends.
static PROGRAM_END: usize = 0;

unsafe fn set(cf: *mut ngx_conf_t, cmd: *mut ngx_command_t, _conf: *mut c_void) -> *mut c_char {
    // SAFETY: nginx has checked the number of arguments; the program is the rewrite module's, which isn't read before the configuration is.
    unsafe {
        let form = Form::from_number((*cmd).offset);
        let arguments = (*(*cf).args).as_slice::<ngx_str_t>().to_vec();
        let (target, more) = match form {
            Form::Block => (arguments[1], &[][..]),
            Form::Text | Form::File => (arguments[1], &arguments[3..]),
        };
        let name = nginx::bytes(target);
        if name.len() < 2 || name[0] != b'$' {
            let name = nginx::NgxStr::from_bytes(name);
            return conf_error(cf, &format!("invalid variable name \"{name}\""));
        }
        let code = match code::read(cf, form, Phase::Set.row().tag(), 2) {
            Ok(code) => code,
            Err(returned) => return returned,
        };
        let mut values = Vec::with_capacity(more.len());
        for &text in more {
            match complex_value(cf, text) {
                Some(value) => values.push(value),
                None => return CONF_ERROR,
            }
        }
        conf::main_conf(cf).phases |= Phase::Set as u32;
        let directive = nginx::pool_box((*cf).pool, Directive { code, arguments: values });
        if directive.is_null() {
            return CONF_ERROR;
        }
        let Some(program) = program(cf) else {
            return conf_error(cf, "set_by_lua needs nginx's ngx_http_rewrite_module");
        };
        match add(cf, program, directive, &name[1..]) {
            Some(()) => CONF_OK,
            None => CONF_ERROR,
        }
    }
}

unsafe fn complex_value(
    cf: *mut ngx_conf_t,
    mut text: ngx_str_t,
) -> Option<ngx_http_complex_value_t> {
    // SAFETY: the caller's `cf` is live.
    unsafe {
        let mut value: ngx_http_complex_value_t = std::mem::zeroed();
        let mut compile: ngx_http_compile_complex_value_t = std::mem::zeroed();
        compile.cf = cf;
        compile.value = &mut text;
        compile.complex_value = &mut value;
        (ngx_http_compile_complex_value(&mut compile) == nginx::OK).then_some(value)
    }
}

/// The program of the level that is being read; `None` without the rewrite module.
unsafe fn program<'a>(cf: *mut ngx_conf_t) -> Option<&'a mut *mut ngx_array_t> {
    // SAFETY: the cycle's modules are a list that ends in null; the rewrite module's configuration begins with the array's pointer.
    unsafe {
        let mut modules = (*(*cf).cycle).modules;
        while let Some(other) = (*modules).as_ref() {
            if CStr::from_ptr(other.name) == c"ngx_http_rewrite_module" {
                return (*cf)
                    .http_location_conf_unchecked::<*mut ngx_array_t>(other)
                    .map(|mut program| program.as_mut());
            }
            modules = modules.add(1);
        }
        None
    }
}

unsafe fn instruction<'a, T>(
    cf: *mut ngx_conf_t,
    program: &mut *mut ngx_array_t,
) -> Option<&'a mut T> {
    // SAFETY: the caller's `cf` is live; nginx gives room for as many bytes.
    unsafe {
        let code: *mut T = ngx_http_script_start_code((*cf).pool, program, size_of::<T>()).cast();
        code.as_mut()
    }
}

unsafe fn add(
    cf: *mut ngx_conf_t,
    program: &mut *mut ngx_array_t,
    directive: *const Directive,
    name: &[u8],
) -> Option<()> {
    // SAFETY: the caller's `cf` is live; each instruction is written whole.
    unsafe {
        let mut name = nginx::str_of(name);
        let flags = NGX_HTTP_VAR_CHANGEABLE | NGX_HTTP_VAR_WEAK;
        let variable = ngx_http_add_variable(cf, &mut name, flags as ngx_uint_t).as_mut()?;
        let index = ngx_http_get_variable_index(cf, &mut name);
        if index == nginx::ERROR {
            return None;
        }
        if variable.get_handler.is_none() {
            variable.get_handler = Some(not_set);
            variable.data = index as usize;
        }
        *instruction(cf, program)? = Instruction { code: Some(run), directive };
        if variable.set_handler.is_some() {
            let code: &mut ngx_http_script_var_handler_code_t = instruction(cf, program)?;
            code.code = Some(ngx_http_script_var_set_handler_code);
            code.handler = variable.set_handler;
            code.data = variable.data;
        } else {
            let code: &mut ngx_http_script_var_code_t = instruction(cf, program)?;
            code.code = Some(ngx_http_script_set_var_code);
            code.index = index as usize;
        }
        Some(())
    }
}

/// The variable is read where no directive has set it: it is empty.
unsafe extern "C" fn not_set(
    r: Request,
    value: *mut ngx_http_variable_value_t,
    index: usize,
) -> ngx_int_t {
    // SAFETY: nginx passes a live request and the value to fill in; `index` is the variable's.
    unsafe {
        let variables = nginx::core_main_conf(&*r).variables.as_slice::<ngx_http_variable_t>();
        log_error!(
            NGX_LOG_WARN,
            (*(*r).connection).log,
            "using uninitialized \"{}\" variable",
            nginx::text(variables[index].name)
        );
        *value = std::mem::zeroed();
        (*value).set_valid(1);
        nginx::OK
    }
}

/// The arguments of the directive whose code runs.
static ARGUMENTS: Worker<Cell<(*const ngx_str_t, usize)>> =
    Worker::new(Cell::new((ptr::null(), 0)));

/// The directive's argument of that number, from 0; `None` where there is none, or no `set_by_lua*` runs.
pub fn argument<'a>(index: usize) -> Option<&'a [u8]> {
    // SAFETY: one thread; the arguments live as long as their directive's code runs.
    unsafe {
        let (arguments, n) = (*ARGUMENTS.get()).get();
        (index < n).then(|| nginx::bytes(*arguments.add(index)))
    }
}

/// The instruction: runs the code, and pushes its value.
unsafe extern "C" fn run(e: *mut ngx_http_script_engine_t) {
    // SAFETY: nginx runs the program with its instruction pointer at this instruction; its stack has room, as for `set`.
    unsafe {
        let instruction = &*(*e).ip.cast::<Instruction>();
        let r = (*e).request;
        (*e).ip = (*e).ip.add(size_of::<Instruction>());
        let log = (*(*r).connection).log;
        let Some(value) = guard(log, None, || value_of(r, &*instruction.directive)) else {
            (*e).ip = ptr::addr_of!(PROGRAM_END).cast_mut().cast();
            (*e).status = NGX_HTTP_INTERNAL_SERVER_ERROR as ngx_int_t;
            return;
        };
        *(*e).sp = std::mem::zeroed();
        (*(*e).sp).set_valid(1);
        (*(*e).sp).set_len(value.len as _);
        (*(*e).sp).data = value.data;
        (*e).sp = (*e).sp.add(1);
    }
}

unsafe fn value_of(r: Request, directive: &Directive) -> Option<ngx_str_t> {
    // SAFETY: the caller's request is live, and the directive's values belong to its configuration.
    unsafe {
        let ctx = ctx::get_or_create(r)?;
        let mut arguments = Vec::with_capacity(directive.arguments.len());
        for value in &directive.arguments {
            let mut text = nginx::NULL_STR;
            if ngx_http_complex_value(r, ptr::from_ref(value).cast_mut(), &mut text) != nginx::OK {
                return None;
            }
            arguments.push(text);
        }
        let _outer = Held::new(&*ARGUMENTS.get(), (arguments.as_ptr(), arguments.len()));
        let push = |l| {
            for argument in &arguments {
                lua::lua_pushlstring(l, argument.data.cast(), argument.len);
            }
            arguments.len() as c_int
        };
        let read = |l| nginx::pool_str((*r).pool, string_at(l, -1));
        main_state::run_for(ctx, Phase::Set, &*directive.code, push, read).ok()?
    }
}
