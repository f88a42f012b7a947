//! Wakers that hold a task's id rather than the task: they may outlive it, and cost no allocation.

use std::task::{RawWaker, RawWakerVTable, Waker};

use crate::arena::Id;
use crate::task::Host;

const _: () = assert!(size_of::<*const ()>() >= size_of::<u64>(), "an id fits into a pointer");

/// The table of functions for a host's wakers.
struct Table<H>(std::marker::PhantomData<H>);

impl<H: Host> Table<H> {
    const VTABLE: RawWakerVTable = RawWakerVTable::new(
        |data| RawWaker::new(data, &Self::VTABLE),
        wake::<H>,
        wake::<H>,
        |_| {},
    );
}

unsafe fn wake<H: Host>(data: *const ()) {
    if let Some(id) = Id::from_bits(data as u64) {
        H::wake(id);
    }
}

/// A waker for the task.
pub fn waker<H: Host>(id: Id) -> Waker {
    let data = id.to_bits() as usize as *const ();
    // SAFETY: the functions take the pointer for a number; nothing is owned, so nothing is freed.
    unsafe { Waker::from_raw(RawWaker::new(data, &Table::<H>::VTABLE)) }
}
