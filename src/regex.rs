//! `ngx.re`: what a process matches with, and within which limits.

use luare::{Matcher, Template};

use crate::conf::MainConf;
use crate::nginx::cell::Worker;

pub struct Engine {
    pub matcher: Matcher,
    /// The last template that was read, whose memory the next one takes.
    pub template: Template,
    /// `lua_regex_cache_max_entries`: how many patterns a VM keeps.
    pub cache_max: usize,
}

static ENGINE: Worker<Option<Engine>> = Worker::new(None);

/// The process's engine.
///
/// # Safety
/// No other reference to it is alive.
#[inline]
pub unsafe fn engine<'a>() -> &'a mut Engine {
    // SAFETY: one thread, and the caller's promise.
    let engine = unsafe { &mut *ENGINE.get() };
    engine.get_or_insert_with(|| Engine {
        matcher: Matcher::new(),
        template: Template::default(),
        cache_max: 0,
    })
}

/// Takes the limits of a configuration, before its Lua runs. The stack of compiled patterns is that configuration's
/// `init_by_lua*` to ask for.
pub fn configure(conf: &MainConf) {
    adopt(conf);
    // SAFETY: the reference ends here.
    unsafe { engine() }.matcher.reset_jit_stack();
}

/// Takes the limits of the configuration that a worker runs, which is not always the last that its master has read.
pub fn adopt(conf: &MainConf) {
    // SAFETY: the reference ends here.
    let engine = unsafe { engine() };
    engine.cache_max = conf.regex_cache_max as usize;
    engine.matcher.set_match_limit(u32::try_from(conf.regex_match_limit).unwrap_or(u32::MAX));
}
