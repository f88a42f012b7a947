//! What the layers above keep for a request, each in a slot of its own type that the context doesn't know.

use std::any::Any;

/// What is kept with a request's context. Its memory is kept for the next request.
pub trait Slot: Any + Default {
    /// The request is gone: drops what is its own, keeps what is allocated.
    fn recycle(&mut self);
}

/// A slot whose type is forgotten.
trait Erased: Any {
    fn recycle(&mut self);
    fn as_any(&mut self) -> &mut dyn Any;
}

impl<T: Slot> Erased for T {
    fn recycle(&mut self) {
        Slot::recycle(self);
    }

    fn as_any(&mut self) -> &mut dyn Any {
        self
    }
}

struct Entry {
    used: bool,
    value: Box<dyn Erased>,
}

/// The slots of a request. There are so few that they are searched one after the other.
#[derive(Default)]
pub struct Slots(Vec<Entry>);

impl Slots {
    /// The slot of type `T`, if the request has used it.
    pub fn find<T: Slot>(&mut self) -> Option<&mut T> {
        let mut used = self.0.iter_mut().filter(|entry| entry.used);
        used.find_map(|entry| entry.value.as_any().downcast_mut())
    }

    /// The slot of type `T`, empty at first.
    pub fn get<T: Slot>(&mut self) -> &mut T {
        let place = self.0.iter_mut().position(|entry| entry.value.as_any().is::<T>());
        let place = place.unwrap_or_else(|| {
            self.0.push(Entry { used: false, value: Box::new(T::default()) });
            self.0.len() - 1
        });
        let entry = &mut self.0[place];
        entry.used = true;
        let slot = entry.value.as_any().downcast_mut();
        slot.expect("the entry at that place is of this type")
    }

    pub fn is_used(&self) -> bool {
        self.0.iter().any(|entry| entry.used)
    }

    pub fn recycle(&mut self) {
        for entry in self.0.iter_mut().filter(|entry| entry.used) {
            entry.value.recycle();
            entry.used = false;
        }
    }
}
