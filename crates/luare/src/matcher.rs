//! Matching: what a thread keeps for it, its limits, and where the groups of the last match are.

use std::cell::Cell;
use std::ffi::{c_int, c_void};
use std::ptr;

use pcre2_sys::*;

use crate::error::MatchError;
use crate::regex::{Engine, Regex};

/// The smallest stack of compiled patterns, which is also what they have when none was asked for.
pub const MIN_JIT_STACK: usize = 32 * 1024;

/// The interpreter keeps what it may come back to in memory, which a pattern that explodes asks for without end.
const HEAP_LIMIT_KIB: u32 = 256 * 1024;
/// What one match took and the next one needn't is given back from this on.
const KEPT: usize = 1 << 20;

/// Integers that the DFA notes its states in, and how many it may have at most.
const WORKSPACE: usize = 1 << 10;
const WORKSPACE_MAX: usize = 1 << 20;

/// Groups that are provided for at first.
const PAIRS: u32 = 32;
/// A pattern's groups are numbered in 16 bits, and there is the whole match.
const PAIRS_MAX: usize = 1 << 16;

/// Whether a text is known to be the UTF-8 that a pattern needs, since it was matched by that pattern before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Checked {
    No,
    Yes,
}

/// What one thread matches with.
pub struct Matcher {
    data: *mut pcre2_match_data_8,
    pairs: u32,
    context: *mut pcre2_match_context_8,
    dfa_context: *mut pcre2_match_context_8,
    general: *mut pcre2_general_context_8,
    jit_stack: *mut pcre2_jit_stack_8,
    /// The largest block that PCRE2 has asked for since `data` was made.
    largest: Box<Cell<usize>>,
    workspace: Vec<c_int>,
    /// Begin and end of the last match and its groups. Always in one place; memory is only taken for what is written.
    captures: Box<[i32]>,
}

unsafe extern "C" fn allocate(size: usize, largest: *mut c_void) -> *mut c_void {
    // SAFETY: the cell that the context was made with.
    let largest = unsafe { &*largest.cast::<Cell<usize>>() };
    largest.set(largest.get().max(size));
    // SAFETY: any size may be asked for.
    unsafe { libc::malloc(size) }
}

unsafe extern "C" fn release(block: *mut c_void, _: *mut c_void) {
    // SAFETY: what `allocate` gave.
    unsafe { libc::free(block) }
}

impl Default for Matcher {
    fn default() -> Self {
        Matcher::new()
    }
}

impl Matcher {
    pub fn new() -> Matcher {
        let largest = Box::new(Cell::new(0));
        let cell = ptr::from_ref::<Cell<usize>>(&largest).cast_mut().cast();
        // SAFETY: the cell lives as long as the contexts, at its place. Without memory they are null, which PCRE2 takes
        // for its own, or refuses to match.
        unsafe {
            let general = pcre2_general_context_create_8(Some(allocate), Some(release), cell);
            let context = || {
                let context = pcre2_match_context_create_8(general);
                if !context.is_null() {
                    pcre2_set_heap_limit_8(context, HEAP_LIMIT_KIB);
                }
                context
            };
            Matcher {
                data: ptr::null_mut(),
                pairs: PAIRS,
                context: context(),
                dfa_context: context(),
                general,
                jit_stack: ptr::null_mut(),
                largest,
                workspace: Vec::new(),
                captures: vec![0; 2 * PAIRS_MAX].into_boxed_slice(),
            }
        }
    }

    /// How much may be tried for one match; 0 for PCRE2's own limit. The DFA has always that one, since it counts
    /// otherwise.
    pub fn set_match_limit(&mut self, limit: u32) {
        let limit = if limit == 0 { default_match_limit() } else { limit };
        if !self.context.is_null() {
            // SAFETY: the context is ours.
            unsafe { pcre2_set_match_limit_8(self.context, limit) };
        }
    }

    /// Gives compiled patterns a stack that grows up to `size` bytes, or [`MIN_JIT_STACK`]; `false` without memory.
    pub fn set_jit_stack(&mut self, size: usize) -> bool {
        self.reset_jit_stack();
        if self.context.is_null() {
            return false;
        }
        // SAFETY: the stack is ours, and lent to the context until it is reset.
        unsafe {
            let max = size.max(MIN_JIT_STACK);
            self.jit_stack = pcre2_jit_stack_create_8(MIN_JIT_STACK, max, self.general);
            if self.jit_stack.is_null() {
                return false;
            }
            pcre2_jit_stack_assign_8(self.context, None, self.jit_stack.cast());
        }
        true
    }

    /// As it was before [`set_jit_stack`](Self::set_jit_stack).
    pub fn reset_jit_stack(&mut self) {
        if self.jit_stack.is_null() {
            return;
        }
        // SAFETY: the stack is ours, and no match runs.
        unsafe {
            pcre2_jit_stack_assign_8(self.context, None, ptr::null_mut());
            pcre2_jit_stack_free_8(self.jit_stack);
        }
        self.jit_stack = ptr::null_mut();
    }

    /// Looks for the first match that doesn't begin before `from`. Gives how many of [`captures`](Self::captures) are
    /// set, the whole match included; 0 when there is none.
    pub fn find(&mut self, regex: &Regex, text: &[u8], from: usize) -> Result<usize, MatchError> {
        self.find_in(regex, text, from, Checked::No)
    }

