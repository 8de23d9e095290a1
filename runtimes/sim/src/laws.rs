//! The laws of a WebSocket, checked on the frames that each end of a connection writes: [`Laws`].

mod inflate;

use std::collections::VecDeque;

use inflate::Inflater;

/// A law that an end has broken, as the end of a sentence about it.
pub(crate) type Broken = &'static str;

/// The laws of one connection. Side 0 is the client.
#[derive(Default)]
pub(crate) struct Laws {
    ends: [End; 2],
    agreed: Agreed,
}

/// The result of the opening handshake.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Agreed {
    /// There is no response yet.
    #[default]
    Open,
    /// No extension.
    Nothing,
    /// `permessage-deflate` alone.
    Deflate,
    /// Extensions that may use any reserved bit.
    Other,
}

#[derive(Default)]
struct End {
    /// The bytes that it writes are not checked.
    is_exempt: bool,
    /// It sends pongs only to answer pings. A session of frames may send others.
    is_automatic: bool,
    /// The law that it broke before there was a response.
    broken_early: Option<Broken>,
    unfinished: Option<Data>,
    /// The frame whose payload is being written.
    frame: Frame,
    /// The bytes of an unfinished text that are not known to be valid.
    text: Vec<u8>,
    /// Decompresses its messages; `None` where no compression was agreed on, or after compressed data that cannot be judged.
    inflater: Option<Inflater>,
    /// The payload of a control frame, which may stand between fragments.
    control: Vec<u8>,
    /// The payloads of its pings that are not answered, oldest first.
    pings: VecDeque<Vec<u8>>,
    /// There were too many to keep: a pong may answer one that is forgotten.
    has_forgotten_pings: bool,
    has_closed: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Data {
    Text,
    Compressed {
        is_text: bool,
    },
    /// Binary, or what an unknown extension has changed: its bytes are not looked at.
    Bytes,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Frame {
    #[default]
    Bytes,
    Text {
        is_last: bool,
    },
    Compressed {
        is_text: bool,
        is_last: bool,
    },
    Ping,
    Pong,
    Close,
}

/// The head of a frame.
pub(crate) struct Head {
    /// FIN, the reserved bits and the opcode.
    pub(crate) first: u8,
    pub(crate) is_masked: bool,
    /// The number of bytes that encode the length, besides the seven bits.
    pub(crate) extended: usize,
    pub(crate) len: u64,
}

impl Laws {
    /// From now on, what this end writes is not checked.
    pub(crate) fn exempt(&mut self, side: usize) {
        self.ends[side].is_exempt = true;
    }

    /// Each pong of this end answers a ping.
    pub(crate) fn set_automatic(&mut self, side: usize) {
        self.ends[side].is_automatic = true;
    }

    /// Takes the head of the response that accepts the upgrade.
    pub(crate) fn accept(&mut self, head: &[u8]) -> Result<(), Broken> {
        let (agreed, parameters) = agreed(head);
        self.agreed = agreed;
        if agreed == Agreed::Deflate {
            for (end, forgets) in self.ends.iter_mut().zip(["client", "server"]) {
                let forgets = format!("{forgets}_no_context_takeover");
                let takes_over =
                    !parameters.split(';').any(|parameter| parameter.trim() == forgets);
                end.inflater = Some(Inflater::new(takes_over));
            }
        }
        let client = &mut self.ends[0];
        match client.broken_early.take().filter(|_| !client.is_exempt) {
            Some(broken) => Err(broken),
            None => Ok(()),
        }
    }

    /// Takes the head of a frame that `side` writes.
    pub(crate) fn frame(&mut self, side: usize, head: &Head) -> Result<(), Broken> {
        let checked = self.check_head(side, head);
        let end = &mut self.ends[side];
        end.control.clear();
        let is_last = head.first & FIN != 0;
        end.frame = match head.first & OPCODE {
            CLOSE => Frame::Close,
            PING => Frame::Ping,
            PONG => Frame::Pong,
            opcode => {
                let data = match (opcode, head.first & RSV) {
                    (CONTINUATION, _) => end.unfinished.unwrap_or(Data::Bytes),
                    (TEXT, 0) => Data::Text,
                    (_, RSV1) if end.inflater.is_some() => {
                        Data::Compressed { is_text: opcode == TEXT }
                    }
                    _ => Data::Bytes,
                };
                end.begin(data, is_last)
            }
        };
        end.has_closed |= end.frame == Frame::Close;
        self.judge(side, checked)
    }

    fn check_head(&self, side: usize, head: &Head) -> Result<(), Broken> {
        let (end, opcode) = (&self.ends[side], head.first & OPCODE);
        let is_control = opcode & 0x8 != 0;
        let is_first = matches!(opcode, TEXT | BINARY);
        let rsv = head.first & RSV;
        let has_bit_of_deflate = rsv == RSV1 && is_first;
        let may_have_rsv = match self.agreed {
            Agreed::Open | Agreed::Other => true,
            Agreed::Nothing => false,
            Agreed::Deflate => has_bit_of_deflate,
        };
        let least = match head.extended {
            0 => 0,
            2 => 126,
            _ => 1 << 16,
        };
        let is_final = head.first & FIN != 0;
        if end.has_closed {
            return Err("sends a frame after its Close frame (RFC 6455 §5.5.1)");
        }
        if matches!(opcode, 3..=7 | 11..) {
            return Err("sends an unknown opcode (RFC 6455 §5.2)");
        }
        if head.is_masked != (side == 0) {
            return Err("masks as its role does not allow (RFC 6455 §5.1)");
        }
        if rsv != 0 && !may_have_rsv {
            return Err("sets a reserved bit that was not negotiated (RFC 6455 §5.2)");
        }
        if is_control && !is_final {
            return Err("sends a control frame that is not final (RFC 6455 §5.5)");
        }
        if is_control && head.len > 125 {
            return Err("sends a control frame of more than 125 bytes (RFC 6455 §5.5)");
        }
        if head.len < least || head.len >> 63 != 0 {
            return Err("encodes a length in more bytes than it needs (RFC 6455 §5.2)");
        }
        if opcode == CONTINUATION && end.unfinished.is_none() {
            return Err("continues a message that it has not begun (RFC 6455 §5.4)");
        }
        if is_first && end.unfinished.is_some() {
            return Err("begins a message before the last one is finished (RFC 6455 §5.4)");
        }
        Ok(())
    }

    /// Returns true if [`payload`](Self::payload) looks at the bytes of the present frame.
    pub(crate) fn wants_payload(&self, side: usize) -> bool {
        let End { frame, is_exempt, .. } = &self.ends[side];
        match frame {
            Frame::Bytes => false,
            Frame::Text { .. } | Frame::Compressed { .. } => !is_exempt,
            Frame::Ping | Frame::Pong | Frame::Close => true,
        }
    }

    /// Takes the next bytes of the payload, without the mask.
    pub(crate) fn payload(&mut self, side: usize, bytes: &[u8]) -> Result<(), Broken> {
        let end = &mut self.ends[side];
        let checked = match end.frame {
            Frame::Text { .. } => check_text(&mut end.text, bytes),
            Frame::Compressed { is_text, .. } => {
                end.inflate(is_text, |inflater, take| inflater.inflate(bytes, take))
            }
            Frame::Bytes | Frame::Ping | Frame::Pong | Frame::Close => {
                end.control.extend_from_slice(bytes);
                Ok(())
            }
        };
        self.judge(side, checked)
    }

    /// The payload of the present frame is complete.
    pub(crate) fn end_of_frame(&mut self, side: usize) -> Result<(), Broken> {
        let checked = match self.ends[side].frame {
            Frame::Text { is_last: true } => self.ends[side].check_end_of_text(),
            Frame::Compressed { is_text, is_last: true } => {
                let end = &mut self.ends[side];
                end.inflate(is_text, |inflater, take| inflater.end_of_message(take))
                    .and_then(|()| end.check_end_of_text())
            }
            Frame::Close => check_close(&self.ends[side].control),
            Frame::Ping => {
                let end = &mut self.ends[side];
                if end.pings.len() == PINGS {
                    end.has_forgotten_pings = true;
                    end.pings.pop_front();
                }
                end.pings.push_back(end.control.clone());
                Ok(())
            }
            Frame::Pong => self.check_pong(side),
            Frame::Text { .. } | Frame::Compressed { .. } | Frame::Bytes => Ok(()),
        };
        self.judge(side, checked)
    }

    /// A pong answers the pings up to the one with its payload.
    fn check_pong(&mut self, side: usize) -> Result<(), Broken> {
        let pong = std::mem::take(&mut self.ends[side].control);
        let has_forgotten = self.ends[1 - side].has_forgotten_pings;
        let pings = &mut self.ends[1 - side].pings;
        let answered = pings.iter().position(|ping| *ping == pong);
        match answered {
            Some(index) => drop(pings.drain(..=index)),
            None if !self.ends[side].is_automatic || has_forgotten => {}
            None => return Err("sends a pong that answers no ping (RFC 6455 §5.5.3)"),
        }
        Ok(())
    }

    /// An end shuts its direction down. `has_read` is true if it has read all that its peer wrote.
    pub(crate) fn shut_down(&mut self, side: usize, has_read: bool) -> Result<(), Broken> {
        let [end, peer] = [&self.ends[side], &self.ends[1 - side]];
        let has_to_answer = has_read && peer.has_closed && !peer.is_exempt;
        let checked = match has_to_answer && !end.has_closed && self.agreed != Agreed::Open {
            true => Err("shuts down without answering a Close frame (RFC 6455 §5.5.1)"),
            false => Ok(()),
        };
        self.judge(side, checked)
    }

    /// Returns the law, unless nothing is checked at this end, or not yet.
    fn judge(&mut self, side: usize, checked: Result<(), Broken>) -> Result<(), Broken> {
        let end = &mut self.ends[side];
        let Err(broken) = checked else { return Ok(()) };
        if end.is_exempt {
            return Ok(());
        }
        if self.agreed == Agreed::Open {
            end.broken_early.get_or_insert(broken);
            return Ok(());
        }
        Err(broken)
    }
}

impl End {
    fn begin(&mut self, data: Data, is_last: bool) -> Frame {
        if self.unfinished.is_none() {
            self.text.clear();
        }
        self.unfinished = (!is_last).then_some(data);
        match data {
            Data::Text => Frame::Text { is_last },
            Data::Compressed { is_text } => Frame::Compressed { is_text, is_last },
            Data::Bytes => Frame::Bytes,
        }
    }

    /// Decompresses bytes of a message by `step`, and checks the result if it is text.
    fn inflate(
        &mut self,
        is_text: bool,
        step: impl FnOnce(&mut Inflater, &mut TakeText<'_>) -> Result<bool, Broken>,
    ) -> Result<(), Broken> {
        let Some(inflater) = &mut self.inflater else { return Ok(()) };
        let text = &mut self.text;
        let goes_on = step(inflater, &mut |clear| match is_text {
            true => check_text(text, clear),
            false => Ok(()),
        })?;
        if !goes_on {
            self.inflater = None;
            self.text.clear();
        }
        Ok(())
    }

    fn check_end_of_text(&self) -> Result<(), Broken> {
        match self.text.is_empty() {
            true => Ok(()),
            false => Err("sends text that ends within a character (RFC 6455 §5.6)"),
        }
    }
}

/// Takes decompressed bytes.
type TakeText<'a> = dyn FnMut(&[u8]) -> Result<(), Broken> + 'a;

/// Takes the next bytes of a text. `text` are those before them that are not known to be valid, and afterwards those that are not.
fn check_text(text: &mut Vec<u8>, bytes: &[u8]) -> Result<(), Broken> {
    if text.is_empty() && (bytes.is_ascii() || str::from_utf8(bytes).is_ok()) {
        return Ok(());
    }
    text.extend_from_slice(bytes);
    match str::from_utf8(text) {
        Ok(_) => text.clear(),
        Err(error) if error.error_len().is_none() => drop(text.drain(..error.valid_up_to())),
        Err(_) => return Err("sends text that is not UTF-8 (RFC 6455 §5.6)"),
    }
    Ok(())
}

fn check_close(payload: &[u8]) -> Result<(), Broken> {
    let Some((code, text)) = payload.split_first_chunk() else {
        return match payload {
            [] => Ok(()),
            _ => Err("sends a Close frame with half a code (RFC 6455 §5.5.1)"),
        };
    };
    match u16::from_be_bytes(*code) {
        1000..=1003 | 1007..=1014 | 3000..=4999 => {}
        _ => return Err("sends a Close code that may not be sent (RFC 6455 §7.4)"),
    }
    str::from_utf8(text)
        .map(drop)
        .map_err(|_| "sends a Close reason that is not UTF-8 (RFC 6455 §5.5.1)")
}

/// Returns which extensions a response accepts, and the parameters of the last one.
fn agreed(head: &[u8]) -> (Agreed, String) {
    let fields = head.split(|byte| *byte == b'\n').filter_map(|line| {
        let colon = line.iter().position(|byte| *byte == b':')?;
        Some((&line[..colon], &line[colon + 1..]))
    });
    let values = fields.filter(|(name, _)| name.eq_ignore_ascii_case(b"sec-websocket-extensions"));
    let mut agreed = (Agreed::Nothing, String::new());
    for (_, value) in values {
        let value = String::from_utf8_lossy(value).to_ascii_lowercase();
        for extension in value.split(',') {
            let (name, parameters) = extension.split_once(';').unwrap_or((extension, ""));
            agreed = match (agreed.0, name.trim()) {
                (_, "") => agreed,
                (Agreed::Nothing, "permessage-deflate") => (Agreed::Deflate, parameters.to_owned()),
                _ => (Agreed::Other, String::new()),
            };
        }
    }
    agreed
}

/// The number of pings that are kept.
const PINGS: usize = 1024;

const FIN: u8 = 0x80;
const RSV: u8 = 0x70;
const RSV1: u8 = 0x40;
const OPCODE: u8 = 0x0f;
const CONTINUATION: u8 = 0;
const TEXT: u8 = 1;
const BINARY: u8 = 2;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;

#[cfg(test)]
mod tests {
    use super::{FIN, Head, Laws, PING, PINGS, PONG};

    fn write(laws: &mut Laws, side: usize, opcode: u8, payload: &[u8]) -> Result<(), &'static str> {
        let (first, len) = (FIN | opcode, payload.len() as u64);
        laws.frame(side, &Head { first, is_masked: side == 0, extended: 0, len })?;
        laws.payload(side, payload)?;
        laws.end_of_frame(side)
    }

    #[test]
    fn the_pongs_of_an_automatic_end_repeat_the_pings_in_order() {
        let mut laws = Laws::default();
        laws.set_automatic(0);
        laws.accept(b"HTTP/1.1 101\r\n\r\n").unwrap();
        for ping in [b"1", b"2", b"3"] {
            write(&mut laws, 1, PING, ping).unwrap();
        }
        // The second answers the first too (RFC 6455 §5.5.3).
        assert_eq!(write(&mut laws, 0, PONG, b"2"), Ok(()));
        let broken = "sends a pong that answers no ping (RFC 6455 §5.5.3)";
        assert_eq!(write(&mut laws, 0, PONG, b"1"), Err(broken));
        assert_eq!(write(&mut laws, 0, PONG, b"other"), Err(broken));
        assert_eq!(write(&mut laws, 0, PONG, b"3"), Ok(()));
        assert_eq!(write(&mut laws, 0, PONG, b""), Err(broken));
        // The server is not known to be automatic.
        assert_eq!(write(&mut laws, 1, PONG, b""), Ok(()));
    }

    /// Memory is bounded: beyond the bound, a pong has the benefit of the doubt.
    #[test]
    fn a_pong_may_answer_a_ping_that_is_forgotten() {
        for (pings, allowed) in [(PINGS, false), (PINGS + 1, true)] {
            let mut laws = Laws::default();
            laws.set_automatic(0);
            laws.accept(b"HTTP/1.1 101\r\n\r\n").unwrap();
            for ping in 0..pings {
                write(&mut laws, 1, PING, &ping.to_be_bytes()).unwrap();
            }
            assert_eq!(laws.ends[1].pings.len(), PINGS);
            assert_eq!(write(&mut laws, 0, PONG, b"unknown").is_ok(), allowed, "{pings} pings");
            // Those that are kept are answered as ever.
            assert_eq!(write(&mut laws, 0, PONG, &(pings - 1).to_be_bytes()), Ok(()));
            assert!(laws.ends[1].pings.is_empty());
        }
    }
}
