//! Processes that are killed at whatever instruction they are at.

mod common;

use std::sync::atomic::Ordering::*;
use std::time::{Duration, Instant};

use common::{new, Place, Short};
use shdict::{End, Item, Mode, Store, Value};

/// Numbers that look random.
struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % n
    }
}

/// Changes the dictionary until the process is killed.
fn work(place: Place, me: i32, seed: u64) -> ! {
    let dict = place.view(me);
    let mut random = Random(seed | 1);
    let bytes = vec![7; 9000];
    loop {
        let key = [random.below(60) as u8];
        let text = &bytes[..random.below(if key[0] == 0 { 9000 } else { 300 }) as usize];
        let end = if random.below(2) == 0 { End::Left } else { End::Right };
        match random.below(12) {
            0..5 => _ = dict.store(&new(Mode::Set, &key, Value::String(text)), 1),
            5 => {
                let _ =
                    dict.store(&Store { ttl: 1, ..new(Mode::Set, &key, Value::Boolean(true)) }, 1);
            }
            6 => dict.delete(&key),
            7 => _ = dict.push(end, &key, Item::String(text), 1),
            8 => _ = dict.pop(end, &key, 1, &mut Vec::new()),
            9 => _ = dict.incr(&key, 1.0, Some((0.0, 0)), 1),
            10 => _ = dict.get(&key, 1, &mut Vec::new()),
            _ => _ = dict.flush_expired(3, 2),
        }
    }
}

/// A child that works; its number is its process'.
fn start(place: Place, seed: u64) -> i32 {
    // SAFETY: the child calls nothing that another thread of the parent may have locked but the allocator, which glibc makes safe to use.
    match unsafe { libc::fork() } {
        -1 => panic!("fork: {}", std::io::Error::last_os_error()),
        // SAFETY: no pointers.
        0 => work(place, unsafe { libc::getpid() }, seed),
        child => child,
    }
}

fn kill(child: i32) {
    // SAFETY: the child is ours and not yet waited for.
    unsafe {
        libc::kill(child, libc::SIGKILL);
        assert_eq!(libc::waitpid(child, std::ptr::null_mut(), 0), child);
    }
}

#[test]
fn what_is_left_behind_is_whole_or_emptied() {
    let place = Place::new(40 << 10);
    let dict = place.view(1);
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let (mut died_inside, mut whole, mut rounds) = (0, 0, 0);
    let begun = Instant::now();
    while (died_inside < 100 || whole < 20) && begun.elapsed() < Duration::from_secs(60) {
        rounds += 1;
        let children = [start(place, random.below(u64::MAX)), start(place, random.below(u64::MAX))];
        std::thread::sleep(Duration::from_micros(500 + random.below(3000)));
        for child in children {
            kill(child);
            // As nginx's master does for a worker that is gone.
            let holds = place.holder().compare_exchange(child, 0, SeqCst, SeqCst).is_ok();
            let before = dict.lock().emptied.get();
            if child == children[1] {
                let entries =
                    dict.check().unwrap_or_else(|wrong| panic!("round {rounds}: {wrong}"));
                let emptied = dict.lock().emptied.get() - before;
                died_inside += emptied;
                whole += (emptied == 0 && holds) as usize;
                assert!(emptied == 0 || entries == 0);
                // It is as good as new, also for readers.
                dict.set(b"after", b"it");
                assert_eq!(dict.text(b"after"), Some(b"it".to_vec()));
            }
        }
    }
    assert!(
        died_inside >= 100 && whole >= 20,
        "{rounds} rounds: {died_inside} inside, {whole} whole"
    );
}

#[test]
fn a_reader_gets_on_when_the_writer_of_its_bucket_is_gone() {
    let place = Place::new(40 << 10);
    let dict = place.view(1);
    dict.set(b"k", b"v");
    for seed in 1..2000 {
        let child = start(place, seed);
        std::thread::sleep(Duration::from_micros(500));
        kill(child);
        let _ = place.holder().compare_exchange(child, 0, SeqCst, SeqCst);
        // Every key is read: the reader of a bucket that is still marked as being changed takes the lock, and so finds the dictionary as it is.
        let before = dict.lock().emptied.get();
        for key in 0..60 {
            let _ = dict.get(&[key], 1, &mut Vec::new());
        }
        if dict.lock().emptied.get() > before {
            return assert_eq!(dict.check(), Ok(0));
        }
        dict.check().unwrap();
    }
    panic!("no reader met a bucket that was left behind");
}
