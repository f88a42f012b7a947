//! A text that LuaJIT compiles ends as a block right behind itself, however it is cut into pieces, and becomes a plain function
//! unless it uses `...`.

#![no_main]

use libfuzzer_sys::fuzz_target;
use luasource::{as_function, without_shebang, Scanner};
use mlua::chunk::ChunkMode;
use mlua::{Function, Lua};

thread_local! {
    static LUA: Lua = Lua::new();
}

fn compile(text: &[u8]) -> Result<Function, String> {
    LUA.with(|lua| {
        let chunk = lua.load(text).set_name("=chunk").set_mode(ChunkMode::Text);
        chunk.into_function().map_err(|error| error.to_string())
    })
}

fuzz_target!(|input: (u16, &[u8])| {
    let (cut, text) = input;
    let whole = Scanner::new().scan(text);
    let (first, second) = text.split_at(usize::from(cut) % (text.len() + 1));
    let mut scanner = Scanner::new();
    let pieces = scanner.scan(first).or_else(|| Some(first.len() + scanner.scan(second)?));
    assert_eq!(pieces, whole);
    if whole.is_none() {
        scanner.unclosed().message(scanner.unclosed().line(1));
    }

    let text = without_shebang(text);
    if compile(text).is_err() {
        return;
    }
    // A block is no file: `#` begins no comment there.
    if !text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text).starts_with(b"#") {
        let block = [text, b"\n}"].concat();
        assert_eq!(Scanner::new().scan(&block), Some(text.len() + 1));
    }
    let function = as_function(text).expect("text is no bytecode");
    if let Err(message) = compile(&function) {
        let expected = ["'...'", "too many", "overflow", "limit"];
        assert!(expected.iter().any(|text| message.contains(text)), "{message}");
    }
});
