//! `log_by_lua*`, when the request is logged.

use nginx_sys::*;

use super::{filter, guard, Phase};
use crate::conf;
use crate::ctx;
use crate::ngx::{self, Request};

pub unsafe extern "C" fn handler(r: Request) -> ngx_int_t {
    // SAFETY: nginx calls this with a live request.
    unsafe {
        let Some(code) = conf::loc_conf(r).log.as_ref() else {
            return ngx::DECLINED;
        };
        guard((*(*r).connection).log, ngx::ERROR, || {
            let Some(ctx) = ctx::get_or_create(r) else { return ngx::ERROR };
            filter::run_code(ctx, Phase::Log, code).map_or_else(|rc| rc, |_| ngx::OK)
        })
    }
}
