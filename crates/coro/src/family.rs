//! What the tasks of one owner have in common.

use std::cell::Cell;

use crate::arena::Id;
use crate::task::{Host, Members, Places};

/// The tasks of one owner.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FamilyId(pub(crate) Id);

pub(crate) struct Family<H: Host> {
    pub owner: Cell<Option<H::Owner>>,
    pub entry: Cell<Option<Id>>,
    /// All others, zombies too.
    pub lights: Members,
    /// How many tasks are there that may still run.
    pub live: Cell<usize>,
    /// Who can run, in order.
    pub queue: Places,
    pub of_users: ZombiesOfUsers,
}

/// Zombies whose parents are the user's coroutines, of whose ends nobody tells: now and then they are looked through for those whose
/// parents have died.
#[derive(Default)]
pub(crate) struct ZombiesOfUsers {
    pub list: Places,
    pub count: Cell<usize>,
    /// How many there may be, beside one, until they are looked through.
    pub most: Cell<usize>,
}

impl<H: Host> Default for Family<H> {
    fn default() -> Self {
        Family {
            owner: Cell::new(None),
            entry: Cell::new(None),
            lights: Members::default(),
            live: Cell::new(0),
            queue: Places::default(),
            of_users: ZombiesOfUsers::default(),
        }
    }
}

impl<H: Host> Family<H> {
    /// Makes another of it, with its entry task; it was [`clear`](Self::clear)ed, or its entry task was always alone.
    #[inline]
    pub fn begin(&self, owner: H::Owner, entry: Id) {
        self.owner.set(Some(owner));
        self.entry.set(Some(entry));
        self.live.set(1);
    }

    /// Forgets its tasks.
    pub fn clear(&self) {
        self.lights.clear();
        self.queue.clear();
        self.of_users.list.clear();
        self.of_users.count.set(0);
        self.of_users.most.set(0);
    }

    pub fn owner(&self) -> H::Owner {
        self.owner.get().expect("a family has an owner")
    }
}
