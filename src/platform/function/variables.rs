//! What the platform tells nginx of a request, for its log formats: `$spacer_function`, `$spacer_trace_id`,
//! `$spacer_parent_span_id`, `$spacer_span_id`. They have no value, which a log shows as `-`, where no function ran.

use std::ffi::c_int;

use nginx_sys::*;

use super::call_of;
use super::trace::{self, Trace};
use crate::nginx::{self, fault, guard, Request};
use crate::request::ctx;

type Getter = unsafe extern "C" fn(Request, *mut ngx_variable_value_t, usize) -> ngx_int_t;

const VARIABLES: [(&[u8], Getter, usize); 4] = [
    (b"spacer_function", function, 0),
    (b"spacer_trace_id", id, 0),
    (b"spacer_parent_span_id", id, 1),
    (b"spacer_span_id", id, 2),
];

const IDS: [fn(&Trace) -> ngx_str_t; 3] =
    [|trace| trace.id, |trace| trace.parent_span_id, |trace| trace.span_id];

/// Makes the variables known; false when there is no memory for them.
///
/// # Safety
/// Called before the configuration is read.
pub unsafe fn add(cf: *mut ngx_conf_t) -> bool {
    VARIABLES.iter().all(|&(name, getter, which)| {
        let mut name = nginx::str_of(name);
        // SAFETY: nginx copies the name, and gives back the variable or null.
        unsafe {
            let variable =
                ngx_http_add_variable(cf, &mut name, NGX_HTTP_VAR_NOCACHEABLE as ngx_uint_t);
            variable.as_mut().is_some_and(|variable| {
                variable.get_handler = Some(getter);
                variable.data = which;
                true
            })
        }
    })
}

unsafe extern "C" fn function(
    r: Request,
    value: *mut ngx_variable_value_t,
    _data: usize,
) -> ngx_int_t {
    // SAFETY: nginx passes a live request and the value to fill in; the name is copied into the request's pool.
    unsafe {
        let name = guard((*(*r).connection).log, None, || {
            let call = ctx::get(r).and_then(call_of)?;
            fault::point("variable");
            nginx::pool_str((*r).pool, call.function.as_bytes())
        });
        set(&mut *value, name)
    }
}

unsafe extern "C" fn id(r: Request, value: *mut ngx_variable_value_t, which: usize) -> ngx_int_t {
    // SAFETY: as above; `data` is an index of the table, as `VARIABLES` says.
    unsafe {
        let id = guard((*(*r).connection).log, None, || {
            let called = ctx::get(r).filter(|ctx| call_of(ctx).is_some());
            let trace = called.and_then(|ctx| trace::of(ctx));
            trace.map(|trace| IDS[which](&trace)).filter(|id| id.len > 0)
        });
        set(&mut *value, id)
    }
}

fn set(value: &mut ngx_variable_value_t, text: Option<ngx_str_t>) -> ngx_int_t {
    value.set_not_found(text.is_none() as c_int as _);
    if let Some(text) = text {
        value.set_valid(1);
        value.set_no_cacheable(0);
        value.set_len(text.len as _);
        value.data = text.data;
    }
    nginx::OK
}
