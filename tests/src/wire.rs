//! Frames written and read by hand, with nothing of what is tested.

/// The first byte of an unfragmented text frame.
pub const TEXT: u8 = 0x81;
/// The first byte of an unfragmented binary frame.
pub const BINARY: u8 = 0x82;
/// The first byte of a Close frame.
pub const CLOSE: u8 = 0x88;
/// The first byte of a ping.
pub const PING: u8 = 0x89;
/// The first byte of a pong.
pub const PONG: u8 = 0x8A;
/// The first byte of the first fragment of a text message.
pub const TEXT_BEGINS: u8 = 0x01;
/// The first byte of the first fragment of a binary message.
pub const BINARY_BEGINS: u8 = 0x02;
/// The first byte of a fragment that neither begins nor ends a message.
pub const GOES_ON: u8 = 0x00;
/// The first byte of the last fragment of a message.
pub const ENDS: u8 = 0x80;

/// The key that hand-written frames are masked with.
pub const KEY: [u8; 4] = [0x37, 0xFA, 0x21, 0x3D];

/// The role that writes the frames: a client masks them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Writer {
    /// True if the frames are masked.
    pub masks: bool,
}

impl Writer {
    /// A frame with this first byte.
    pub fn frame(self, first: u8, payload: impl AsRef<[u8]>) -> Vec<u8> {
        let payload = payload.as_ref();
        let mut bytes = self.header(first, payload.len() as u64);
        let start = bytes.len();
        bytes.extend_from_slice(payload);
        if self.masks {
            for (i, byte) in bytes[start..].iter_mut().enumerate() {
                *byte ^= KEY[i % 4];
            }
        }
        bytes
    }

    /// A header that claims `len` bytes of payload, in the fewest bytes that can say it.
    pub fn header(self, first: u8, len: u64) -> Vec<u8> {
        match len {
            0..=125 => self.header_of_width(first, len, 0),
            126..=0xFFFF => self.header_of_width(first, len, 2),
            _ => self.header_of_width(first, len, 8),
        }
    }

    /// A header whose length takes `width` more bytes, whether or not it needs them.
    pub fn header_of_width(self, first: u8, len: u64, width: usize) -> Vec<u8> {
        let mask = if self.masks { 0x80 } else { 0 };
        let short = match width {
            0 => len as u8,
            2 => 126,
            _ => 127,
        };
        let mut bytes = vec![first, mask | short];
        bytes.extend_from_slice(&len.to_be_bytes()[8 - width..]);
        if self.masks {
            bytes.extend_from_slice(&KEY);
        }
        bytes
    }

    /// A whole text message.
    pub fn text(self, text: &str) -> Vec<u8> {
        self.frame(TEXT, text)
    }

    /// A whole binary message.
    pub fn binary(self, payload: impl AsRef<[u8]>) -> Vec<u8> {
        self.frame(BINARY, payload)
    }

    /// A ping.
    pub fn ping(self, payload: impl AsRef<[u8]>) -> Vec<u8> {
        self.frame(PING, payload)
    }

    /// A pong.
    pub fn pong(self, payload: impl AsRef<[u8]>) -> Vec<u8> {
        self.frame(PONG, payload)
    }

    /// A Close frame of this code and text.
    pub fn close(self, code: u16, text: &str) -> Vec<u8> {
        self.frame(CLOSE, close_body(code, text))
    }

    /// A message in as many frames as it has parts.
    pub fn fragments<P: AsRef<[u8]>>(self, begins: u8, parts: &[P]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (i, part) in parts.iter().enumerate() {
            let fin = if i + 1 == parts.len() { 0x80 } else { 0 };
            let opcode = if i == 0 { begins } else { GOES_ON };
            bytes.extend(self.frame(fin | opcode, part));
        }
        bytes
    }
}

/// The payload of a Close frame.
pub fn close_body(code: u16, text: &str) -> Vec<u8> {
    [&code.to_be_bytes(), text.as_bytes()].concat()
}

/// A frame as it was read off the wire, unmasked.
#[derive(Clone, PartialEq, Eq)]
pub struct Read {
    /// The first byte: FIN, reserved bits, opcode.
    pub first: u8,
    /// The masking key, if the frame was masked.
    pub key: Option<[u8; 4]>,
    /// The payload.
    pub payload: Vec<u8>,
}

impl std::fmt::Debug for Read {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let shown = &self.payload[..self.payload.len().min(40)];
        write!(f, "{:#04x} {:?}", self.first, String::from_utf8_lossy(shown))
    }
}

/// Reads frames off the wire; panics when they are not whole and well formed.
pub fn read_all(mut bytes: &[u8]) -> Vec<Read> {
    let mut frames = Vec::new();
    while !bytes.is_empty() {
        let (frame, rest) = read(bytes);
        frames.push(frame);
        bytes = rest;
    }
    frames
}

fn read(bytes: &[u8]) -> (Read, &[u8]) {
    let (first, second) = (bytes[0], bytes[1]);
    let width = match second & 0x7F {
        126 => 2,
        127 => 8,
        _ => 0,
    };
    let mut bytes = &bytes[2..];
    let len = if width == 0 {
        u64::from(second & 0x7F)
    } else {
        let mut wide = [0; 8];
        wide[8 - width..].copy_from_slice(&bytes[..width]);
        bytes = &bytes[width..];
        u64::from_be_bytes(wide)
    };
    let needed = match len {
        0..=125 => 0,
        126..=0xFFFF => 2,
        _ => 8,
    };
    assert_eq!(width, needed, "a length of {len} that is not minimal was sent");
    let key = (second & 0x80 != 0).then(|| {
        let (key, rest) = bytes.split_at(4);
        bytes = rest;
        [key[0], key[1], key[2], key[3]]
    });
    let (payload, rest) = bytes.split_at(len as usize);
    let mut payload = payload.to_vec();
    if let Some(key) = key {
        for (i, byte) in payload.iter_mut().enumerate() {
            *byte ^= key[i % 4];
        }
    }
    (Read { first, key, payload }, rest)
}
