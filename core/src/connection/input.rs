//! Input that is not in a read buffer: slices, and bytes that are owned.

use bytes::{Bytes, BytesMut};
use bytestring::ByteString;

use super::Connection;
use crate::error::ProtocolError;
use crate::event::Event;
use crate::frame::FrameHead;
use crate::mask;
use crate::message::Message;
use crate::raw::{Ending, Whole};
use crate::role::Role;
use crate::time::Instant;
use crate::turn::Output;

/// # Other input
///
/// [`poll_output`](Self::poll_output) and [`poll_event`](Self::poll_event) take bytes out of a
/// `BytesMut`, in place. These are for transports that give them otherwise.
impl Connection {
    /// Appends received bytes that are owned to a read buffer: without a copy if the buffer is empty
    /// and nothing else holds the bytes.
    ///
    /// ```
    /// use bytes::BytesMut;
    /// use sockless_core::Connection;
    ///
    /// let received = vec![0x81; 4096];
    /// let place = received.as_ptr();
    /// let mut inbound = BytesMut::new();
    /// Connection::append(&mut inbound, received);
    /// assert_eq!(inbound.as_ptr(), place);
    /// ```
    pub fn append(inbound: &mut BytesMut, received: impl Into<Bytes>) {
        let received = received.into();
        if !inbound.is_empty() {
            return inbound.extend_from_slice(&received);
        }
        match received.try_into_mut() {
            Ok(received) => *inbound = received,
            Err(shared) => inbound.extend_from_slice(&shared),
        }
    }

    /// Like [`poll_output`](Self::poll_output), with received bytes in a slice: takes from `input`
    /// what it can make use of. What is left belongs to the caller, who passes it again in the next
    /// call.
    ///
    /// `inbound` keeps the beginning of a frame that is incomplete, and is empty otherwise; it is to
    /// be the same one in each call. A binary message of one frame that is whole in `input` is copied
    /// once, out of it; text and fragments are copied twice.
    ///
    /// ```
    /// use bytes::BytesMut;
    /// use sockless_core::{Connection, Event, Instant, Message, Negotiated, Output, Seed};
    ///
    /// # let now = Instant::EPOCH;
    /// let seed = Seed::new([7; 32]);
    /// let mut client = Connection::client(Negotiated::default(), seed, Default::default(), now);
    /// let mut inbound = BytesMut::new();
    /// let mut input = &b"\x81\x05hello\x82\x05ag"[..];
    ///
    /// let output = client.poll_output_from(&mut input, &mut inbound, now);
    /// let Output::Event(Event::Message(message)) = output else { panic!("{output:?}") };
    /// assert_eq!(message, Message::from("hello"));
    /// assert_eq!(input.len(), 4, "the rest was not taken");
    ///
    /// let output = client.poll_output_from(&mut input, &mut inbound, now);
    /// assert!(matches!(output, Output::Wait(_)));
    /// assert_eq!((input.len(), inbound.len()), (0, 2), "half a payload was");
    /// ```
    pub fn poll_output_from(
        &mut self,
        input: &mut &[u8],
        inbound: &mut BytesMut,
        now: Instant,
    ) -> Output<'_> {
        self.output_of(input, inbound, now)
    }

    /// Like [`poll_event`](Self::poll_event), with received bytes in a slice as for
    /// [`poll_output_from`](Self::poll_output_from).
    pub fn poll_event_from(
        &mut self,
        input: &mut &[u8],
        inbound: &mut BytesMut,
        now: Instant,
    ) -> Option<Event> {
        self.raw.watch.at(now);
        let event = self.next_event_from(input, inbound, now);
        let event = event.or_else(|| self.handle_starved(inbound.len(), now));
        self.seen = inbound.len();
        event
    }
}

impl Connection {
    /// The next event of `inbound` and the bytes behind it.
    pub(super) fn next_event_from(
        &mut self,
        input: &mut &[u8],
        inbound: &mut BytesMut,
        now: Instant,
    ) -> Option<Event> {
        loop {
            if inbound.len() != self.seen {
                self.handle_received(inbound.len().saturating_sub(self.seen), now);
            }
            if inbound.is_empty()
                && let Some(whole) = self.whole_message(input)
            {
                self.seen = 0;
                return self.take_from(&whole, input, inbound, now);
            }
            let event = self.next_event(inbound, now);
            self.seen = inbound.len();
            if event.is_some() || input.is_empty() {
                return event;
            }
            let (taken, rest) = input.split_at(self.useful_len(input, inbound));
            inbound.extend_from_slice(taken);
            *input = rest;
        }
    }

    /// Takes a message of one frame, which is whole in `input`.
    fn take_from(
        &mut self,
        whole: &Whole,
        input: &mut &[u8],
        inbound: &mut BytesMut,
        now: Instant,
    ) -> Option<Event> {
        let (frame, rest) = input.split_at(whole.payload.end);
        *input = rest;
        self.handle_received(frame.len(), now);
        let (header, payload) = frame.split_at(whole.payload.start);
        let mut payload = BytesMut::from(payload);
        if self.role() == Role::Server
            && let Some(&key) = header.last_chunk()
        {
            mask::apply(&mut payload, key, 0);
        }
        self.raw.note_taken(whole.is_text, header, &payload);
        let payload = payload.freeze();
        let message = match whole.is_text {
            true => ByteString::try_from(payload).map(Message::Text),
            false => Ok(Message::Binary(payload)),
        };
        match message {
            Ok(message) => {
                self.timers.message_ended(now);
                Some(Event::Message(message))
            }
            Err(_) => {
                *input = &[];
                self.fail_protocol(ProtocolError::TextInvalid, inbound, now)
            }
        }
    }

    /// How many bytes of `input` to move behind `inbound`: those that complete its frame, so that the
    /// next frame may be taken from `input` itself. At least 1.
    fn useful_len(&self, input: &[u8], inbound: &BytesMut) -> usize {
        if self.raw.ending().is_some_and(Ending::discards_input) {
            return input.len();
        }
        let lacks = if self.raw.incoming.is_some() {
            self.raw.bytes_needed(inbound)
        } else {
            let mut head = [0; FrameHead::MAX_LEN];
            let known = inbound.len().min(head.len());
            let more = input.len().min(head.len() - known);
            head[..known].copy_from_slice(&inbound[..known]);
            head[known..known + more].copy_from_slice(&input[..more]);
            match FrameHead::decode(&head[..known + more]) {
                Ok(Some((head, len))) => {
                    head.len.saturating_add(len as u64).saturating_sub(inbound.len() as u64)
                }
                // Too short to be a header, or not a valid one.
                Ok(None) | Err(_) => more as u64,
            }
        };
        usize::try_from(lacks).unwrap_or(usize::MAX).clamp(1, input.len())
    }
}
