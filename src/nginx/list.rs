//! nginx's lists of headers and the like, as iterators.

use std::slice;

use nginx_sys::*;

/// The parts of a list, as slices.
///
/// # Safety
/// `list` is a live list of `T`.
pub unsafe fn list_parts<'a, T: 'a>(list: *mut ngx_list_t) -> impl Iterator<Item = &'a mut [T]> {
    // SAFETY: a part's `elts` holds `nelts` elements; parts are linked until null.
    unsafe {
        let mut part: *mut ngx_list_part_t = &mut (*list).part;
        std::iter::from_fn(move || {
            if part.is_null() {
                return None;
            }
            let elements = if (*part).nelts == 0 {
                &mut [][..]
            } else {
                slice::from_raw_parts_mut((*part).elts.cast::<T>(), (*part).nelts)
            };
            part = (*part).next;
            Some(elements)
        })
    }
}

/// All elements of a list.
///
/// # Safety
/// `list` is a live list of `T`.
pub unsafe fn list_items<'a, T: 'a>(list: *mut ngx_list_t) -> impl Iterator<Item = &'a mut T> {
    // SAFETY: the caller's promise.
    unsafe { list_parts::<T>(list) }.flatten()
}
