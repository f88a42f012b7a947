//! What lives in nginx's memory pools: copies of strings, zeroed structures, and Rust values that are dropped with the
//! pool.

use std::ptr;

use nginx_sys::*;
use ngx::core::Pool;

use super::guard;

/// Copies `s` into the pool, with a NUL after it for the parts of nginx that expect one.
///
/// # Safety
/// `pool` is a live pool.
pub unsafe fn pool_str(pool: *mut ngx_pool_t, s: &[u8]) -> Option<ngx_str_t> {
    // SAFETY: the pool is live, and the copy stays within what was allocated.
    unsafe {
        let data: *mut u8 = Pool::from_ngx_pool(pool).alloc_unaligned(s.len() + 1).cast();
        if data.is_null() {
            return None;
        }
        ptr::copy_nonoverlapping(s.as_ptr(), data, s.len());
        *data.add(s.len()) = 0;
        Some(ngx_str_t { len: s.len(), data })
    }
}

/// The parts one after the other, in the pool.
///
/// # Safety
/// `pool` is a live pool.
pub unsafe fn pool_concat(pool: *mut ngx_pool_t, parts: &[&[u8]]) -> Option<ngx_str_t> {
    // SAFETY: as in `pool_str`.
    unsafe {
        let len = parts.iter().map(|p| p.len()).sum();
        let data: *mut u8 = Pool::from_ngx_pool(pool).alloc_unaligned(len + 1).cast();
        if data.is_null() {
            return None;
        }
        let mut at = data;
        for part in parts {
            ptr::copy_nonoverlapping(part.as_ptr(), at, part.len());
            at = at.add(part.len());
        }
        *at = 0;
        Some(ngx_str_t { len, data })
    }
}

/// A zeroed `T` in the pool.
///
/// # Safety
/// `pool` is a live pool and all-zero bytes are a valid `T`.
pub unsafe fn pool_new<T>(pool: *mut ngx_pool_t) -> *mut T {
    // SAFETY: the caller's promise.
    unsafe { Pool::from_ngx_pool(pool) }.calloc(size_of::<T>()).cast()
}

/// Moves `value` into the pool and drops it when the pool is destroyed. Null when there is no memory, which `Pool::allocate` does not look for
/// before it writes.
///
/// # Safety
/// `pool` is a live pool.
pub unsafe fn pool_box<T>(pool: *mut ngx_pool_t, value: T) -> *mut T {
    unsafe extern "C" fn drop_value<T>(data: *mut std::ffi::c_void) {
        // SAFETY: `data` is the value written below, dropped once, by the pool's clean-up. nginx logs as long as its process lives.
        unsafe { guard((*ngx_cycle).log, (), || ptr::drop_in_place(data.cast::<T>())) }
    }
    // SAFETY: the pool aligns to NGX_ALIGNMENT, which covers the types that this module keeps in pools.
    unsafe {
        let cleanup = ngx_pool_cleanup_add(pool, size_of::<T>());
        if cleanup.is_null() {
            return ptr::null_mut();
        }
        let data: *mut T = (*cleanup).data.cast();
        data.write(value);
        (*cleanup).handler = Some(drop_value::<T>);
        data
    }
}
