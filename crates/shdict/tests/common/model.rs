//! Calls of a dictionary, made on it and on a plain map that forgets nothing. A dictionary with enough memory says the same as the map; one with too
//! little says the same or nothing.

use std::collections::HashMap;

use shdict::{Dict, End, Item, Kind, Mode, NotAList, Popped, PushError, Store, StoreError, Value};

use super::{Owned, Place, Short};

#[derive(Clone, Debug)]
pub enum Call {
    Store { mode: Mode, safe: bool, key: u8, value: Content, ttl: u64, flags: u32 },
    Delete(u8),
    Get(u8),
    Incr { key: u8, by: i8, init: Option<(i8, u64)> },
    Push(bool, u8, Content),
    Pop(bool, u8),
    Len(u8),
    Ttl(u8),
    Expire(u8, u64),
    FlushAll,
    FlushExpired(usize),
    Keys,
    Pass(u64),
}

#[derive(Clone, Debug, PartialEq)]
pub enum Content {
    Boolean(bool),
    Number(i32),
    String(Vec<u8>),
}

impl Content {
    fn value(&self) -> Value<'_> {
        match self {
            Content::Boolean(on) => Value::Boolean(*on),
            Content::Number(n) => Value::Number(*n as f64),
            Content::String(text) => Value::String(text),
        }
    }
}

/// A key: how long it is depends on it as well.
fn key(n: u8) -> Vec<u8> {
    vec![n; 1 + n as usize % 19]
}

#[derive(Clone, Debug)]
enum Kept {
    Plain(Content, u32),
    List(Vec<Content>),
}

/// What should be there, with when it expires.
type Model = HashMap<u8, (Kept, u64)>;

fn live(model: &Model, key: u8, now: u64) -> Option<&Kept> {
    model.get(&key).filter(|(_, expires)| *expires == 0 || *expires > now).map(|(kept, _)| kept)
}

fn end(left: bool) -> End {
    if left {
        End::Left
    } else {
        End::Right
    }
}

/// What the dictionary has under a key, seen through everything that reads it.
fn content(dict: &Dict<Owned>, key: &[u8], now: u64) -> Option<(Content, u32)> {
    let mut text = Vec::new();
    let got = dict.get(key, now, &mut text)?;
    let content = match got.kind {
        Kind::Boolean => Content::Boolean(got.number != 0.0),
        Kind::Number => Content::Number(got.number as i32),
        _ => Content::String(text),
    };
    (!got.expired).then_some((content, got.flags))
}

/// As [`run_in`], in so many bytes; calls enough to fill too little memory do so.
pub fn run(len: usize, calls: &[Call], enough: bool) {
    let missing = run_in(Place::new(len), calls, enough);
    assert!(enough || missing > 0 || calls.len() < 500, "memory was never short");
}