    pub fn find_in(
        &mut self,
        regex: &Regex,
        text: &[u8],
        from: usize,
        checked: Checked,
    ) -> Result<usize, MatchError> {
        // Offsets are kept as `i32`.
        if i32::try_from(text.len()).is_err() {
            return Err(MatchError::INTERNAL);
        }
        if from > text.len() {
            return Err(MatchError::BAD_OFFSET);
        }
        self.make_room(regex)?;
        let count = self.run(regex, text, from, checked);
        let found = match count {
            PCRE2_ERROR_NOMATCH => Ok(0),
            count if count < 0 => Err(MatchError::from_pcre2(count)),
            // The DFA counts its matches, of which the longest is the first; 0 are more than there was room for.
            _ if regex.engine == Engine::Dfa => Ok(self.keep(regex, 1)),
            count => Ok(self.keep(regex, count as usize)),
        };
        if self.largest.get() > KEPT {
            self.give_back();
        }
        found
    }

    /// Where the last match and its groups begin and end; -1 for a group that isn't part of it. As many pairs as the
    /// pattern has groups, and one; what lies behind them means nothing.
    pub fn captures(&self) -> &[i32] {
        &self.captures
    }

    /// The largest block of memory that is kept for the next match.
    pub fn kept_memory(&self) -> usize {
        if self.data.is_null() {
            0
        } else {
            self.largest.get()
        }
    }

    /// The last match.
    pub(crate) fn range(&self) -> (usize, usize) {
        (self.captures[0] as usize, self.captures[1] as usize)
    }

    fn run(&mut self, regex: &Regex, text: &[u8], from: usize, checked: Checked) -> c_int {
        let (code, subject, len) = (regex.as_ptr(), text.as_ptr(), text.len());
        let trusted = !regex.checks_utf || checked == Checked::Yes;
        // SAFETY: code, data and context are live, the subject has that length, and `from` is in it.
        unsafe {
            match regex.engine {
                Engine::Jit if trusted => {
                    pcre2_jit_match_8(code, subject, len, from, 0, self.data, self.context)
                }
                Engine::Jit | Engine::Interpreter => {
                    let options = if regex.checks_utf && trusted { PCRE2_NO_UTF_CHECK } else { 0 };
                    pcre2_match_8(code, subject, len, from, options, self.data, self.context)
                }
                Engine::Dfa => {
                    let options = if trusted { PCRE2_NO_UTF_CHECK } else { 0 };
                    loop {
                        let count = pcre2_dfa_match_8(
                            code,
                            subject,
                            len,
                            from,
                            options,
                            self.data,
                            self.dfa_context,
                            self.workspace.as_mut_ptr(),
                            self.workspace.len(),
                        );
                        let size = self.workspace.len();
                        if count != PCRE2_ERROR_DFA_WSSIZE || size >= WORKSPACE_MAX {
                            return count;
                        }
                        self.workspace.resize(size * 4, 0);
                    }
                }
            }
        }
    }

    /// Sees to it that there is room for the groups.
    fn make_room(&mut self, regex: &Regex) -> Result<(), MatchError> {
        let pairs = regex.groups() as u32 + 1;
        if self.data.is_null() || pairs > self.pairs {
            self.pairs = self.pairs.max(pairs);
            self.largest.set(0);
            // SAFETY: the data is ours.
            unsafe {
                pcre2_match_data_free_8(self.data);
                self.data = pcre2_match_data_create_8(self.pairs, self.general);
            }
            if self.data.is_null() || self.context.is_null() || self.dfa_context.is_null() {
                return Err(MatchError::NO_MEMORY);
            }
            self.largest.set(0);
        }
        if regex.engine == Engine::Dfa && self.workspace.is_empty() {
            self.workspace.resize(WORKSPACE, 0);
        }
        Ok(())
    }

    /// Lets go of the memory of a match that took much.
    #[cold]
    fn give_back(&mut self) {
        // SAFETY: the data is ours.
        unsafe { pcre2_match_data_free_8(self.data) };
        self.data = ptr::null_mut();
    }

    /// Copies what was found, of which `count` pairs are set.
    fn keep(&mut self, regex: &Regex, count: usize) -> usize {
        // SAFETY: the data has room for the groups of every pattern that was matched with it.
        let (set, rest) = unsafe {
            std::slice::from_raw_parts(
                pcre2_get_ovector_pointer_8(self.data),
                2 * (regex.groups() + 1),
            )
        }
        .split_at(2 * count);
        // What isn't set is `usize::MAX`, which becomes -1.
        for (kept, offset) in self.captures.iter_mut().zip(set) {
            *kept = *offset as i32;
        }
        self.captures[set.len()..set.len() + rest.len()].fill(-1);
        // `\K` reached through a group's call from a look-ahead can put the begin behind the end.
        self.captures[0] = self.captures[0].min(self.captures[1]);
        count
    }
}

impl Drop for Matcher {
    fn drop(&mut self) {
        // SAFETY: all of it is ours, and null is nothing.
        unsafe {
            pcre2_match_data_free_8(self.data);
            pcre2_jit_stack_free_8(self.jit_stack);
            pcre2_match_context_free_8(self.context);
            pcre2_match_context_free_8(self.dfa_context);
            pcre2_general_context_free_8(self.general);
        }
    }
}

fn default_match_limit() -> u32 {
    let mut limit = 0u32;
    // SAFETY: PCRE2 writes a `u32`.
    unsafe { pcre2_config_8(PCRE2_CONFIG_MATCHLIMIT, ptr::from_mut(&mut limit).cast()) };
    limit
}
