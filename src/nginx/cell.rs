//! A cell for what only the worker's single thread touches.

use std::cell::UnsafeCell;

pub struct Worker<T>(UnsafeCell<T>);

// SAFETY: nginx runs the module on one thread of each process; background threads never touch these cells.
unsafe impl<T> Sync for Worker<T> {}

impl<T> Worker<T> {
    pub const fn new(value: T) -> Self {
        Worker(UnsafeCell::new(value))
    }

    pub fn get(&self) -> *mut T {
        self.0.get()
    }
}
