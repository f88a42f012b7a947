//! `log_by_lua*`, when the request is logged.

use nginx_sys::*;

use crate::conf;
use crate::conf::phase::Phase;
use crate::nginx::{self, guard, Request};
use crate::request::{ctx, main_state};

pub unsafe extern "C" fn handler(r: Request) -> ngx_int_t {
    // SAFETY: nginx calls this with a live request.
    unsafe {
        let Some(code) = conf::loc_conf(r).code(Phase::Log) else {
            return nginx::DECLINED;
        };
        guard((*(*r).connection).log, nginx::ERROR, || {
            let Some(ctx) = ctx::get_or_create(r) else { return nginx::ERROR };
            match main_state::run_for(ctx, Phase::Log, code, |_| 0, |_| ()) {
                Ok(()) => nginx::OK,
                Err(rc) => rc,
            }
        })
    }
}
