//! Who we are to nginx: the module's identity, which the lower layers need for its place in a request, its mark on
//! buffers and its configuration. What the module consists of is in `module.rs`.

use std::ptr;

use nginx_sys::*;

extern "C" {
    static mut ngx_http_spacer_module: ngx_module_t;
}

pub fn module() -> &'static ngx_module_t {
    // SAFETY: nginx fills in the indexes when it loads the module; afterwards it is constant.
    unsafe { &*ptr::addr_of!(ngx_http_spacer_module) }
}

pub fn module_ptr() -> *mut ngx_module_t {
    ptr::addr_of_mut!(ngx_http_spacer_module)
}

/// Marks the buffers that are the module's own.
pub fn tag() -> ngx_buf_tag_t {
    module_ptr().cast()
}
