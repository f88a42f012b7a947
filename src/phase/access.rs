//! `access_by_lua*`, at the end of nginx's access phase; of the main request only.

use nginx_sys::*;

use super::rewrite::run_phase;
use super::{guard, Phase};
use crate::conf;
use crate::ngx::{self, Request};

pub unsafe extern "C" fn handler(r: Request) -> ngx_int_t {
    // SAFETY: nginx calls this with a live request.
    unsafe {
        if conf::loc_conf(r).access.is_null() {
            return ngx::DECLINED;
        }
        guard((*(*r).connection).log, NGX_HTTP_INTERNAL_SERVER_ERROR as ngx_int_t, || {
            run_phase(r, Phase::Access, ngx::OK)
        })
    }
}
