//! Log lines for a terminal.

const GREEN: &str = "32";
const CYAN: &str = "36";
const YELLOW: &str = "33";
const RED: &str = "31";

/// The colour of an access log line, `[status] ...`, by its status.
pub fn access_color(line: &[u8]) -> Option<&'static str> {
    match line {
        [b'[', class, _, _, b']', ..] => match class {
            b'2' => Some(GREEN),
            b'3' => Some(CYAN),
            b'4' => Some(YELLOW),
            b'5' => Some(RED),
            _ => None,
        },
        _ => None,
    }
}

/// The colour of an error log line, `date time [level] ...`, by its level.
pub fn error_color(line: &[u8]) -> Option<&'static str> {
    match level(line)? {
        b"warn" => Some(YELLOW),
        b"error" | b"crit" | b"alert" | b"emerg" => Some(RED),
        _ => None,
    }
}

/// nginx's own notes about its processes, which say nothing about the application.
pub fn is_routine(line: &[u8]) -> bool {
    const NOTES: [&str; 14] = [
        "using the \"",
        "nginx/",
        "built by ",
        "OS: ",
        "getrlimit(",
        "start worker process",
        "signal ",
        "reconfiguring",
        "worker process ",
        "gracefully shutting down",
        "exiting",
        "exit",
        "reopening logs",
        "start cache ",
    ];
    let notice = level(line) == Some(b"notice");
    let text = String::from_utf8_lossy(line);
    // After the level comes `pid#tid: `, and for a request `*connection `.
    let message = text
        .split_once("] ")
        .and_then(|(_, rest)| rest.split_once(": "))
        .map_or("", |(_, message)| message);
    notice && NOTES.iter().any(|note| message.starts_with(note))
}

fn level(line: &[u8]) -> Option<&[u8]> {
    let open = line.iter().position(|&c| c == b'[')?;
    let length = line[open..].iter().position(|&c| c == b']')?;
    Some(&line[open + 1..open + length])
}

/// The line in a colour, or as it is.
pub fn painted(line: &[u8], color: Option<&str>) -> Vec<u8> {
    match color {
        Some(color) => [b"\x1b[", color.as_bytes(), b"m", line, b"\x1b[0m"].concat(),
        None => line.to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_status_chooses_the_color() {
        assert_eq!(access_color(b"[200] GET /"), Some(GREEN));
        assert_eq!(access_color(b"[301] GET /"), Some(CYAN));
        assert_eq!(access_color(b"[404] GET /"), Some(YELLOW));
        assert_eq!(access_color(b"[500] GET /"), Some(RED));
        assert_eq!(access_color(b"[000] GET /"), None);
        assert_eq!(access_color(b"127.0.0.1 - - [date]"), None);
        assert_eq!(painted(b"[200]", Some(GREEN)), b"\x1b[32m[200]\x1b[0m");
        assert_eq!(painted(b"[200]", None), b"[200]");
    }

    #[test]
    fn the_level_chooses_the_color() {
        assert_eq!(error_color(b"2030/01/01 00:00:00 [error] 1#1: *1 oh"), Some(RED));
        assert_eq!(error_color(b"2030/01/01 00:00:00 [warn] 1#1: oh"), Some(YELLOW));
        assert_eq!(error_color(b"2030/01/01 00:00:00 [notice] 1#1: *1 hi"), None);
        assert_eq!(error_color(b"stack traceback:"), None);
    }

    #[test]
    fn what_a_function_prints_is_not_routine() {
        assert!(is_routine(b"2030/01/01 00:00:00 [notice] 7#7: start worker processes"));
        assert!(is_routine(b"2030/01/01 00:00:00 [notice] 7#7: exiting"));
        assert!(!is_routine(b"2030/01/01 00:00:00 [notice] 7#7: *3 [lua] hello.lua:2: exiting"));
        assert!(!is_routine(b"2030/01/01 00:00:00 [error] 7#7: exiting"));
        assert!(!is_routine(b"stack traceback:"));
    }
}