/// Makes the calls on an empty dictionary. Where memory is enough everything must be as in the model; else the model forgets what it sees is gone: how
/// many entries those were.
pub fn run_in(place: Place, calls: &[Call], enough: bool) -> usize {
    let dict = place.view(1);
    let mut model = Model::new();
    let mut now = 1000;
    let mut missing = 0;
    for call in calls {
        if !enough {
            model.retain(|&n, _| {
                let there = dict.ttl(&key(n), now).is_some();
                missing += !there as usize;
                there
            });
        }
        match call.clone() {
            Call::Store { mode, safe, key: n, value, ttl, flags } => {
                let was = live(&model, n, now).is_some();
                let name = key(n);
                let store = Store { mode, safe, key: &name, value: value.value(), ttl, flags };
                let stored = dict.store(&store, now);
                let expected = match mode {
                    Mode::Add if was => Err(StoreError::Exists),
                    Mode::Replace if !was => Err(StoreError::NotFound),
                    _ => Ok(()),
                };
                assert!(!(stored.forcible && (enough || safe)));
                if stored.result == Err(StoreError::NoMemory) && !enough {
                    assert_eq!(expected, Ok(()));
                    if !(safe && was) {
                        model.remove(&n);
                    }
                } else {
                    assert_eq!(stored.result, expected);
                    if expected.is_ok() {
                        let expires = if ttl == 0 { 0 } else { now + ttl };
                        model.insert(n, (Kept::Plain(value, flags), expires));
                    }
                }
            }
            Call::Delete(n) => {
                dict.delete(&key(n));
                model.remove(&n);
            }
            Call::Get(n) => match live(&model, n, now) {
                Some(Kept::List(_)) => {
                    let got = dict.get(&key(n), now, &mut Vec::new());
                    assert!(got.is_some_and(|got| got.kind == Kind::List && !got.expired));
                }
                Some(Kept::Plain(value, flags)) => {
                    assert_eq!(content(&dict, &key(n), now), Some((value.clone(), *flags)));
                }
                None => {
                    let got = dict.get(&key(n), now, &mut Vec::new());
                    assert!(got.is_none_or(|got| got.expired));
                }
            },
            Call::Incr { key: n, by, init } => {
                let init = init.map(|(number, ttl)| (number as f64, ttl));
                let (result, forcible) = dict.incr(&key(n), by as f64, init, now);
                assert!(!(forcible && enough));
                match (live(&model, n, now).cloned(), init) {
                    (Some(Kept::Plain(Content::Number(number), flags)), _) => {
                        let sum = number as f64 + by as f64;
                        assert_eq!(result, Ok(sum));
                        let expires = model[&n].1;
                        model.insert(n, (Kept::Plain(Content::Number(sum as i32), flags), expires));
                    }
                    (Some(_), _) => assert_eq!(result, Err(StoreError::NotANumber)),
                    (None, None) => assert_eq!(result, Err(StoreError::NotFound)),
                    (None, Some((number, ttl))) => {
                        model.remove(&n);
                        if enough || result != Err(StoreError::NoMemory) {
                            let sum = number + by as f64;
                            assert_eq!(result, Ok(sum));
                            let expires = if ttl == 0 { 0 } else { now + ttl };
                            model.insert(n, (Kept::Plain(Content::Number(sum as i32), 0), expires));
                        }
                    }
                }
            }
            Call::Push(left, n, content) => {
                let item = match &content {
                    Content::Boolean(_) => continue,
                    Content::Number(number) => Item::Number(*number as f64),
                    Content::String(text) => Item::String(text),
                };
                let result = dict.push(end(left), &key(n), item, now);
                let (mut items, expires) = match live(&model, n, now) {
                    Some(Kept::Plain(..)) => {
                        assert_eq!(result, Err(PushError::NotAList));
                        continue;
                    }
                    Some(Kept::List(items)) => (items.clone(), model[&n].1),
                    None => (Vec::new(), 0),
                };
                if result == Err(PushError::NoMemory) && !enough {
                    if items.is_empty() {
                        model.remove(&n);
                    }
                    continue;
                }
                assert_eq!(result, Ok(items.len() + 1));
                items.insert(if left { 0 } else { items.len() }, content);
                model.insert(n, (Kept::List(items), expires));
            }
            Call::Pop(left, n) => {
                let mut text = Vec::new();
                let result = dict.pop(end(left), &key(n), now, &mut text);
                match live(&model, n, now).cloned() {
                    Some(Kept::Plain(..)) => assert_eq!(result, Err(NotAList)),
                    None => assert_eq!(result, Ok(None)),
                    Some(Kept::List(mut items)) => {
                        let item = items.remove(if left { 0 } else { items.len() - 1 });
                        match item {
                            Content::Number(number) => {
                                assert_eq!(result, Ok(Some(Popped::Number(number as f64))));
                            }
                            item => {
                                assert_eq!(result, Ok(Some(Popped::String)));
                                assert_eq!(item, Content::String(text));
                            }
                        }
                        let expires = model[&n].1;
                        model.remove(&n);
                        if !items.is_empty() {
                            model.insert(n, (Kept::List(items), expires));
                        }
                    }
                }
            }
            Call::Len(n) => {
                let expected = match live(&model, n, now) {
                    Some(Kept::Plain(..)) => Err(NotAList),
                    Some(Kept::List(items)) => Ok(items.len()),
                    None => Ok(0),
                };
                assert_eq!(dict.len(&key(n), now), expected);
            }
            Call::Ttl(n) => {
                let ttl = dict.ttl(&key(n), now);
                if live(&model, n, now).is_some() {
                    let expires = model[&n].1;
                    assert_eq!(ttl, Some((expires != 0).then(|| (expires - now) as i64)));
                } else {
                    // Gone already, or still there as what has expired.
                    assert!(ttl.is_none_or(|ttl| ttl.is_some_and(|ttl| ttl <= 0)));
                }
            }
            Call::Expire(n, ttl) => {
                let there = dict.expire(&key(n), ttl, now);
                let kept = model.get_mut(&n);
                match kept {
                    Some((_, expires)) if there => *expires = if ttl == 0 { 0 } else { now + ttl },
                    Some(_) => drop(model.remove(&n)),
                    None => assert!(!there),
                }
            }
            Call::FlushAll => {
                dict.flush_all();
                model.values_mut().for_each(|(_, expires)| *expires = 1);
            }
            Call::FlushExpired(max) => {
                let removed = dict.flush_expired(max, now);
                assert!(max == 0 || removed <= max);
                model.retain(|&n, _| dict.ttl(&key(n), now).is_some());
            }
            Call::Keys => {
                let mut keys = dict.all_keys(now);
                let mut expected: Vec<_> = model
                    .keys()
                    .filter(|&&n| live(&model, n, now).is_some())
                    .map(|&n| key(n))
                    .collect();
                keys.sort();
                expected.sort();
                assert_eq!(keys, expected);
            }
            Call::Pass(ms) => now += ms,
        }
        if let Err(wrong) = dict.check() {
            panic!("after {call:?}: {wrong}");
        }
    }
    for &n in model.keys() {
        if let Some(Kept::Plain(value, flags)) = live(&model, n, now) {
            let got = content(&dict, &key(n), now);
            assert!(got == Some((value.clone(), *flags)) || (!enough && got.is_none()));
        }
    }
    missing
}
