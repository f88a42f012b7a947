//! What coroutines do, as text:
//!
//! ```text
//! main: spawn f; say one; join 0
//! f: sleep; say two
//! ```
//!
//! A line is a body, and its first line what a family begins with. Light threads are numbered in the order in which they began,
//! and coroutines of the user's own in the order in which they were created; a number that is too large counts from the front again.

use std::fmt;

/// Where a body, a light thread or a user's coroutine is in its list.
pub type Number = usize;

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Op {
    Say(String),
    /// Lets others run; a user's coroutine goes back to who resumed it.
    Yield,
    /// Waits for a wake-up.
    Sleep,
    /// Waits for a future that the test has made.
    Await(String),
    Spawn(Number),
    Join(Vec<Number>),
    Kill(Number),
    Status(Number),
    /// Makes a coroutine of the user's own.
    Create(Number),
    Resume(Number),
    /// Asks for it, but goes on, as code does that can't yield.
    Try(Box<Op>),
    Exit,
    Fail,
}

/// What happens to a program from outside. As in a script, a number that is too large counts from the front again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Event {
    /// A family begins with that body.
    Begin(Number),
    /// A light thread that nobody spawned, of the family and with the body.
    Add(Number, Number),
    /// What the sleeper of that place waits for has ended.
    Fire(Number),
    /// The light thread is woken without a reason.
    Wake(Number),
    /// The family ends.
    End(Number),
}

#[derive(Clone, PartialEq, Eq)]
pub struct Body {
    pub name: String,
    pub ops: Vec<Op>,
}

#[derive(Clone, PartialEq, Eq)]
pub struct Program(pub Vec<Body>);

impl Program {
    pub fn parse(text: &str) -> Program {
        let lines = || text.lines().map(str::trim).filter(|line| !line.is_empty());
        let names: Vec<&str> = lines().map(|line| line.split(':').next().unwrap().trim()).collect();
        let body = |line: &str| {
            let (name, ops) =
                line.split_once(':').expect("a body is a name, a colon, and what it does");
            let ops = ops.split(';').map(str::trim).filter(|op| !op.is_empty());
            Body { name: name.trim().into(), ops: ops.map(|op| parse_op(op, &names)).collect() }
        };
        Program(lines().map(body).collect())
    }

    pub fn body(&self, name: &str) -> Number {
        self.0.iter().position(|body| body.name == name).expect("a body of that name")
    }
}

fn parse_op(text: &str, names: &[&str]) -> Op {
    let (verb, rest) = text.split_once(' ').unwrap_or((text, ""));
    let body = || names.iter().position(|&name| name == rest).expect("a body of that name");
    let number = || rest.parse().expect("a number");
    match verb {
        "say" => Op::Say(rest.into()),
        "yield" => Op::Yield,
        "sleep" => Op::Sleep,
        "await" => Op::Await(rest.into()),
        "spawn" => Op::Spawn(body()),
        "join" => Op::Join(rest.split_whitespace().map(|n| n.parse().expect("a number")).collect()),
        "kill" => Op::Kill(number()),
        "status" => Op::Status(number()),
        "create" => Op::Create(body()),
        "resume" => Op::Resume(number()),
        "try" => Op::Try(Box::new(parse_op(rest, names))),
        "exit" => Op::Exit,
        "fail" => Op::Fail,
        _ => panic!("{text}: no such operation"),
    }
}

/// The text that [`Program::parse`] reads.
impl fmt::Debug for Program {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        for body in &self.0 {
            let ops: Vec<String> = body.ops.iter().map(|op| self.op(op)).collect();
            write!(f, "\n{}: {}", body.name, ops.join("; "))?;
        }
        Ok(())
    }
}

impl Program {
    fn op(&self, op: &Op) -> String {
        match op {
            Op::Say(text) => format!("say {text}"),
            Op::Yield => "yield".into(),
            Op::Sleep => "sleep".into(),
            Op::Await(name) => format!("await {name}"),
            Op::Spawn(body) => format!("spawn {}", self.0[*body].name),
            Op::Join(threads) => {
                let threads: Vec<String> = threads.iter().map(Number::to_string).collect();
                format!("join {}", threads.join(" "))
            }
            Op::Kill(thread) => format!("kill {thread}"),
            Op::Status(thread) => format!("status {thread}"),
            Op::Create(body) => format!("create {}", self.0[*body].name),
            Op::Resume(user) => format!("resume {user}"),
            Op::Try(op) => format!("try {}", self.op(op)),
            Op::Exit => "exit".into(),
            Op::Fail => "fail".into(),
        }
    }
}
