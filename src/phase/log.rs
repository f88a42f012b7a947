//! `log_by_lua*`, when the request is logged.

use nginx_sys::*;

use super::filter;
use crate::conf;
use crate::conf::phase::Phase;
use crate::nginx::guard;
use crate::nginx::{self, Request};
use crate::request::ctx;

pub unsafe extern "C" fn handler(r: Request) -> ngx_int_t {
    // SAFETY: nginx calls this with a live request.
    unsafe {
        let Some(code) = conf::loc_conf(r).code(Phase::Log) else {
            return nginx::DECLINED;
        };
        guard((*(*r).connection).log, nginx::ERROR, || {
            let Some(ctx) = ctx::get_or_create(r) else { return nginx::ERROR };
            filter::run_code(ctx, Phase::Log, code).map_or_else(|rc| rc, |_| nginx::OK)
        })
    }
}
