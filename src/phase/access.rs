//! `access_by_lua*`, at the end of nginx's access phase; of the main request only.

use nginx_sys::*;

use super::rewrite::run_phase;
use crate::conf;
use crate::conf::phase::Phase;
use crate::nginx::guard;
use crate::nginx::{self, Request};

pub unsafe extern "C" fn handler(r: Request) -> ngx_int_t {
    // SAFETY: nginx calls this with a live request.
    unsafe {
        if conf::loc_conf(r).code(Phase::Access).is_none() {
            return nginx::DECLINED;
        }
        guard((*(*r).connection).log, NGX_HTTP_INTERNAL_SERVER_ERROR as ngx_int_t, || {
            run_phase(r, Phase::Access, nginx::OK)
        })
    }
}
