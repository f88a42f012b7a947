//! Values by index and generation: an id of a value that is gone finds nothing.

use std::num::NonZeroU32;

/// Where a value is, and the how-manieth it is there.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Id {
    index: u32,
    generation: NonZeroU32,
}

impl Id {
    /// The id as a number that is never 0.
    pub fn to_bits(self) -> u64 {
        u64::from(self.generation.get()) << 32 | u64::from(self.index)
    }

    /// The id of which that is the number.
    pub fn from_bits(bits: u64) -> Option<Id> {
        let generation = NonZeroU32::new((bits >> 32) as u32)?;
        Some(Id { index: bits as u32, generation })
    }
}

struct Slot<T> {
    generation: NonZeroU32,
    value: Option<T>,
}

pub struct Arena<T> {
    slots: Vec<Slot<T>>,
    free: Vec<u32>,
}

impl<T> Arena<T> {
    pub const fn new() -> Self {
        Arena { slots: Vec::new(), free: Vec::new() }
    }

    pub fn insert(&mut self, value: T) -> Id {
        let index = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot { generation: NonZeroU32::MIN, value: None });
            (self.slots.len() - 1) as u32
        });
        let slot = &mut self.slots[index as usize];
        slot.value = Some(value);
        Id { index, generation: slot.generation }
    }

    pub fn get(&self, id: Id) -> Option<&T> {
        let slot = self.slots.get(id.index as usize)?;
        slot.value.as_ref().filter(|_| slot.generation == id.generation)
    }

    pub fn get_mut(&mut self, id: Id) -> Option<&mut T> {
        let slot = self.slots.get_mut(id.index as usize)?;
        slot.value.as_mut().filter(|_| slot.generation == id.generation)
    }

    pub fn remove(&mut self, id: Id) -> Option<T> {
        let slot = self.slots.get_mut(id.index as usize)?;
        if slot.generation != id.generation {
            return None;
        }
        let value = slot.value.take()?;
        self.give_up(id);
        Some(value)
    }

    /// Drops a value where it is.
    pub fn clear(&mut self, id: Id) {
        if self.get(id).is_some() {
            self.slots[id.index as usize].value = None;
            self.give_up(id);
        }
    }

    fn give_up(&mut self, id: Id) {
        // After 2^32 values in one place an old id could find a new value: the place is not used again.
        if let Some(next) = id.generation.checked_add(1) {
            self.slots[id.index as usize].generation = next;
            self.free.push(id.index);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_finds_its_value_until_that_is_removed() {
        let mut arena = Arena::new();
        let a = arena.insert("a");
        let b = arena.insert("b");
        assert_eq!((arena.get(a), arena.get(b)), (Some(&"a"), Some(&"b")));
        assert_eq!(arena.remove(a), Some("a"));
        assert_eq!(arena.get(a), None);
        assert_eq!(arena.remove(a), None);
        assert_eq!(arena.get(b), Some(&"b"));
    }

    #[test]
    fn an_old_id_does_not_find_the_new_value_in_its_place() {
        let mut arena = Arena::new();
        let old = arena.insert(1);
        arena.remove(old);
        let new = arena.insert(2);
        assert_eq!(old.index, new.index);
        assert_eq!((arena.get(old), arena.get(new)), (None, Some(&2)));
    }

    #[test]
    fn a_place_whose_generations_are_used_up_is_given_up() {
        let mut arena = Arena::new();
        let id = arena.insert(1);
        arena.slots[0].generation = NonZeroU32::MAX;
        arena.remove(Id { generation: NonZeroU32::MAX, ..id });
        assert_ne!(arena.insert(2).index, id.index);
    }

    #[test]
    fn a_number_stands_for_an_id_and_0_for_none() {
        let mut arena = Arena::new();
        arena.insert(());
        let id = arena.insert(());
        assert_eq!(Id::from_bits(id.to_bits()), Some(id));
        assert_eq!(Id::from_bits(0), None);
    }
}
