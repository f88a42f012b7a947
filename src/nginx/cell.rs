//! A cell for what only the worker's single thread touches, and cells that are set for a time.

use std::cell::{Cell, UnsafeCell};

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

/// Sets a cell, and sets it back when it is dropped, also by a panic.
pub struct Held<'a, T: Copy>(&'a Cell<T>, T);

impl<'a, T: Copy> Held<'a, T> {
    pub fn new(cell: &'a Cell<T>, value: T) -> Self {
        Held(cell, cell.replace(value))
    }
}

impl<T: Copy> Drop for Held<'_, T> {
    fn drop(&mut self) {
        self.0.set(self.1);
    }
}
