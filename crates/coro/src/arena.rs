//! Places that stay where they are, by index and generation: an id of what is gone finds nothing.
//!
//! What is in a place is made of cells, so that it can be looked at while anything else happens, and is used again by the
//! next that comes. Who found something asks [`Found::is_there`] after whatever may have removed it.

use std::cell::{Cell, OnceCell, UnsafeCell};
use std::mem::MaybeUninit;
use std::num::NonZeroU32;
use std::ops::Deref;

/// Where something is, and the how-manieth it is there.
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

struct Place<T> {
    /// Of what is there or, in a free place, of what comes next; 0 where nothing more comes.
    generation: Cell<u32>,
    next_free: Cell<u32>,
    value: T,
}

/// How many places the first block has; each has twice as many as the one before.
const FIRST: u32 = 64;
const BLOCKS: usize = (u32::BITS - FIRST.ilog2()) as usize;
const NONE: u32 = u32::MAX;

/// Memory for places. What was never used isn't written, so that it costs no memory but that of addresses.
type Block<T> = Box<[UnsafeCell<MaybeUninit<Place<T>>>]>;

pub struct Arena<T> {
    blocks: [OnceCell<Block<T>>; BLOCKS],
    /// The places below that have been made.
    used: Cell<u32>,
    free: Cell<u32>,
}

/// What an id has found.
pub struct Found<'a, T> {
    place: &'a Place<T>,
    id: Id,
}

impl<T> Clone for Found<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Found<'_, T> {}

impl<T> Deref for Found<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        &self.place.value
    }
}

impl<T> Found<'_, T> {
    #[inline]
    pub fn id(&self) -> Id {
        self.id
    }

    /// Whether it has not been removed since.
    #[inline]
    pub fn is_there(&self) -> bool {
        self.place.generation.get() == self.id.generation.get()
    }
}

impl<T: Default> Arena<T> {
    pub const fn new() -> Self {
        Arena {
            blocks: [const { OnceCell::new() }; BLOCKS],
            used: Cell::new(0),
            free: Cell::new(NONE),
        }
    }

    /// A place for something new. What was there before is still in it.
    #[inline]
    pub fn insert(&self) -> Found<'_, T> {
        let free = self.free.get();
        let index = if free == NONE { self.grow() } else { free };
        let place = self.place(index).expect("a free place is in a block");
        if free != NONE {
            self.free.set(place.next_free.get());
        }
        let generation = NonZeroU32::new(place.generation.get()).expect("a free place is usable");
        Found { place, id: Id { index, generation } }
    }

    #[cold]
    fn grow(&self) -> u32 {
        let index = self.used.get();
        assert!(index < NONE - FIRST, "there are places left");
        let (block, offset) = position(index);
        let places = self.blocks[block].get_or_init(|| {
            let places = Box::<[UnsafeCell<MaybeUninit<Place<T>>>]>::new_uninit_slice(
                (FIRST as usize) << block,
            );
            // SAFETY: a place that isn't made may hold anything.
            unsafe { places.assume_init() }
        });
        let new =
            Place { generation: Cell::new(1), next_free: Cell::new(NONE), value: T::default() };
        // SAFETY: nobody has a reference to a place that isn't made.
        unsafe { (*places[offset].get()).write(new) };
        self.used.set(index + 1);
        index
    }

    #[inline]
    fn place(&self, index: u32) -> Option<&Place<T>> {
        if index >= self.used.get() {
            return None;
        }
        let (block, offset) = position(index);
        let place = self.blocks.get(block)?.get()?.get(offset)?;
        // SAFETY: it was made, and is only shared since.
        Some(unsafe { (*place.get()).assume_init_ref() })
    }

    #[inline]
    pub fn get(&self, id: Id) -> Option<Found<'_, T>> {
        let found = Found { place: self.place(id.index)?, id };
        found.is_there().then_some(found)
    }

    /// Nothing finds it any more, and its place is used again. What the cells own is the caller's to take out before.
    #[inline]
    pub fn remove(&self, found: Found<'_, T>) {
        if !found.is_there() {
            return;
        }
        // After 2^32 of them in one place an old id could find a new one: the place is not used again.
        let next = found.id.generation.get().wrapping_add(1);
        found.place.generation.set(next);
        if next != 0 {
            found.place.next_free.set(self.free.get());
            self.free.set(found.id.index);
        }
    }
}

