//! Panics on demand, in builds with the feature `panics`: what `t/panics` provokes at each kind of entry. In other builds nothing of it is left.

/// A place where a panic may be provoked, by its name.
#[cfg(not(feature = "panics"))]
#[inline(always)]
pub fn point(_name: &str) {}

#[cfg(feature = "panics")]
pub use armed::point;

#[cfg(feature = "panics")]
mod armed {
    use std::ffi::{c_char, CStr};

    use crate::nginx::cell::Worker;

    struct Armed {
        point: String,
        /// How many times it is passed before that.
        after: u32,
    }

    static ARMED: Worker<Option<Armed>> = Worker::new(None);

    /// Panics where the place is the one that was named. Points that are passed before there is a VM are named in the environment.
    pub fn point(name: &str) {
        // SAFETY: one thread, and no reference is kept.
        let armed = unsafe { &mut *ARMED.get() };
        let named = std::env::var_os("SPACER_PROVOKE").is_some_and(|point| point == name);
        match armed {
            _ if named => {}
            Some(armed) if armed.point == name && armed.after == 0 => {}
            Some(armed) if armed.point == name => {
                armed.after -= 1;
                return;
            }
            _ => return,
        }
        *armed = None;
        panic!("provoked at {name}");
    }

    /// Has the place of that name panic, once, when it has been passed so many times.
    ///
    /// # Safety
    /// Called by Lua, with a string.
    #[no_mangle]
    pub unsafe extern "C" fn spacer_provoke(name: *const c_char, after: u32) {
        // SAFETY: the caller's promise; one thread.
        unsafe {
            let point = CStr::from_ptr(name).to_string_lossy().into_owned();
            *ARMED.get() = Some(Armed { point, after });
        }
    }
}
