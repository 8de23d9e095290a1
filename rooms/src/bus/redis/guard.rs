//! Limits for what a broker sends: [`Guard`].

use std::io;

/// The longest value that a broker may send, in bytes. Pages of a history and messages are shorter.
pub(super) const MAX_VALUE_LEN: usize = 64 << 20;

/// The longest line, such as an error.
const MAX_LINE_LEN: usize = 64 << 10;

/// The most elements that a value may have, at all depths.
const MAX_ELEMENTS: usize = 1 << 17;

/// The deepest nesting of arrays.
const MAX_DEPTH: usize = 8;

/// Follows the values of RESP3 as their bytes arrive, and rejects those that would make the parser
/// hold more than it should.
#[derive(Debug)]
pub(super) struct Guard {
    state: State,
    /// The elements that each array which is open still waits for.
    open: Vec<usize>,
    /// The bytes that the value has taken so far, and may take.
    len: usize,
    elements: usize,
    max_len: usize,
}

#[derive(Debug)]
enum State {
    /// The first byte of a value comes next.
    Start,
    /// A line that began with `kind`.
    Line { kind: u8, number: Number, len: usize, after_cr: bool },
    /// The bytes of a string, with its line break.
    Body { left: usize },
}

/// The number in a line, as far as it has been read.
#[derive(Clone, Copy, Debug, Default)]
struct Number {
    digits: usize,
    value: usize,
    is_negative: bool,
}

impl Guard {
    pub(super) fn new(max_len: usize) -> Self {
        Self { state: State::Start, open: Vec::new(), len: 0, elements: 0, max_len }
    }

    /// Follows `bytes`.
    ///
    /// # Errors
    ///
    /// `InvalidData` if a value is too large or not one of RESP3. The connection is of no use then.
    pub(super) fn check(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while let Some((&first, rest)) = bytes.split_first() {
            let taken = match &mut self.state {
                State::Body { left } => {
                    let taken = bytes.len().min(*left);
                    *left -= taken;
                    if *left == 0 {
                        self.complete();
                    }
                    taken
                }
                State::Start => {
                    self.begin(first)?;
                    1
                }
                State::Line { .. } => {
                    self.line(first)?;
                    1
                }
            };
            self.len += taken;
            if self.len > self.max_len {
                return Err(invalid("a value that is too long"));
            }
            bytes = if taken == 1 { rest } else { &bytes[taken..] };
            if matches!(self.state, State::Start) && self.open.is_empty() {
                (self.len, self.elements) = (0, 0);
            }
        }
        Ok(())
    }

    fn begin(&mut self, kind: u8) -> io::Result<()> {
        if !b"+-:$*%~>_,#!=(".contains(&kind) {
            return Err(invalid("something that is not RESP3"));
        }
        self.elements += 1;
        if self.elements > MAX_ELEMENTS {
            return Err(invalid("a value of too many elements"));
        }
        self.state = State::Line { kind, number: Number::default(), len: 0, after_cr: false };
        Ok(())
    }

    /// The next byte of a line.
    fn line(&mut self, byte: u8) -> io::Result<()> {
        let State::Line { kind, number, len, after_cr } = &mut self.state else { return Ok(()) };
        *len += 1;
        let has_length = b"$*%~>!=".contains(kind);
        match byte {
            b'\n' if *after_cr => {
                let (kind, number) = (*kind, *number);
                return if has_length { self.sized(kind, number) } else { self.complete_line() };
            }
            b'\r' => *after_cr = true,
            _ if has_length => number.push(byte)?,
            _ => *after_cr = false,
        }
        if *len > MAX_LINE_LEN { Err(invalid("a line that is too long")) } else { Ok(()) }
    }

