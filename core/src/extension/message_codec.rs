//! Messages encoded and decoded outside of a connection: [`MessageCodec`].

use alloc::vec::Vec;

use bytes::BytesMut;

use super::codecs::{Codecs, Decoding};
use super::{Agreed, ChunkInfo, CodecError, Encoded};
use crate::error::ProtocolError;
use crate::frame::Rsv;
use crate::outgoing::OutgoingMessage;

/// Encodes and decodes messages as the extensions of one end of a connection do, outside of a connection: for observers
/// and proxies.
///
/// The codecs in an [`Agreed`] have a role. The messages of a client are decoded by those of a server, and the
/// messages of a server by those of a client, so that an observer of both directions has one `MessageCodec` for each.
/// `Negotiated::from_exchange` makes them out of a request and a response.
///
/// ```
/// # #[cfg(feature = "deflate")] {
/// use bytes::BytesMut;
/// use sockless_core::extension::{MessageCodec, Params};
/// use sockless_core::{Config, Deflate, Role};
///
/// let known = Config::default().extension(Deflate::default());
/// let answer = [Params::new("permessage-deflate").flag("server_no_context_takeover")];
/// let of = |role| {
///     let agreed = known.get_extensions().agreed(answer.to_vec(), role).expect("a known extension");
///     MessageCodec::new(agreed, 1 << 20)
/// };
/// let (mut client, mut server) = (of(Role::Client), of(Role::Server));
///
/// let text = "the same, ".repeat(20);
/// let sent = client.encode(text.clone())?;
/// assert!(sent.payload.len() < text.len());
///
/// // A client's message is decoded as a server does.
/// let mut received = BytesMut::new();
/// server.begin(sent.rsv)?;
/// server.decode(&sent.payload, true, &mut received)?;
/// assert_eq!(received, text);
/// # }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct MessageCodec {
    codecs: Codecs,
    max_len: u64,
    state: State,
}

/// The message that is being decoded.
#[derive(Debug)]
enum State {
    /// Its first frame has these bits, and nothing of it has been decoded.
    Begun(Rsv),
    Decoding(Decoding),
    /// It has no bit of an extension; this is its length so far.
    Plain(u64),
    Failed(ProtocolError),
}

impl MessageCodec {
    /// Creates the codec of an end that agreed on `extensions`, which decodes messages of up to `max_len` bytes.
    pub fn new(extensions: Vec<Agreed>, max_len: u64) -> Self {
        Self { codecs: Codecs::new(extensions), max_len, state: State::Plain(0) }
    }

    /// Returns the reserved bits that the extensions use.
    pub fn rsv(&self) -> Rsv {
        self.codecs.rsv()
    }

    /// Encodes a whole message. Set the returned bits on its first frame.
    ///
    /// # Errors
    ///
    /// If an extension cannot encode it. With context takeover, no message may be sent after that.
    pub fn encode(&mut self, message: impl Into<OutgoingMessage>) -> Result<Encoded, CodecError> {
        let outgoing = message.into();
        let compress = outgoing.compress();
        let message = outgoing.into_message();
        let info = ChunkInfo { is_text: message.is_text(), first: true, last: true, compress };
        self.codecs.encode(info, message.into_bytes()).map_err(|(_, error)| error)
    }

    /// Begins to decode a message whose first frame has the bits `rsv`. What is left of the message before it is
    /// dropped.
    ///
    /// # Errors
    ///
    /// [`ProtocolError::ReservedBitSet`] if no extension uses one of the bits, or the error of an earlier message. The
    /// error is final, since with context takeover each message depends on those before it.
    pub fn begin(&mut self, rsv: Rsv) -> Result<(), ProtocolError> {
        if let State::Failed(error) = self.state {
            return Err(error);
        }
        if !self.rsv().contains(rsv) {
            return Err(self.fail(ProtocolError::ReservedBitSet));
        }
        self.state = if rsv == Rsv::NONE { State::Plain(0) } else { State::Begun(rsv) };
        Ok(())
    }

    /// Decodes the next bytes of the message, unmasked, and appends the result to `out`. `last` is true if the message
    /// ends with them.
    ///
    /// At most `max_len` bytes are appended for one message, whatever its chunks inflate to.
    ///
    /// # Errors
    ///
    /// [`ProtocolError::MessageTooLong`] if the message is longer than `max_len` bytes,
    /// [`ProtocolError::CodecFailed`] if an extension cannot decode it. The error is final; what was decoded before it
    /// has been appended.
    pub fn decode(
        &mut self,
        chunk: &[u8],
        last: bool,
        out: &mut BytesMut,
    ) -> Result<(), ProtocolError> {
        if let State::Begun(rsv) = self.state {
            self.state = State::Decoding(self.codecs.begin(rsv, chunk.len() as u64));
        }
        let decoded = match &mut self.state {
            State::Failed(error) => return Err(*error),
            State::Begun(_) => return Ok(()),
            State::Plain(len) => append(chunk, len, self.max_len, out),
            State::Decoding(decoding) => {
                inflate(&mut self.codecs, decoding, chunk, last, self.max_len, out)
            }
        };
        decoded.map_err(|error| self.fail(error))?;
        if last {
            self.state = State::Plain(0);
        }
        Ok(())
    }

    fn fail(&mut self, error: ProtocolError) -> ProtocolError {
        self.state = State::Failed(error);
        error
    }
}

fn append(chunk: &[u8], len: &mut u64, max: u64, out: &mut BytesMut) -> Result<(), ProtocolError> {
    *len = len.saturating_add(chunk.len() as u64);
    if *len > max {
        return Err(ProtocolError::MessageTooLong { len: *len, max });
    }
    out.extend_from_slice(chunk);
    Ok(())
}

