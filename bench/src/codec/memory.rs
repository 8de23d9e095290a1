//! A transport that is memory, for codecs that want one.

use std::hint::black_box;
use std::io::{self, Read, Write};

/// Gives what it was filled with, then would block; swallows what is written.
#[derive(Default)]
pub struct Memory {
    bytes: Vec<u8>,
    read: usize,
}

impl Memory {
    /// Has `bytes` arrive.
    pub fn fill(&mut self, bytes: &[u8]) {
        self.bytes.clear();
        self.bytes.extend_from_slice(bytes);
        self.read = 0;
    }
}

impl Read for Memory {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let len = (&self.bytes[self.read..]).read(buffer)?;
        self.read += len;
        if len == 0 { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(len) }
    }
}

impl Write for Memory {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(black_box(bytes).len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