    /// The line of a value with a length has ended.
    fn sized(&mut self, kind: u8, number: Number) -> io::Result<()> {
        let may_be_null = matches!(kind, b'$' | b'*');
        if number.digits == 0 || number.is_negative && !may_be_null {
            return Err(invalid("a length that is not a number"));
        }
        if number.is_negative {
            return self.complete_line();
        }
        match kind {
            b'$' | b'!' | b'=' => {
                if number.value > self.max_len {
                    return Err(invalid("a value that is too long"));
                }
                self.state = State::Body { left: number.value + 2 };
            }
            _ => {
                let elements = if kind == b'%' { number.value * 2 } else { number.value };
                if elements > MAX_ELEMENTS || self.open.len() == MAX_DEPTH {
                    return Err(invalid("a value of too many elements"));
                }
                if elements == 0 {
                    return self.complete_line();
                }
                self.open.push(elements);
                self.state = State::Start;
            }
        }
        Ok(())
    }

    fn complete_line(&mut self) -> io::Result<()> {
        self.complete();
        Ok(())
    }

    /// A value has ended, and with it perhaps the arrays around it.
    fn complete(&mut self) {
        self.state = State::Start;
        while let Some(left) = self.open.last_mut() {
            *left -= 1;
            if *left > 0 {
                return;
            }
            self.open.pop();
        }
    }
}

impl Number {
    fn push(&mut self, byte: u8) -> io::Result<()> {
        match byte {
            b'-' if self.digits == 0 && !self.is_negative => self.is_negative = true,
            b'0'..=b'9' if self.digits < 10 => {
                self.digits += 1;
                self.value = self.value * 10 + usize::from(byte - b'0');
            }
            _ => return Err(invalid("a length that is not a number")),
        }
        Ok(())
    }
}

fn invalid(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("the broker sent {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const VALUES: &[u8] = b"+OK\r\n-ERR a \r b\r\n:-12\r\n$5\r\nab\r\nc\r\n$-1\r\n*-1\r\n*0\r\n%1\r\n+a\r\n_\r\n\
        >3\r\n+message\r\n$1\r\nc\r\n*2\r\n,1.5\r\n#t\r\n=5\r\ntxt:a\r\n(123\r\n~1\r\n!3\r\nERR\r\n";

    #[test]
    fn values_pass_in_any_chunks() {
        for size in 1..VALUES.len() {
            let mut guard = Guard::new(1000);
            for chunk in VALUES.chunks(size) {
                guard.check(chunk).unwrap();
            }
            assert!(matches!(guard.state, State::Start) && guard.open.is_empty() && guard.len == 0);
        }
    }

    #[test]
    fn values_without_measure_are_rejected_where_they_are_claimed() {
        let deep = b"*1\r\n".repeat(MAX_DEPTH + 1);
        let endless = [&b"+"[..], &vec![b'x'; MAX_LINE_LEN + 1]].concat();
        let many = [&b"*131072\r\n"[..], &b"_\r\n".repeat(MAX_ELEMENTS)].concat();
        let body = [&b"$500\r\n"[..], &[b'x'; 500], b"\r\n"].concat();
        let long = [&b"*3\r\n"[..], &body, &body].concat();
        for bytes in [
            &b"$1001\r\n"[..],
            b"*131073\r\n",
            b"%65537\r\n",
            b"$99999999999\r\n",
            b"*-5\r\n%-1\r\n",
            b"=-1\r\n",
            b"!\r\n",
            b"$x\r\n",
            b"$1-\r\n",
            b"|1\r\n",
            b"HTTP/1.1 400 Bad Request\r\n",
            b"\r\n",
            b"\0",
            &deep,
            &endless,
            &many,
            &long,
        ] {
            let mut guard = Guard::new(1000);
            if bytes.len() > MAX_LINE_LEN {
                guard = Guard::new(MAX_VALUE_LEN);
            }
            let error = guard.check(bytes).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        }
    }

    #[test]
    fn random_bytes_do_no_harm() {
        let mut random = 1_u64;
        let alphabet = b"+-:$*%>_#!=(0123459\r\n\r\n\r\nab";
        for _ in 0..2000 {
            let mut guard = Guard::new(1000);
            for _ in 0..200 {
                random ^= random << 13;
                random ^= random >> 7;
                random ^= random << 17;
                if guard.check(&[alphabet[random as usize % alphabet.len()]]).is_err() {
                    break;
                }
                assert!(guard.len <= 1000 && guard.open.len() <= MAX_DEPTH);
            }
        }
    }
}
