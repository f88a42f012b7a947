//! The scheduler: coroutines as tasks, what each waits for, light threads and their ends. It knows neither nginx nor
//! requests nor Lua; what resumes a coroutine, and whom a family of tasks belongs to, is the [`Host`]'s.
//!
//! A *family* is the tasks of one owner, a request say: the *entry* task and the *light threads* that it and they spawn. One
//! task of a family runs at a time, until it waits, spawns, yields or ends; the family is over when its last task has ended.
//!
//! # A task's states
//!
//! ```text
//!             spawn, begin
//!                  |
//!                  v      waits          woken, the wait is over
//!   +---------> Running ----------> Waiting ------------------+
//!   |            | | | \                                      |
//!   |            | | |  \ joins     a child has ended         |
//!   |            | | |   +-------> Joining -----------------> +
//!   |            | | | spawns, yields                         |
//!   |            | | +-----------> Ready (queued) ----------> +
//!   |            | |                                          |
//!   +------------|-|------------------------------------------+
//!                | | ended, the parent may still ask
//!                | +-------------> Zombie ---- joined, killed, the parent ends ---> gone
//!                | ended
//!                +--------------------------------------------------------------> gone
//! ```
//!
//! One that is killed while it runs, by its parent that it has resumed, is dead for everybody at once, and goes when it stops.
//!
//! A task that waits holds a future. Its waker is the task's id: waking one that is gone is nothing. Nothing is borrowed while the host
//! runs a coroutine, while a future is polled and while one is dropped: all of these may come back here. So tasks and families are made of
//! cells in places that stay where they are, and whoever has come back asks whether they are still there.
//!
//! # Order
//!
//! A child runs before its parent goes on. Who spawned or yielded goes to the end of the family's queue, whose first runs when
//! nobody else can. A parent that joins goes on as soon as the child has ended, before the queue.

mod arena;
mod family;
mod list;
mod run;
mod scheduler;
mod tables;
mod task;
mod waker;

pub use arena::Id as TaskId;
pub use family::FamilyId;
pub use run::Outcome;
pub use scheduler::{Join, Kill, Scheduler};
pub use task::{Host, Kind, Resume, Status, Step, Wait};
