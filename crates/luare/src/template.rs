//! What a match is replaced by: text in which `$1`, `${1}` and `$0` stand for groups, and `$$` for a dollar sign.

use std::fmt;
use std::ops::Range;

use memchr::memchr;

/// A template that was read. Groups that the pattern doesn't have, or that aren't part of a match, are empty.
#[derive(Debug, Default)]
pub struct Template {
    text: Vec<u8>,
    parts: Vec<Part>,
}

#[derive(Debug, PartialEq, Eq)]
enum Part {
    /// A range of the text.
    Text(Range<usize>),
    Group(usize),
}

/// Why a text is no template. The texts are those that users look for in the error log.
#[derive(Debug, PartialEq, Eq)]
pub enum TemplateError {
    /// A name, where only numbers can stand.
    Named(Vec<u8>),
    /// `${1`: what stands behind the bracket.
    NotClosed(Vec<u8>),
    /// A dollar sign before what is no number; the whole text.
    NoNumber(Vec<u8>),
}

impl TemplateError {
    pub fn message(&self) -> Vec<u8> {
        let (before, text, after): (&[u8], _, &[u8]) = match self {
            TemplateError::Named(name) => (
                b"attempt to use named capturing variable \"",
                name,
                b"\" (named captures not supported yet)",
            ),
            TemplateError::NotClosed(name) => {
                (b"the closing bracket in \"", name, b"\" variable is missing")
            }
            TemplateError::NoNumber(text) => {
                (b"lua script: invalid capturing variable name found in \"", text, b"\"")
            }
        };
        [before, text, after].concat()
    }
}

impl fmt::Display for TemplateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.message()))
    }
}

impl std::error::Error for TemplateError {}

impl Template {
    pub fn parse(text: &[u8]) -> Result<Template, TemplateError> {
        let mut template = Template::default();
        template.read(text)?;
        Ok(template)
    }

    /// Becomes the template of `text`, in the memory of the one that it was.
    pub fn read(&mut self, text: &[u8]) -> Result<(), TemplateError> {
        self.parts.clear();
        self.text.clear();
        self.text.extend_from_slice(text);
        let mut at = 0;
        while at < text.len() {
            let end = memchr(b'$', &text[at..]).map_or(text.len(), |found| at + found);
            if end > at {
                self.parts.push(Part::Text(at..end));
            }
            at = end;
            if at < text.len() {
                at = self.read_variable(text, at + 1)?;
            }
        }
        Ok(())
    }

    /// Reads what stands behind a dollar sign, and gives the position behind it.
    fn read_variable(&mut self, text: &[u8], at: usize) -> Result<usize, TemplateError> {
        let no_number = || TemplateError::NoNumber(text.to_vec());
        let bracket = match text.get(at) {
            None => return Err(no_number()),
            Some(b'$') => {
                self.parts.push(Part::Text(at..at + 1));
                return Ok(at + 1);
            }
            Some(first) => *first == b'{',
        };
        let at = at + usize::from(bracket);
        let rest = &text[at..];
        let is_number = rest.first().is_some_and(u8::is_ascii_digit);
        let len = rest
            .iter()
            .position(|&byte| match is_number {
                true => !byte.is_ascii_digit(),
                false => !(byte.is_ascii_alphanumeric() || byte == b'_'),
            })
            .unwrap_or(rest.len());
        let name = &rest[..len];
        if bracket {
            match rest.get(len) {
                Some(b'}') => {}
                _ if rest.is_empty() => return Err(no_number()),
                _ => return Err(TemplateError::NotClosed(name.to_vec())),
            }
        }
        if name.is_empty() {
            return Err(no_number());
        }
        if !is_number {
            return Err(TemplateError::Named(name.to_vec()));
        }
        // No pattern has a group whose number is too large for this.
        let number = name.iter().fold(0usize, |number, digit| {
            number.saturating_mul(10).saturating_add(usize::from(digit - b'0'))
        });
        self.parts.push(Part::Group(number));
        Ok(at + len + usize::from(bracket))
    }

    /// Appends what a match in `subject` is replaced by. `captures` has the pairs that are set.
    pub fn append(&self, out: &mut Vec<u8>, subject: &[u8], captures: &[i32]) {
        for part in &self.parts {
            match part {
                Part::Text(range) => out.extend_from_slice(&self.text[range.clone()]),
                Part::Group(number) => {
                    let at = number.saturating_mul(2);
                    let pair = captures.get(at..).and_then(|rest| rest.get(..2));
                    // A group that isn't part of the match is from -1 to -1, which is no range of the subject.
                    if let Some(&[from, to]) = pair {
                        let range = from as usize..to as usize;
                        out.extend_from_slice(subject.get(range).unwrap_or_default());
                    }
                }
            }
        }
    }
}
