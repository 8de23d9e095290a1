//! Properties of the reader and the writer of frames in chunks.

use bytes::{Bytes, BytesMut};
use sockless_core::frames::{FramePart, FrameReader, FrameRules, FrameWriter, WireHead};
use sockless_core::{Config, ProtocolError, Role, Seed};

use crate::laws::play_raw;

/// All that a reader makes of some bytes.
#[derive(Debug, PartialEq)]
struct Record {
    frames: Vec<Part>,
    error: Option<ProtocolError>,
    /// The number of bytes that the last frame lacks.
    remaining: u64,
    is_between_frames: bool,
}

/// A frame, as far as it has arrived, with its payload unmasked.
#[derive(Debug, PartialEq)]
struct Part {
    head: WireHead,
    payload: Vec<u8>,
    is_whole: bool,
}

/// The form in which a reader is given its bytes.
#[derive(Clone, Copy, Debug)]
enum Form {
    Slice,
    MutableSlice,
    Buffer,
}

/// Bytes cut anywhere give the same frames in every form, a writer reproduces them, and the strict rules are those of
/// a connection of frames.
pub fn assert_any_chunking_of_frames(rules: FrameRules, bytes: &[u8], chunks: &[usize]) {
    let whole = record(rules, bytes, &[usize::MAX], Form::Slice);
    for form in [Form::Slice, Form::MutableSlice, Form::Buffer] {
        for chunks in [chunks, &[1], &[usize::MAX]] {
            assert_eq!(whole, record(rules, bytes, chunks, form), "{form:?} {chunks:?}");
        }
    }
    assert_written_again(&whole, bytes, chunks);
    for sender in [Role::Client, Role::Server] {
        assert_agrees_with_a_connection(sender, bytes);
    }
}

/// A verbatim relay writes the frames that were read, and so does each end with masks of its own.
fn assert_written_again(whole: &Record, bytes: &[u8], chunks: &[usize]) {
    let writers =
        [FrameWriter::verbatim(), FrameWriter::client(Seed::new([7; 32])), FrameWriter::server()];
    for (kind, writer) in writers.into_iter().enumerate() {
        let written = relay(writer, bytes, chunks, kind > 0);
        let again = record(FrameRules::ANY, &written, chunks, Form::Slice);
        let unmasked = |part: &Part| {
            let head = WireHead { mask: None, ..part.head };
            let mask = if kind == 0 { part.head.mask } else { None };
            (head, mask, part.payload.clone(), part.is_whole)
        };
        let whole: Vec<_> = whole.frames.iter().map(unmasked).collect();
        // The rules of the record may have stopped it earlier.
        let again: Vec<_> = again.frames.iter().map(unmasked).take(whole.len()).collect();
        assert_eq!(whole, again, "writer {kind}");
    }
}

/// Passes every frame on that has an end.
fn relay(mut writer: FrameWriter, bytes: &[u8], chunks: &[usize], clear: bool) -> BytesMut {
    let mut reader = FrameReader::new(FrameRules::ANY);
    let (mut out, mut bytes) = (BytesMut::new(), bytes.to_vec());
    let mut rest = &mut bytes[..];
    for &len in chunks.iter().cycle() {
        let len = len.clamp(1, rest.len().max(1)).min(rest.len());
        let (mut chunk, after) = rest.split_at_mut(len);
        rest = after;
        loop {
            // A relay that masks anew is given clear payloads.
            let part = match clear {
                true => reader.read_mut(&mut chunk).map(shared),
                false => {
                    let mut masked = &*chunk;
                    let part = reader.read(&mut masked).map(shared);
                    let taken = chunk.len() - masked.len();
                    chunk = &mut chunk[taken..];
                    part
                }
            };
            match part.expect("every frame is accepted") {
                Some(FramePart::Head(head)) => writer.begin(&head, &mut out).expect("its turn"),
                Some(FramePart::Payload(part)) => writer.payload(&part, &mut out).expect("room"),
                Some(FramePart::End) => assert_eq!(writer.remaining(), 0),
                None => break,
            }
        }
        assert_eq!(reader.remaining(), writer.remaining());
        if rest.is_empty() {
            break;
        }
    }
    out
}

