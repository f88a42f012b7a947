//! The header of a request as the client sent it, put together from nginx's buffers.

use nginx_sys::*;

use crate::nginx::Request;

/// The lines from the buffers that nginx read them into: the connection's own, then the large ones, of which nginx's
/// list has the last first. A line that didn't fit at a buffer's end stands whole at the start of the next.
///
/// # Safety
/// `r` is a live main request over HTTP/1.
pub unsafe fn collect(r: Request, text: &mut Vec<u8>) -> bool {
    // SAFETY: the request is live, and its connection keeps the buffers of a header until the request's end.
    unsafe {
        let line = (*r).request_line.data;
        let own = (*(*r).connection).buffer;
        let mut buffers = Vec::new();
        let mut link = (*(*r).http_connection).busy;
        while !link.is_null() {
            buffers.push((*link).buf);
            link = (*link).next;
        }
        if !own.is_null() && !buffers.contains(&own) {
            buffers.push(own);
        }
        let holds_line = |b: &*mut ngx_buf_t| (**b).start <= line && line < (**b).end;
        let Some(first) = buffers.iter().position(holds_line) else {
            return false;
        };
        for (i, &b) in buffers[..=first].iter().enumerate().rev() {
            let start = if i == first { line } else { (*b).start };
            let is_last = b == (*r).header_in;
            let end = if is_last { (*r).header_end } else { (*b).pos };
            let Ok(len) = usize::try_from(end.offset_from(start)) else {
                return false;
            };
            let mut piece = std::slice::from_raw_parts(start, len);
            if !is_last {
                let whole = piece.iter().rposition(|&byte| byte == b'\n').map_or(0, |at| at + 1);
                piece = &piece[..whole];
            }
            for line in piece.split_inclusive(|&byte| byte == b'\n') {
                restore_line(line, text);
            }
            if is_last {
                break;
            }
        }
        text.extend_from_slice(b"\r\n");
        true
    }
}

/// nginx puts a NUL for the colon behind a header's name, and for the byte behind its value.
fn restore_line(line: &[u8], text: &mut Vec<u8>) {
    let mut named = false;
    for (i, &byte) in line.iter().enumerate() {
        text.push(match (byte, line.get(i + 1)) {
            (0, _) if !named => {
                named = true;
                b':'
            }
            (0, Some(b'\n')) => b'\r',
            (0, Some(_)) => b' ',
            (0, None) => b'\n',
            _ => byte,
        });
    }
}
