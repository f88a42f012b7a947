//! Replacing matches: by a template, or by what a caller makes of each.

use crate::error::MatchError;
use crate::matcher::{Checked, Matcher};
use crate::regex::Regex;
use crate::template::Template;

/// Appends `subject` to `out`, with its first match replaced, or `all`. Gives how many there were; for none, nothing
/// is appended.
pub fn substitute(
    matcher: &mut Matcher,
    regex: &Regex,
    subject: &[u8],
    template: &Template,
    all: bool,
    out: &mut Vec<u8>,
) -> Result<usize, MatchError> {
    let mut place = Place::default();
    let mut count = 0;
    while let Some(set) = place.next(matcher, regex, subject)? {
        count += 1;
        out.extend_from_slice(place.skipped(subject));
        template.append(out, subject, &matcher.captures()[..2 * set]);
        if !all {
            break;
        }
    }
    if count > 0 {
        out.extend_from_slice(place.rest(subject));
    }
    Ok(count)
}

/// A substitution whose replacements come one by one from outside. What is passed again has to be the same.
#[derive(Default)]
pub struct Substitution {
    place: Place,
    text: Vec<u8>,
}

impl Substitution {
    /// Ready for another subject, in the memory of the last.
    pub fn begin(&mut self) {
        self.place = Place::default();
        self.text.clear();
        self.text.shrink_to(1 << 16);
    }

    /// Looks for the next match, whose groups are then the matcher's. Gives how many of them are set; 0 when there is no
    /// other match.
    pub fn next(
        &mut self,
        matcher: &mut Matcher,
        regex: &Regex,
        subject: &[u8],
    ) -> Result<usize, MatchError> {
        Ok(self.place.next(matcher, regex, subject)?.unwrap_or(0))
    }

    /// Replaces the match that was found last.
    pub fn replace(&mut self, subject: &[u8], piece: &[u8]) {
        self.text.extend_from_slice(self.place.skipped(subject));
        self.text.extend_from_slice(piece);
    }

    /// The text with all that was replaced.
    pub fn finish(&mut self, subject: &[u8]) -> &[u8] {
        self.text.extend_from_slice(self.place.rest(subject));
        &self.text
    }
}

/// How far a substitution is.
#[derive(Default)]
struct Place {
    /// Up to where the subject is in the result.
    done: usize,
    /// The last match, which begins at `done` or later.
    from: usize,
    to: usize,
    /// Where the next match may begin.
    next: usize,
}

impl Place {
    /// Finds the next match, and gives how many captures are set.
    fn next(
        &mut self,
        matcher: &mut Matcher,
        regex: &Regex,
        subject: &[u8],
    ) -> Result<Option<usize>, MatchError> {
        if self.next > subject.len() {
            return Ok(None);
        }
        let checked = if self.next == 0 { Checked::No } else { Checked::Yes };
        let set = matcher.find_in(regex, subject, self.next, checked)?;
        if set == 0 {
            return Ok(None);
        }
        let (from, to) = matcher.range();
        self.done = self.to;
        // `\K` reached through a group's call from a look-behind can put the begin before the last match's end.
        self.from = from.max(self.done);
        self.to = to.max(self.from);
        self.next =
            if self.from == self.to { regex.after_empty(subject, self.to) } else { self.to };
        Ok(Some(set))
    }

    /// What lies between the last two matches.
    fn skipped<'a>(&self, subject: &'a [u8]) -> &'a [u8] {
        subject.get(self.done..self.from).unwrap_or_default()
    }

    /// What lies behind the last match.
    fn rest<'a>(&self, subject: &'a [u8]) -> &'a [u8] {
        subject.get(self.to..).unwrap_or_default()
    }
}
