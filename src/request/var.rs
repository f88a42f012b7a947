//! Assigning nginx's variables.

use nginx_sys::*;

use crate::nginx::{self, Request};

/// Why a variable isn't assigned.
pub enum Refused {
    NotChangeable,
    NotAssignable,
    Undefined,
    NoMemory,
}

/// Assigns a variable of a request.
///
/// # Safety
/// `r` is live.
pub unsafe fn assign(r: Request, name: &[u8], value: Option<&[u8]>) -> Result<(), Refused> {
    // SAFETY: the variables' hash belongs to the configuration, and the value is copied into the request's pool.
    unsafe {
        let lower = name.to_ascii_lowercase();
        let core = nginx::core_main_conf(&*r);
        let found = ngx_hash_find(
            &mut core.variables_hash,
            nginx::hash_key(&lower),
            lower.as_ptr().cast_mut(),
            lower.len(),
        )
        .cast::<ngx_http_variable_t>();
        let variable = found.as_ref().ok_or(Refused::Undefined)?;
        if variable.flags & NGX_HTTP_VAR_CHANGEABLE as ngx_uint_t == 0 {
            return Err(Refused::NotChangeable);
        }
        let mut new: ngx_http_variable_value_t = std::mem::zeroed();
        match value {
            Some(value) => {
                let copy = nginx::pool_str((*r).pool, value).ok_or(Refused::NoMemory)?;
                new.set_valid(1);
                new.data = copy.data;
                new.set_len(copy.len as _);
            }
            None => new.set_not_found(1),
        }
        if let Some(set) = variable.set_handler {
            let value: *mut ngx_http_variable_value_t = nginx::pool_new((*r).pool);
            if value.is_null() {
                return Err(Refused::NoMemory);
            }
            new.set_valid(1);
            new.set_not_found(0);
            *value = new;
            set(r, value, variable.data);
            return Ok(());
        }
        if variable.flags & NGX_HTTP_VAR_INDEXED as ngx_uint_t != 0 {
            if value.is_none() {
                new.set_valid(0);
            }
            *(*r).variables.add(variable.index) = new;
            return Ok(());
        }
        Err(Refused::NotAssignable)
    }
}
