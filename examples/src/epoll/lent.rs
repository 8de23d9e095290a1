//! The buffers that the loop lends to one peer at a time, so that an idle peer owns none: [`Lent`].

use std::io::{self, Read};
use std::mem;

use bytes::BytesMut;
use sockless_core::{Connection, Staging};

/// The most bytes of one read, and of one write of short frames.
const LEN: usize = 64 << 10;

/// The beginning of a frame up to this length is copied to a block of its own; a longer one keeps the
/// buffer that it was read into.
const LEFTOVER_LEN: usize = 4 << 10;

/// A buffer that has grown past this is given back to the allocator.
const KEPT_LEN: usize = 4 * LEN;

/// The loop's own buffers.
#[derive(Default)]
pub(crate) struct Lent {
    /// Sockets want initialised bytes to read into, which the room in a `BytesMut` is not.
    scratch: Vec<u8>,
    inbound: BytesMut,
    staging: Staging,
}

impl Lent {
    /// Lends the read buffer to a peer that has nothing left in one of its own.
    pub(crate) fn lend_inbound(&mut self, leftover: Option<Box<BytesMut>>) -> BytesMut {
        leftover.map_or_else(
            || {
                let mut inbound = mem::take(&mut self.inbound);
                // In the room that it has, once the payloads that were split off it are gone.
                inbound.reserve(LEN);
                inbound
            },
            |leftover| *leftover,
        )
    }

    /// Takes the read buffer back, and gives the peer what is left in it.
    pub(crate) fn take_inbound(&mut self, mut inbound: BytesMut) -> Option<Box<BytesMut>> {
        if inbound.len() > LEFTOVER_LEN {
            return Some(Box::new(inbound));
        }
        let leftover = (!inbound.is_empty()).then(|| Box::new(BytesMut::from(&inbound[..])));
        inbound.clear();
        // One of the peer's own may be too small to be worth lending, or too large to be kept. Of two the
        // lower stays: what is free above all that is in use the allocator can give back to the system.
        let is_useful = (LEFTOVER_LEN..=KEPT_LEN).contains(&inbound.capacity());
        let is_lower = self.inbound.capacity() == 0 || inbound.as_ptr() < self.inbound.as_ptr();
        if is_useful && is_lower {
            self.inbound = inbound;
        }
        leftover
    }

    /// Lends the room that frames are staged in; a connection that has frames waiting has it already.
    pub(crate) fn lend_staging(&mut self, connection: &mut Connection) {
        self.staging.reserve(LEN);
        self.staging = connection.outbound().lend(mem::take(&mut self.staging));
    }

    /// Takes that room back, unless frames wait in it.
    pub(crate) fn take_staging(&mut self, connection: &mut Connection) {
        let staging = connection.outbound().reclaim();
        if let Some(staging) = staging.filter(|staging| staging.capacity() <= KEPT_LEN) {
            self.staging = staging;
        }
    }

    /// Reads the bytes that are there, and returns their number.
    pub(crate) fn read(
        &mut self,
        stream: &mut impl Read,
        inbound: &mut BytesMut,
    ) -> io::Result<usize> {
        self.scratch.resize(LEN, 0);
        let len = loop {
            match stream.read(&mut self.scratch) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                read => break read?,
            }
        };
        inbound.extend_from_slice(&self.scratch[..len]);
        Ok(len)
    }
}
