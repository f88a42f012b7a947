//! The table of phases. Everything that differs from phase to phase stands in its row; directives, handlers,
//! `ngx.get_phase` and refusals read it there.

use std::ffi::CStr;

use nginx_sys::*;

/// Where Lua runs. The numbers are bits, so that a set of phases is a number too.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[repr(u32)]
pub enum Phase {
    #[default]
    None = 0,
    Init = 1 << 0,
    InitWorker = 1 << 1,
    ExitWorker = 1 << 2,
    Set = 1 << 3,
    ServerRewrite = 1 << 4,
    Rewrite = 1 << 5,
    Access = 1 << 6,
    Precontent = 1 << 7,
    Content = 1 << 8,
    HeaderFilter = 1 << 9,
    BodyFilter = 1 << 10,
    Log = 1 << 11,
    /// Without a request of a client's.
    Timer = 1 << 12,
}

/// Who keeps a phase's code.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// No directive names code for the phase.
    Nowhere,
    /// [`super::MainConf::code`].
    Main,
    /// [`super::LocConf::code`].
    Location,
    /// The directive itself, which may stand more than once.
    Directive,
}

/// A phase.
pub struct Row {
    pub phase: Phase,
    /// As `ngx.get_phase` says it.
    pub name: &'static str,
    /// As error texts name it.
    pub directive: &'static CStr,
    pub level: Level,
    /// Where nginx calls the handler, if it is one of its phases; its number in `ngx_http_phases`.
    pub slot: Option<ngx_uint_t>,
    /// What the phase engine hears when the request goes on.
    pub passed: ngx_int_t,
}

const fn row(phase: Phase, name: &'static str, directive: &'static CStr, level: Level) -> Row {
    Row { phase, name, directive, level, slot: None, passed: NGX_DECLINED as ngx_int_t }
}

impl Row {
    const fn at(self, slot: ngx_http_phases) -> Row {
        Row { slot: Some(slot as ngx_uint_t), ..self }
    }

    const fn passed(self, passed: ngx_int_t) -> Row {
        Row { passed, ..self }
    }

    /// As tracebacks name the directive's code.
    pub fn tag(&self) -> &'static str {
        text(self.directive).trim_end_matches('*')
    }
}

use Level::*;

/// In the order of their bits.
pub static ROWS: [Row; 14] = [
    row(Phase::None, "init", c"(unknown)", Nowhere),
    row(Phase::Init, "init", c"init_by_lua*", Main),
    row(Phase::InitWorker, "init_worker", c"init_worker_by_lua*", Main),
    row(Phase::ExitWorker, "exit_worker", c"exit_worker_by_lua*", Main),
    row(Phase::Set, "set", c"set_by_lua*", Directive),
    row(Phase::ServerRewrite, "server_rewrite", c"server_rewrite_by_lua*", Location)
        .at(ngx_http_phases_NGX_HTTP_SERVER_REWRITE_PHASE),
    row(Phase::Rewrite, "rewrite", c"rewrite_by_lua*", Location)
        .at(ngx_http_phases_NGX_HTTP_REWRITE_PHASE),
    row(Phase::Access, "access", c"access_by_lua*", Location)
        .at(ngx_http_phases_NGX_HTTP_ACCESS_PHASE)
        .passed(NGX_OK as ngx_int_t),
    row(Phase::Precontent, "precontent", c"precontent_by_lua*", Location)
        .at(ngx_http_phases_NGX_HTTP_PRECONTENT_PHASE),
    row(Phase::Content, "content", c"content_by_lua*", Location),
    row(Phase::HeaderFilter, "header_filter", c"header_filter_by_lua*", Location),
    row(Phase::BodyFilter, "body_filter", c"body_filter_by_lua*", Location),
    row(Phase::Log, "log", c"log_by_lua*", Location).at(ngx_http_phases_NGX_HTTP_LOG_PHASE),
    row(Phase::Timer, "timer", c"ngx.timer", Nowhere),
];

/// How many phases there are, and so the length of a table by phase.
pub const COUNT: usize = ROWS.len();

fn text(name: &'static CStr) -> &'static str {
    name.to_str().unwrap_or_default()
}

impl Phase {
    /// The phase's place in [`ROWS`], and in tables by phase.
    #[inline]
    pub const fn index(self) -> usize {
        (32 - (self as u32).leading_zeros()) as usize
    }

    pub fn row(self) -> &'static Row {
        &ROWS[self.index()]
    }

    /// As `ngx.get_phase` says it.
    pub fn name(self) -> &'static str {
        self.row().name
    }

    /// As error texts name it.
    pub fn directive(self) -> &'static str {
        text(self.row().directive)
    }

    pub const fn is_in(self, phases: u32) -> bool {
        self as u32 & phases != 0
    }
}

/// The phases whose code may wait and make a response.
pub const HANDLERS: u32 = Phase::ServerRewrite as u32
    | Phase::Rewrite as u32
    | Phase::Access as u32
    | Phase::Precontent as u32
    | Phase::Content as u32;

/// The phases whose code may wait.
pub const WAITING: u32 = HANDLERS | Phase::Timer as u32;
