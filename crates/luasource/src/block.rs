//! Finds where a `{ Lua }` block ends: the brace that closes it, and not one inside a Lua string, a long bracket or
//! a comment. It goes one byte at a time, so that the reader may refill its buffer anywhere.
//!
//! The lexical rules are LuaJIT's. For text that is no Lua any answer would do; this one goes on behind the
//! line end that broke a string, so that the compiler gets to see the mistake.

#[derive(Clone, Copy, Debug, PartialEq)]
enum State {
    Code,
    /// After `-`.
    Minus,
    /// After `--`: a long bracket may follow.
    CommentStart,
    LineComment,
    /// After `[` and as many `=` as `level` says; `comment` when after `--`.
    Bracket {
        level: usize,
        comment: bool,
    },
    Quoted {
        quote: u8,
        escaped: bool,
    },
    /// In a quoted string, at what its last escape takes along.
    Skip {
        quote: u8,
        what: Skip,
    },
    /// Inside a long bracket; `closing` counts the `=` after a `]`.
    Long {
        level: usize,
        closing: Option<usize>,
    },
}

/// What an escape takes along.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Skip {
    /// After `\z`: white space, line ends too.
    WhiteSpace,
    /// After an escaped `\r` or `\n`: the other one, since the two together are one line end.
    Byte(u8),
}

/// What the text ended in the middle of.
#[derive(Clone, Debug, PartialEq)]
pub enum Unclosed {
    Block,
    LongBracket {
        /// What is missing, such as `]==]`.
        closing: String,
        /// How many line feeds stand between the block's opening brace and the long bracket.
        lines: usize,
    },
}

impl Unclosed {
    /// What nginx logs. `line` is the line of the block's opening brace.
    pub fn message(&self, line: usize) -> String {
        match self {
            Unclosed::Block => format!(
                "unexpected end of file, expecting terminating characters for lua code block that starts at line {line}"
            ),
            Unclosed::LongBracket { closing, .. } => format!(
                "Lua code block missing the closing long bracket \"{closing}\", the inlined Lua code may be too long"
            ),
        }
    }

    /// The line to log it with, from that of the block's opening brace.
    pub fn line(&self, line: usize) -> usize {
        match self {
            Unclosed::Block => line,
            Unclosed::LongBracket { lines, .. } => line + lines,
        }
    }
}

/// Stands somewhere in a block.
#[derive(Debug)]
pub struct Scanner {
    state: State,
    /// How many braces are open, the block's own included.
    depth: usize,
    lines: usize,
    /// `lines` at the last opening long bracket.
    bracket_line: usize,
}

impl Default for Scanner {
    fn default() -> Self {
        Self::new()
    }
}

impl Scanner {
    /// A scanner standing behind the block's opening brace.
    pub fn new() -> Self {
        Scanner { state: State::Code, depth: 1, lines: 0, bracket_line: 0 }
    }

    /// Takes the block's next bytes, up to the brace that closes it: its index, or `None` when the block goes on
    /// behind them. Behind that brace a scanner has nothing more to find.
    pub fn scan(&mut self, text: &[u8]) -> Option<usize> {
        text.iter().position(|&byte| self.feed(byte))
    }

    /// What is missing when the text ends here.
    pub fn unclosed(&self) -> Unclosed {
        match self.state {
            State::Long { level, .. } => Unclosed::LongBracket {
                closing: format!("]{}]", "=".repeat(level)),
                lines: self.bracket_line,
            },
            _ => Unclosed::Block,
        }
    }

    /// Takes one byte; true when it is the brace that closes the block.
    fn feed(&mut self, byte: u8) -> bool {
        if byte == b'\n' {
            self.lines += 1;
        }
        self.state = match self.state {
            State::Code => return self.code(byte),
            State::Minus if byte == b'-' => State::CommentStart,
            State::Minus => return self.code(byte),
            State::CommentStart if byte == b'[' => {
                self.bracket_line = self.lines;
                State::Bracket { level: 0, comment: true }
            }
            State::CommentStart | State::LineComment => comment(byte),
            State::Bracket { level, comment: is_comment } => match byte {
                b'=' => State::Bracket { level: level + 1, comment: is_comment },
                b'[' => State::Long { level, closing: None },
                _ if is_comment => comment(byte),
                _ => return self.code(byte),
            },
            State::Skip { quote, what } => match what {
                Skip::WhiteSpace if is_space(byte) => self.state,
                Skip::Byte(skipped) if byte == skipped => State::Quoted { quote, escaped: false },
                _ => quoted(quote, byte),
            },
            State::Quoted { quote, escaped: true } => match byte {
                b'z' => State::Skip { quote, what: Skip::WhiteSpace },
                b'\r' => State::Skip { quote, what: Skip::Byte(b'\n') },
                b'\n' => State::Skip { quote, what: Skip::Byte(b'\r') },
                _ => State::Quoted { quote, escaped: false },
            },
            State::Quoted { quote, escaped: false } => quoted(quote, byte),
            State::Long { level, closing } => match (byte, closing) {
                (b']', Some(n)) if n == level => State::Code,
                (b']', _) => State::Long { level, closing: Some(0) },
                (b'=', Some(n)) => State::Long { level, closing: Some(n + 1) },
                _ => State::Long { level, closing: None },
            },
        };
        false
    }

    fn code(&mut self, byte: u8) -> bool {
        self.state = match byte {
            b'-' => State::Minus,
            b'[' => {
                self.bracket_line = self.lines;
                State::Bracket { level: 0, comment: false }
            }
            b'"' | b'\'' => State::Quoted { quote: byte, escaped: false },
            _ => State::Code,
        };
        match byte {
            b'{' => self.depth += 1,
            b'}' => self.depth = self.depth.saturating_sub(1),
            _ => {}
        }
        self.depth == 0
    }
}

/// In a comment that ends with its line.
fn comment(byte: u8) -> State {
    if is_line_end(byte) {
        State::Code
    } else {
        State::LineComment
    }
}

/// In a quoted string, behind no backslash.
fn quoted(quote: u8, byte: u8) -> State {
    match byte {
        b'\\' => State::Quoted { quote, escaped: true },
        _ if byte == quote || is_line_end(byte) => State::Code,
        _ => State::Quoted { quote, escaped: false },
    }
}

fn is_line_end(byte: u8) -> bool {
    matches!(byte, b'\n' | b'\r')
}

/// White space of C, which has the vertical tab that Rust's doesn't.
fn is_space(byte: u8) -> bool {
    byte.is_ascii_whitespace() || byte == 0x0b
}