impl<T> Drop for Arena<T> {
    fn drop(&mut self) {
        for index in 0..self.used.get() {
            let (block, offset) = position(index);
            if let Some(places) = self.blocks[block].get_mut() {
                // SAFETY: the places below `used` were made, and are dropped once.
                unsafe { places[offset].get_mut().assume_init_drop() };
            }
        }
    }
}

/// The block in which a place is, and where there.
#[inline]
fn position(index: u32) -> (usize, usize) {
    let Some(n) = index.checked_add(FIRST) else { return (BLOCKS, 0) };
    let block = n.ilog2() - FIRST.ilog2();
    (block as usize, (n - (FIRST << block)) as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(arena: &Arena<Cell<i32>>, value: i32) -> Id {
        let new = arena.insert();
        new.set(value);
        new.id()
    }

    fn at(arena: &Arena<Cell<i32>>, id: Id) -> Option<i32> {
        arena.get(id).map(|found| found.get())
    }

    #[test]
    fn an_id_finds_its_value_until_that_is_removed() {
        let arena = Arena::new();
        let (a, b) = (put(&arena, 1), put(&arena, 2));
        assert_eq!((at(&arena, a), at(&arena, b)), (Some(1), Some(2)));
        let found = arena.get(a).unwrap();
        assert!(found.is_there());
        arena.remove(found);
        assert!(!found.is_there());
        assert_eq!((at(&arena, a), at(&arena, b)), (None, Some(2)));
    }

    #[test]
    fn removing_twice_frees_a_place_once() {
        let arena = Arena::new();
        let id = put(&arena, 1);
        let found = arena.get(id).unwrap();
        arena.remove(found);
        arena.remove(found);
        assert_ne!(put(&arena, 2).index, put(&arena, 3).index);
    }

    #[test]
    fn an_old_id_does_not_find_the_new_value_in_its_place() {
        let arena = Arena::new();
        let old = put(&arena, 1);
        arena.remove(arena.get(old).unwrap());
        let new = put(&arena, 2);
        assert_eq!(old.index, new.index);
        assert_eq!((at(&arena, old), at(&arena, new)), (None, Some(2)));
    }

    #[test]
    fn values_are_dropped_with_the_arena() {
        let value = std::rc::Rc::new(());
        let arena: Arena<Cell<Option<std::rc::Rc<()>>>> = Arena::new();
        for _ in 0..100 {
            arena.insert().set(Some(value.clone()));
        }
        assert_eq!(std::rc::Rc::strong_count(&value), 101);
        drop(arena);
        assert_eq!(std::rc::Rc::strong_count(&value), 1);
    }

    #[test]
    fn values_stay_where_they_are_while_more_come() {
        let arena = Arena::new();
        let ids: Vec<Id> = (0..1000).map(|value| put(&arena, value)).collect();
        let first = arena.get(ids[0]).unwrap();
        for (value, &id) in ids.iter().enumerate() {
            assert_eq!(at(&arena, id), Some(value as i32));
        }
        assert_eq!(first.get(), 0);
    }

    #[test]
    fn a_place_whose_generations_are_used_up_is_given_up() {
        let arena = Arena::new();
        let id = put(&arena, 1);
        arena.place(id.index).unwrap().generation.set(u32::MAX);
        let last = arena.get(Id { generation: NonZeroU32::MAX, ..id }).unwrap();
        arena.remove(last);
        assert!(!last.is_there());
        assert_ne!(put(&arena, 2).index, id.index);
    }

    #[test]
    fn an_id_of_no_place_finds_nothing() {
        let arena = Arena::<Cell<i32>>::new();
        for index in [0, FIRST, u32::MAX - FIRST, u32::MAX] {
            assert!(arena.get(Id { index, generation: NonZeroU32::MIN }).is_none());
        }
    }

    #[test]
    fn a_number_stands_for_an_id_and_0_for_none() {
        let arena = Arena::new();
        put(&arena, 1);
        let id = put(&arena, 2);
        assert_eq!(Id::from_bits(id.to_bits()), Some(id));
        assert_eq!(Id::from_bits(0), None);
    }
}
