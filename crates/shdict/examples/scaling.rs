//! How many reads and writes processes make at once in a second of processor time, of what one alone makes. (Whatever else the machine does
//! takes from the time that passes, not from this.)
//!
//!     cargo run --release -p shdict --example scaling

#[path = "../tests/common/mod.rs"]
mod common;

use std::sync::atomic::{AtomicU64, Ordering::*};
use std::time::Duration;

use common::{new, shared_memory, Place};
use shdict::{Mode, Value};

const KEYS: u64 = 100;
const SPAN: Duration = Duration::from_millis(500);

#[derive(Clone, Copy)]
enum Call {
    Get,
    Set,
    Incr,
}

/// The processor time that this process has had.
fn cpu_time() -> Duration {
    // SAFETY: the structure is the call's to fill.
    unsafe {
        let mut time: libc::timespec = std::mem::zeroed();
        libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &mut time);
        Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
    }
}

/// Calls a second of each of so many processes.
fn measure(place: Place, processes: usize, call: Call) -> Vec<f64> {
    let counts = shared_memory(4096).cast::<AtomicU64>();
    // SAFETY: a page of zeros that stays.
    let counts = unsafe { std::slice::from_raw_parts(counts, processes) };
    let children: Vec<_> = (0..processes)
        .map(|index| {
            // SAFETY: one thread only.
            match unsafe { libc::fork() } {
                0 => {
                    counts[index].store(work(place, index as i32 + 2, call), Relaxed);
                    // SAFETY: ends the child.
                    unsafe { libc::_exit(0) }
                }
                child => child,
            }
        })
        .collect();
    for child in children {
        // SAFETY: our own child.
        unsafe { libc::waitpid(child, std::ptr::null_mut(), 0) };
    }
    counts.iter().map(|count| count.load(Relaxed) as f64 / SPAN.as_secs_f64()).collect()
}

fn work(place: Place, me: i32, call: Call) -> u64 {
    let dict = place.view(me);
    let (mut count, mut text) = (0, Vec::new());
    while cpu_time() < SPAN {
        for _ in 0..1000 {
            count += 1;
            let key = [b"key", &(count % KEYS).to_ne_bytes()[..]].concat();
            match call {
                Call::Get => assert!(dict.get(&key, 1, &mut text).is_some()),
                Call::Set => {
                    let value = Value::Number(count as f64);
                    dict.store(&new(Mode::Set, &key, value), 1).result.unwrap();
                }
                Call::Incr => drop(dict.incr(b"count", 1.0, Some((0.0, 0)), 1)),
            }
        }
    }
    count
}

fn main() {
    let place = Place::new(1 << 20);
    let dict = place.view(1);
    for n in 0..KEYS {
        let key = [b"key", &n.to_ne_bytes()[..]].concat();
        dict.store(&new(Mode::Set, &key, Value::String(&[1; 100])), 1).result.unwrap();
    }
    for (name, call) in [("get", Call::Get), ("set", Call::Set), ("incr", Call::Incr)] {
        let mut ratios: Vec<f64> = Vec::new();
        let mut alone = 0.0;
        for _ in 0..5 {
            alone = measure(place, 1, call)[0];
            let both = measure(place, 2, call);
            ratios.push(both.iter().copied().fold(f64::MAX, f64::min) / alone);
        }
        ratios.sort_by(f64::total_cmp);
        println!(
            "{name}: {:.1} million a second alone; of two at once the slower has {:.2} of that ({:.2} to {:.2})",
            alone / 1e6,
            ratios[2],
            ratios[0],
            ratios[4]
        );
    }
}