fn record(rules: FrameRules, bytes: &[u8], chunks: &[usize], form: Form) -> Record {
    let mut reader = FrameReader::new(rules);
    let (mut frames, mut error, mut rest) = (Vec::new(), None, bytes);
    for &len in chunks.iter().cycle() {
        let (chunk, after) = rest.split_at(len.clamp(1, rest.len().max(1)).min(rest.len()));
        rest = after;
        if let Err(broken) = read_all(&mut reader, chunk, form, &mut frames) {
            error = Some(broken);
            break;
        }
        if rest.is_empty() {
            break;
        }
    }
    let (remaining, is_between_frames) = (reader.remaining(), reader.is_between_frames());
    Record { frames, error, remaining, is_between_frames }
}

/// Reads all parts of `chunk` into `frames`.
fn read_all(
    reader: &mut FrameReader,
    chunk: &[u8],
    form: Form,
    frames: &mut Vec<Part>,
) -> Result<(), ProtocolError> {
    let (mut slice, mut copy) = (chunk, chunk.to_vec());
    let (mut mutable, mut buffer) = (&mut copy[..], BytesMut::from(chunk));
    loop {
        let part = match form {
            Form::Slice => reader.read(&mut slice).map(shared),
            Form::MutableSlice => reader.read_mut(&mut mutable).map(shared),
            Form::Buffer => reader.read_buf(&mut buffer),
        };
        match (part?, frames.last_mut()) {
            (Some(FramePart::Head(head)), _) => {
                frames.push(Part { head, payload: Vec::new(), is_whole: false });
            }
            (Some(FramePart::Payload(bytes)), Some(frame)) => {
                assert!(!bytes.is_empty());
                let (at, key) = (frame.payload.len(), frame.head.mask.unwrap_or_default());
                let is_masked = matches!(form, Form::Slice);
                frame.payload.extend(bytes.iter().enumerate().map(|(index, byte)| {
                    if is_masked { byte ^ key[(at + index) % 4] } else { *byte }
                }));
            }
            (Some(FramePart::End), Some(frame)) => {
                assert_eq!(frame.payload.len() as u64, frame.head.len);
                frame.is_whole = true;
            }
            (None, _) => return Ok(()),
            (Some(part), None) => panic!("{part:?} without a header"),
        }
    }
}

fn shared<B: AsRef<[u8]>>(part: Option<FramePart<B>>) -> Option<FramePart<Bytes>> {
    Some(match part? {
        FramePart::Head(head) => FramePart::Head(head),
        FramePart::Payload(bytes) => FramePart::Payload(Bytes::copy_from_slice(bytes.as_ref())),
        FramePart::End => FramePart::End,
    })
}

fn assert_agrees_with_a_connection(sender: Role, bytes: &[u8]) {
    let receiver = if sender == Role::Client { Role::Server } else { Role::Client };
    let ours = record(FrameRules::STRICT.sender(sender), bytes, &[usize::MAX], Form::Slice);
    let unlimited = Config::default().max_message_len(u64::MAX);
    let (frames, is_cut) = play_raw(receiver, &unlimited, bytes, &[]);
    let whole = ours.frames.iter().filter(|frame| frame.is_whole);
    let whole =
        whole.map(|frame| (frame.head.frame_head().expect("a known opcode"), &frame.payload));
    let (sound, broken): (Vec<_>, Vec<_>) = frames.into_iter().partition(Result::is_ok);
    let expected: Vec<_> = sound.into_iter().flatten().collect();
    assert!(
        whole.map(|(head, payload)| (head.fin, head.rsv, head.opcode, &payload[..])).eq(expected
            .iter()
            .map(|frame| (frame.fin, frame.rsv, frame.opcode, &frame.payload[..])))
    );
    // A connection waits for the whole header before it checks the mask.
    match (ours.error, broken.is_empty()) {
        (None, is_sound) => assert!(is_sound),
        (Some(_), is_sound) => assert!(!is_sound || is_cut),
    }
}