fn inflate(
    codecs: &mut Codecs,
    decoding: &mut Decoding,
    mut chunk: &[u8],
    last: bool,
    max: u64,
    out: &mut BytesMut,
) -> Result<(), ProtocolError> {
    if chunk.is_empty() && !last {
        return Ok(());
    }
    loop {
        // Room for one byte more than is allowed shows whether the message is too long.
        let room = usize::try_from(max.saturating_sub(decoding.len())).unwrap_or(usize::MAX);
        let step = decoding.step(codecs, chunk, last, room.saturating_add(1))?;
        if step.len > max {
            return Err(ProtocolError::MessageTooLong { len: step.len, max });
        }
        out.extend_from_slice(step.output);
        chunk = &chunk[step.read..];
        if step.done {
            return Ok(());
        }
    }
}

#[cfg(all(test, feature = "deflate"))]
mod tests {
    use alloc::string::String;

    use super::*;
    use crate::config::Config;
    use crate::deflate::Deflate;
    use crate::extension::Params;
    use crate::message::Message;
    use crate::role::Role;

    fn codec(params: Params, role: Role, max_len: u64) -> MessageCodec {
        let known = Config::default().extension(Deflate::default().min_len(1));
        MessageCodec::new(known.get_extensions().agreed([params].into(), role).unwrap(), max_len)
    }

    fn plain() -> Params {
        Params::new("permessage-deflate")
    }

    /// Decodes a message in chunks of `len` bytes.
    fn decode(
        codec: &mut MessageCodec,
        encoded: &Encoded,
        len: usize,
    ) -> Result<BytesMut, ProtocolError> {
        let mut out = BytesMut::new();
        codec.begin(encoded.rsv)?;
        for chunk in encoded.payload.chunks(len) {
            codec.decode(chunk, false, &mut out)?;
        }
        codec.decode(&[], true, &mut out)?;
        Ok(out)
    }

    #[test]
    fn both_directions_decode_with_and_without_takeover_in_any_chunks() {
        let flags = ["client_no_context_takeover", "server_no_context_takeover"];
        let terms = [plain(), plain().flag(flags[0]), plain().flag(flags[0]).flag(flags[1])];
        let texts: [String; 3] = ["one, two, ".repeat(40), "one, two, ".repeat(3), "x".into()];
        for params in terms {
            for (from, to) in [(Role::Client, Role::Server), (Role::Server, Role::Client)] {
                for chunk in [1, 7, 1000] {
                    let mut sender = codec(params.clone(), from, 1 << 20);
                    let mut receiver = codec(params.clone(), to, 1 << 20);
                    for text in &texts {
                        let sent = sender.encode(text.clone()).unwrap();
                        assert_eq!(decode(&mut receiver, &sent, chunk).unwrap(), **text);
                    }
                    let secret = Message::from("plain, plain, plain").uncompressed();
                    let sent = sender.encode(secret).unwrap();
                    assert_eq!(sent.rsv, Rsv::NONE);
                    assert_eq!(decode(&mut receiver, &sent, chunk).unwrap(), "plain, plain, plain");
                }
            }
        }
    }

    #[test]
    fn a_message_is_decoded_up_to_its_limit_and_no_further() {
        let bomb = codec(plain(), Role::Client, 0).encode("\0".repeat(1 << 20)).unwrap();
        for (max, fits) in [(1 << 20, true), ((1 << 20) - 1, false), (1000, false), (0, false)] {
            let mut receiver = codec(plain(), Role::Server, max);
            let mut out = BytesMut::new();
            receiver.begin(bomb.rsv).unwrap();
            let decoded = receiver.decode(&bomb.payload, true, &mut out);
            assert_eq!(decoded.is_ok(), fits, "{max}: {decoded:?}");
            assert!(out.len() as u64 <= max);
            if !fits {
                assert!(matches!(decoded, Err(ProtocolError::MessageTooLong { .. })));
                assert_eq!(receiver.begin(Rsv::NONE), decoded, "the error is final");
                assert_eq!(receiver.decode(b"x", true, &mut out), decoded);
            }
        }
        // A plain message has the same limit.
        let mut receiver = codec(plain(), Role::Server, 3);
        let mut out = BytesMut::new();
        receiver.begin(Rsv::NONE).unwrap();
        receiver.decode(b"abc", false, &mut out).unwrap();
        let error = ProtocolError::MessageTooLong { len: 4, max: 3 };
        assert_eq!(receiver.decode(b"d", true, &mut out), Err(error));
        assert_eq!(out, "abc");
    }

    #[test]
    fn invalid_bits_and_bytes_are_errors() {
        let mut receiver = codec(plain(), Role::Server, 1000);
        assert_eq!(receiver.rsv(), Rsv::RSV1);
        let corrupt = Encoded { rsv: Rsv::RSV1, payload: [0xFF; 9][..].into() };
        assert!(matches!(
            decode(&mut receiver, &corrupt, 2),
            Err(ProtocolError::CodecFailed { name: "permessage-deflate", .. })
        ));
        let mut receiver = codec(plain(), Role::Server, 1000);
        assert_eq!(receiver.begin(Rsv::RSV2), Err(ProtocolError::ReservedBitSet));
    }

    #[test]
    fn answers_that_no_server_can_give_are_rejected() {
        let known = Config::default().extension(Deflate::default());
        let agreed = |params: Params| known.get_extensions().agreed([params].into(), Role::Client);
        assert!(agreed(plain().with("server_max_window_bits", "9")).is_ok());
        for params in [
            plain().flag("client_max_window_bits"),
            plain().with("server_max_window_bits", "7"),
            plain().flag("unknown"),
            Params::new("x-other"),
        ] {
            assert_eq!(agreed(params.clone()).unwrap_err(), params);
        }
    }
}
