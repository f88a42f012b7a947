//! Finds where a `{ Lua }` block ends: the brace that closes it, and not one inside a Lua string, a long bracket or
//! a comment. Pure logic, one byte at a time, so that the reader may refill its buffer anywhere.

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
    /// In a quoted string after `\z`, which skips white space, line ends too, or after an escaped carriage return.
    Skip {
        quote: u8,
        only_newline: bool,
    },
    /// Inside a long bracket; `closing` counts the `=` after a `]`.
    Long {
        level: usize,
        closing: Option<usize>,
    },
}

/// What the text ended in the middle of.
#[derive(Debug, PartialEq)]
pub enum Unclosed {
    Block,
    /// The closing long bracket that is missing, such as `]==]`.
    LongBracket(String),
}

#[derive(Debug)]
pub struct Scanner {
    state: State,
    depth: usize,
}

impl Scanner {
    /// A scanner standing behind the block's opening brace.
    pub fn new() -> Self {
        Scanner { state: State::Code, depth: 1 }
    }

    /// Takes the next byte; true when it is the brace that closes the block.
    pub fn feed(&mut self, byte: u8) -> bool {
        self.state = match self.state {
            State::Code => return self.code(byte),
            State::Minus if byte == b'-' => State::CommentStart,
            State::Minus => return self.code(byte),
            State::CommentStart if byte == b'[' => State::Bracket { level: 0, comment: true },
            State::CommentStart | State::LineComment if byte == b'\n' => State::Code,
            State::CommentStart | State::LineComment => State::LineComment,
            State::Bracket { level, comment } => match byte {
                b'=' => State::Bracket { level: level + 1, comment },
                b'[' => State::Long { level, closing: None },
                b'\n' if comment => State::Code,
                _ if comment => State::LineComment,
                _ => return self.code(byte),
            },
            State::Quoted { quote, escaped: true } => match byte {
                b'z' => State::Skip { quote, only_newline: false },
                b'\r' => State::Skip { quote, only_newline: true },
                _ => State::Quoted { quote, escaped: false },
            },
            State::Skip { quote, only_newline: true } if byte == b'\n' => {
                State::Quoted { quote, escaped: false }
            }
            State::Skip { only_newline: false, .. } if byte.is_ascii_whitespace() => self.state,
            State::Quoted { quote, .. } | State::Skip { quote, .. } => match byte {
                b'\\' => State::Quoted { quote, escaped: true },
                // A newline ends no valid string; the Lua compiler reports it.
                b'\n' => State::Code,
                _ if byte == quote => State::Code,
                _ => State::Quoted { quote, escaped: false },
            },
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
            b'[' => State::Bracket { level: 0, comment: false },
            b'"' | b'\'' => State::Quoted { quote: byte, escaped: false },
            _ => State::Code,
        };
        match byte {
            b'{' => self.depth += 1,
            b'}' => self.depth -= 1,
            _ => {}
        }
        self.depth == 0
    }

    /// What is missing when the text ends here.
    pub fn unclosed(&self) -> Unclosed {
        match self.state {
            State::Long { level, .. } => Unclosed::LongBracket(format!("]{}]", "=".repeat(level))),
            _ => Unclosed::Block,
        }
    }
}
