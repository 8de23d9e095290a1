//! Properties that hold for any bytes; used by the property tests and by the fuzz targets.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use sockless_core::{
    Chunk, CloseReason, Config, Event, Frame, Instant, ProtocolError, RawConnection, Role, Seed,
    TransportAction,
};

use crate::end::{End, broken_rule};
use crate::model::Model;
use crate::session::Setup;
use crate::wire;

/// When what waits to be sent is taken out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Draining {
    /// After each event.
    Always,
    /// At the end.
    Never,
}

/// The point at which the end of the transport is reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Eof {
    /// With the last bytes.
    Early,
    /// After everything has been polled.
    Late,
    /// Never.
    Not,
}

/// All that a session has to show.
#[derive(Debug, PartialEq)]
pub struct Record {
    /// The events.
    pub events: Vec<Event>,
    /// The bytes that were sent.
    pub replies: Vec<u8>,
    /// The action for the transport.
    pub transport: TransportAction,
    /// The next deadline.
    pub deadline: Option<Instant>,
}

/// Plays bytes to an end in chunks of these lengths, over and over.
pub fn play(
    role: Role,
    setup: &Setup,
    mut bytes: &[u8],
    chunks: &[usize],
    draining: Draining,
    eof: Eof,
) -> Record {
    let mut end = open(role, setup);
    let (mut events, mut replies) = (Vec::new(), Vec::new());
    if draining == Draining::Always {
        replies.extend(end.drain());
    }
    let mut chunks = chunks.iter().cycle();
    loop {
        let len = chunks.next().map_or(bytes.len(), |&len| len.max(1));
        let (chunk, rest) = bytes.split_at(len.min(bytes.len()));
        bytes = rest;
        end.inbound.extend_from_slice(chunk);
        if bytes.is_empty() && eof == Eof::Early {
            end.connection.handle_eof(end.now);
        }
        while let Some(event) = end.connection.poll_event(&mut end.inbound, end.now) {
            events.push(event);
            if draining == Draining::Always {
                replies.extend(end.drain());
            }
        }
        if bytes.is_empty() {
            break;
        }
    }
    if eof == Eof::Late {
        events.extend(end.eof());
    }
    replies.extend(end.drain());
    Record {
        events,
        replies,
        transport: end.connection.transport_action(),
        deadline: end.connection.poll_timeout(),
    }
}

/// Bytes split anywhere give the same events, the same replies and the same end, and so do their frames.
pub fn assert_any_chunking(role: Role, setup: &Setup, bytes: &[u8], chunks: &[usize]) {
    for draining in [Draining::Always, Draining::Never] {
        let whole = play(role, setup, bytes, &[], draining, Eof::Not);
        let cut = play(role, setup, bytes, chunks, draining, Eof::Not);
        assert_eq!(whole, cut, "{draining:?}");
        assert_ends_once(&whole.events);
        let late = play(role, setup, bytes, &[], draining, Eof::Late);
        assert!(matches!(late.events.last(), Some(Event::Closed(_))));
        assert_ends_once(&late.events);
        let early = play(role, setup, bytes, chunks, draining, Eof::Early);
        assert_eq!(late, early, "{draining:?}, eof");
    }
    let raw = play_raw(role, &setup.config(), bytes, &[]);
    assert_eq!(raw, play_raw(role, &setup.config(), bytes, chunks));
}

/// The frames of the lower layer, joined by the model, are the events of the upper layer.
pub fn assert_layers_agree(role: Role, setup: &Setup, bytes: &[u8]) {
    let unlimited = Config::default().max_message_len(u64::MAX);
    let (frames, missing) = play_raw(role, &unlimited, bytes, &[]);
    let mut model = Model::new(*setup);
    for frame in frames {
        match frame {
            Ok(frame) => model.receive(&frame),
            Err(error) => model.fail(error),
        }
    }
    let record = play(role, setup, bytes, &[], Draining::Always, Eof::Late);
    let sent = wire::read_all(&record.replies).into_iter();
    let replies: Vec<_> = sent
        .skip(usize::from(setup.closes) + usize::from(setup.sends_chunk))
        .map(|frame| (frame.first, frame.payload))
        .collect();
    if missing && !model.is_deaf() {
        // A frame that never became whole is the upper layer's to judge by what there is of it.
        assert!(record.events.starts_with(&model.events), "{record:?}, {model:?}");
        assert!(replies.starts_with(&model.replies), "{replies:?}, {model:?}");
    } else {
        model.eof();
        assert_eq!(record.events, model.events);
        assert_eq!(replies, model.replies);
    }
}

/// Plays bytes to the lower layer: what it yields, and whether a frame is missing bytes in the end.
pub fn play_raw(
    role: Role,
    config: &Config,
    bytes: &[u8],
    chunks: &[usize],
) -> (Vec<Result<Frame, ProtocolError>>, bool) {
    let config = Arc::new(config.clone());
    let mut raw = match role {
        Role::Client => RawConnection::client(Seed::new([7; 32]), config),
        Role::Server => RawConnection::server(config),
    };
    let mut frames = Vec::new();
    let mut inbound = BytesMut::new();
    let mut rest = bytes;
    for &len in chunks.iter().cycle() {
        let (chunk, after) = rest.split_at(len.clamp(1, rest.len().max(1)).min(rest.len()));
        rest = after;
        inbound.extend_from_slice(chunk);
        frames.extend(std::iter::from_fn(|| poll_frame(&mut raw, &mut inbound)));
        if rest.is_empty() {
            break;
        }
    }
    inbound.extend_from_slice(rest);
    frames.extend(std::iter::from_fn(|| poll_frame(&mut raw, &mut inbound)));
    let missing = raw.bytes_needed(&inbound) > 0 || !inbound.is_empty();
    (frames, missing)
}

fn poll_frame(
    raw: &mut RawConnection,
    inbound: &mut BytesMut,
) -> Option<Result<Frame, ProtocolError>> {
    raw.poll_frame(inbound, Instant::EPOCH).map(|polled| polled.map_err(broken_rule))
}

fn open(role: Role, setup: &Setup) -> End {
    let mut end = End::new(role, setup.config());
    if setup.sends_chunk {
        let data = Bytes::from_static(b"begun").into();
        let begun = end.connection.send_chunk(Chunk { data, last: false }, end.now);
        assert_eq!(begun, Ok(()));
    }
    if setup.closes {
        end.close(CloseReason::EMPTY);
    }
    end
}

fn assert_ends_once(events: &[Event]) {
    let is_end = |event: &&Event| matches!(event, Event::Closed(_));
    match events.iter().filter(is_end).count() {
        0 => {}
        1 => assert!(matches!(events.last(), Some(Event::Closed(_)))),
        more => panic!("{more} ends were reported: {events:?}"),
    }
}
