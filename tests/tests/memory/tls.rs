//! Memory of the TLS layer, counted: hostile peers, before and after the handshake.

use std::io::{self, IoSlice, Write as _};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};

use bytes::BytesMut;
use peakmem_alloc::PeakMemAllocTrait;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use sockless_core::Config;
use sockless_driver::tls::rustls::client::Resumption;
use sockless_driver::tls::rustls::pki_types::pem::PemObject;
use sockless_driver::tls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use sockless_driver::tls::rustls::{
    ClientConfig, ClientConnection, Connection, ConnectionTrafficSecrets, RootCertStore,
    ServerConfig, ServerConnection,
};
use sockless_driver::tls::{MEMORY_CEILING, TlsAcceptor, TlsConnector, TlsError};
use sockless_driver::{BoxFuture, Io, Session};
use sockless_tests::certificates::Authority;
use sockless_tests::served::{REQUEST, host};
use sockless_tests::wire::Writer;

use crate::{PEAK, held};

const NAME: &str = "example.com";

/// Types of records (RFC 8446 §5.1) and of handshake messages (§4).
const HANDSHAKE: u8 = 22;
const DATA: u8 = 23;
const CLIENT_HELLO: u8 = 1;
const NEW_SESSION_TICKET: u8 = 4;
const KEY_UPDATE: u8 = 24;

/// The longest plaintext of a record.
const RECORD_LEN: usize = 16 << 10;

/// What a thread needs in addition while it parses a message of a handshake.
const PARSING_LEN: usize = 2 << 20;

pub(crate) fn records_that_are_not_read_stay_under_the_ceiling() {
    for side in SIDES {
        for (len, count) in [(1, 60_000), (2, 60_000), (100, 10_000), (RECORD_LEN, 100)] {
            let (mut end, mut peer) = Established::new(side, 0);
            end.send(peer.records(DATA, &vec![7; len * count], len));
            // Room for one byte at a time.
            for _ in 0..2_000 {
                end.read(1);
            }
            assert!(end.is_open);
            end.check(&format!("{side:?}: records of {len} B that are not read"));
            assert!(!end.wire().is_drained(), "it was read to the end");
        }
    }
}

pub(crate) fn a_peer_that_does_not_read_stays_under_the_ceiling() {
    for side in SIDES {
        // Much more than it may take, in one slice and in many.
        for slice_len in [1 << 20, 1_000] {
            let (mut end, _) = Established::new(side, 0);
            end.wire().takes = 0;
            let payload = vec![7; 1 << 20];
            let slices: Vec<_> = payload.chunks(slice_len).map(IoSlice::new).collect();
            for takes in [0, 0, 1, 5_000, 0, 100, 0, 70_000, 0, 0] {
                end.wire().takes = takes;
                end.write(&slices);
            }
            end.check(&format!("{side:?}: slices of {slice_len} B to a peer that does not read"));
        }
    }
}

pub(crate) fn key_updates_that_cannot_be_answered_stay_under_the_ceiling() {
    for side in SIDES {
        let (mut end, peer) = Established::new(side, 0);
        let mut peer = peer.connection.unwrap();
        let slices = [IoSlice::new(&[7; 64 << 10])];
        end.wire().takes = 0;
        end.write(&slices);
        for _ in 0..2_000 {
            peer.refresh_traffic_keys().unwrap();
            // rustls counts the updates between data.
            peer.writer().write_all(b"x").unwrap();
            end.receive_from(&mut peer);
            end.read(1);
            end.write(&slices);
        }
        assert!(end.is_open, "it was ended");
        end.check(&format!("{side:?}: key updates whose answers cannot be written"));
    }
}

pub(crate) fn messages_after_the_handshake_stay_under_the_ceiling() {
    for side in SIDES {
        let first = if side == Side::Client { NEW_SESSION_TICKET } else { KEY_UPDATE };
        for len in [1, 7, 1_000, RECORD_LEN] {
            let (mut end, mut peer) = Established::new(side, 0);
            let mut message = vec![7; 60_000];
            message[..4].copy_from_slice(&[first, 0, 0xFF, 0xFF]);
            end.send(peer.records(HANDSHAKE, &message, len));
            for _ in 0..10_000 {
                end.read(4096);
            }
            // With their headers, short records are longer than what is held.
            assert_eq!(end.is_open, len >= 1_000, "{side:?}, records of {len} B");
            end.check(&format!("{side:?}: a message that does not end, in records of {len} B"));
        }
    }
}

pub(crate) fn a_flood_of_tickets_stays_under_the_ceiling() {
    for len in [1, 100, 40_000] {
        for record_len in [100, RECORD_LEN] {
            let (mut end, mut peer) = Established::new(Side::Client, 0);
            // As many as fit into a record: rustls lets go of records only where a message ends too.
            let tickets = ticket(len);
            let tickets = tickets.repeat((RECORD_LEN / tickets.len()).max(1));
            let flood = (0..100).flat_map(|_| peer.records(HANDSHAKE, &tickets, record_len));
            end.send(flood.collect());
            for _ in 0..50_000 {
                end.read(4096);
            }
            assert!(end.is_open && end.wire().is_drained());
            end.check(&format!("tickets of {len} B in records of {record_len} B"));
        }
    }
}

/// NewSessionTicket (RFC 8446 §4.6.1), with a ticket of `len` bytes.
fn ticket(len: usize) -> Vec<u8> {
    let body_len = (13 + len) as u32;
    let mut message = body_len.to_be_bytes().to_vec();
    message[0] = NEW_SESSION_TICKET;
    // A lifetime, an age and no nonce.
    message.extend_from_slice(&[0, 0, 1, 0, 1, 2, 3, 4, 0]);
    message.extend_from_slice(&(len as u16).to_be_bytes());
    message.resize(message.len() + len, 7);
    message.extend_from_slice(&[0, 0]);
    message
}

pub(crate) fn certificates_of_the_peer_stay_under_the_ceiling() {
    for extra in [0, 99] {
        let (end, _) = Established::new(Side::Client, extra);
        end.check(&format!("a chain of {} certificates", 1 + extra));
    }
    for extra in [100, 12_000] {
        let error = Established::shake_hands(Side::Client, extra).err().unwrap();
        println!("{error}");
        let found = format!("at most 100 certificates, found {}", 1 + extra);
        assert!(error.to_string().contains(&found), "{error}");
    }
}

pub(crate) fn handshakes_that_do_not_end_stay_under_the_ceiling() {
    let (acceptor, ..) = both_sides(0);
    let mut unfinished = vec![7; 60_000];
    unfinished[..4].copy_from_slice(&[CLIENT_HELLO, 0, 0xFF, 0xFF]);
    let mut attacks = Vec::new();
    for len in [1, 7, 1_000, RECORD_LEN] {
        attacks.push((
            format!("a hello that does not end, in records of {len} B"),
            plain(&unfinished, len),
        ));
    }
    let empty = [0, 0, 0, 0].repeat(RECORD_LEN / 4 * 4);
    attacks.push(("many empty messages in a record".to_owned(), plain(&empty, RECORD_LEN)));
    let hello = hello(&protocols());
    attacks
        .push(("a hello with as many protocols as possible".to_owned(), plain(&hello, RECORD_LEN)));

    for (name, records) in attacks {
        let wire = Wire::default();
        wire.lock().inbound = records;
        let mut meter = Meter::default();
        let io = Box::new(wire.clone());
        let mut accepting = meter.run(|| Box::pin(acceptor.accept(io)));
        for _ in 0..10_000 {
            let mut cx = Context::from_waker(Waker::noop());
            if meter.run(|| accepting.as_mut().poll(&mut cx).map(drop)).is_ready() {
                break;
            }
        }
        let Meter { held, most } = meter;
        println!("{name}: {held} of {MEMORY_CEILING} B are held, {most} B at most");
        assert!(held <= MEMORY_CEILING as isize, "{name}");
        assert!(most <= (MEMORY_CEILING + PARSING_LEN) as isize, "{name}");
    }
}

/// ALPN (RFC 7301 §3.1) with as many names as fit: each takes memory of its own.
fn protocols() -> Vec<u8> {
    let names = b"\x01x".repeat(32_000);
    let len = names.len() as u16;
    [&[0, 16][..], &(len + 2).to_be_bytes(), &len.to_be_bytes(), &names].concat()
}

/// A ClientHello (RFC 8446 §4.1.2) with these extensions.
fn hello(extensions: &[u8]) -> Vec<u8> {
    let mut body = vec![3, 3];
    body.extend_from_slice(&[7; 32]);
    body.extend_from_slice(&[0, 0, 2, 0x13, 0x02, 1, 0]);
    body.extend_from_slice(&(extensions.len() as u16).to_be_bytes());
    body.extend_from_slice(extensions);
    let mut message = (body.len() as u32).to_be_bytes().to_vec();
    message[0] = CLIENT_HELLO;
    message.extend_from_slice(&body);
    message
}

/// Unencrypted records of a handshake.
fn plain(message: &[u8], len: usize) -> Vec<u8> {
    let record =
        |part: &[u8]| [&[HANDSHAKE, 3, 1], &(part.len() as u16).to_be_bytes()[..], part].concat();
    message.chunks(len).flat_map(record).collect()
}

pub(crate) fn sessions_over_tls_stay_under_the_sum_of_both_ceilings() {
    let small = Config::default().max_message_len(1_000).read_ahead(1_000).high_water(1_000);
    for config in [small, Config::default().max_message_len(64 << 10)] {
        let ceiling = config.memory_ceiling() + MEMORY_CEILING;
        for (message_len, record_len) in [(0, 1), (1, 6), (1_000, 100), (1_000, RECORD_LEN)] {
            let mut served = Secured::new(config.clone(), async |session: Session| {
                session.closed().await;
            });
            let message = Writer { masks: true }.binary(vec![7; message_len]);
            let flood = message.repeat((1 << 20) / message.len());
            // In parts, for the time that a test takes.
            served.say(&flood[..flood.len().min(60_000 * record_len)], record_len);
            served.run(10_000);
            served.check(ceiling, &format!("{message_len} B in records of {record_len} B"));
        }
        let mut served = Secured::new(
            config,
            async |session: Session| {
                while session.send(vec![7; 1_000]).await.is_ok() {}
            },
        );
        served.end.wire().takes = 0;
        served.say(&Writer { masks: true }.ping([7; 125]).repeat(10_000), RECORD_LEN);
        served.run(1_000);
        served.check(ceiling, "a peer that sends pings and does not read");
    }
}

/// A server's session, and its peer.
struct Secured {
    end: Established<BoxFuture<'static, ()>>,
    peer: Peer,
}

impl Secured {
    fn new<F, Fut>(config: Config, handler: F) -> Self
    where
        F: Fn(Session) -> Fut + Send + Sync + 'static,
        Fut: Future<Output: sockless_driver::Outcome> + Send + 'static,
    {
        let host = host(config, handler);
        let (end, peer) = Established::new(Side::Server, 0);
        let Established { io, wire, mut meter, .. } = end;
        let serving = meter.run(|| Box::pin(host.serve_connection(io, None, None)) as _);
        let mut served =
            Self { end: Established { io: serving, wire, meter, is_open: true }, peer };
        served.say(REQUEST, RECORD_LEN);
        served.run(1);
        served
    }

    fn say(&mut self, plaintext: &[u8], record_len: usize) {
        let records = self.peer.records(DATA, plaintext, record_len);
        self.end.send(records);
    }

    /// Polls it up to `times` times.
    fn run(&mut self, times: usize) {
        let Established { io, meter, .. } = &mut self.end;
        let mut cx = Context::from_waker(Waker::noop());
        for _ in 0..times {
            assert!(meter.run(|| io.as_mut().poll(&mut cx)).is_pending(), "it has ended");
        }
    }

    fn check(&self, ceiling: usize, name: &str) {
        let most = self.end.meter.most;
        println!("a session over TLS, {name}: {most} of {ceiling} B");
        assert!(most <= ceiling as isize, "{name}");
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Client,
    Server,
}

const SIDES: [Side; 2] = [Side::Client, Side::Server];

/// The end that is measured, after its handshake.
struct Established<T = Box<dyn Io>> {
    io: T,
    wire: Wire,
    meter: Meter,
    is_open: bool,
}

impl Established {
    fn new(side: Side, extra: usize) -> (Self, Peer) {
        Self::shake_hands(side, extra).unwrap_or_else(|error| panic!("{error}"))
    }

    /// Performs the handshake with a peer of rustls. A server's chain has `extra` empty certificates.
    fn shake_hands(side: Side, extra: usize) -> Result<(Self, Peer), TlsError> {
        let (acceptor, connector, server, client) = both_sides(extra);
        let mut peer = match side {
            Side::Client => Connection::from(ServerConnection::new(server).unwrap()),
            Side::Server => {
                let name = ServerName::try_from(NAME).unwrap();
                ClientConnection::new(client, name).unwrap().into()
            }
        };
        let wire = Wire::default();
        let mut meter = Meter::default();
        let io = Box::new(wire.clone());
        let mut shaking: BoxFuture<'_, _> = match side {
            Side::Client => meter.run(|| Box::pin(connector.connect(NAME, io)) as _),
            Side::Server => meter.run(|| Box::pin(acceptor.accept(io)) as _),
        };
        let mut cx = Context::from_waker(Waker::noop());
        let io = loop {
            wire.receive_from(&mut peer);
            if let Poll::Ready(io) = meter.run(|| shaking.as_mut().poll(&mut cx)) {
                break io?;
            }
            wire.pass_to(&mut peer);
        };
        wire.pass_to(&mut peer);
        wire.receive_from(&mut peer);
        let mut end = Self { io, wire, meter, is_open: true };
        // Tickets.
        end.read(1);
        end.read(1);
        Ok((end, Peer::new(peer)))
    }

    /// Reads once, with room for `room` bytes.
    fn read(&mut self, room: usize) {
        let mut buffer = BytesMut::with_capacity(room);
        let mut cx = Context::from_waker(Waker::noop());
        let is_open = self.meter.run(|| match self.io.poll_read(&mut cx, &mut buffer) {
            Poll::Ready(Ok(len)) => len > 0,
            Poll::Ready(Err(_)) => false,
            Poll::Pending => true,
        });
        self.is_open &= is_open;
    }

    fn write(&mut self, slices: &[IoSlice<'_>]) {
        let mut cx = Context::from_waker(Waker::noop());
        let write = || !matches!(self.io.poll_write(&mut cx, slices), Poll::Ready(Err(_)));
        self.is_open &= self.meter.run(write);
    }

    fn receive_from(&self, peer: &mut Connection) {
        self.wire.receive_from(peer);
    }

    fn check(&self, name: &str) {
        let Meter { held, most } = self.meter;
        println!("{name}: {held} B are held, {most} of {MEMORY_CEILING} B at most");
        assert!(most <= MEMORY_CEILING as isize, "{name}");
    }
}

impl<T> Established<T> {
    fn wire(&self) -> MutexGuard<'_, WireState> {
        self.wire.lock()
    }

    /// Has it receive these bytes next.
    fn send(&self, bytes: Vec<u8>) {
        let mut wire = self.wire();
        assert!(wire.is_drained(), "all was received");
        (wire.inbound, wire.at) = (bytes, 0);
    }
}

/// Both sides of this library, and the settings of rustls for their peers.
fn both_sides(extra: usize) -> (TlsAcceptor, TlsConnector, Arc<ServerConfig>, Arc<ClientConfig>) {
    let authority = Authority::new();
    let identity = authority.issue(NAME);
    let mut chain: Vec<_> = CertificateDer::pem_slice_iter(identity.chain.as_bytes())
        .collect::<Result<_, _>>()
        .unwrap();
    chain.resize(chain.len() + extra, CertificateDer::from(Vec::new()));
    let key = PrivateKeyDer::from_pem_slice(identity.key.as_bytes()).unwrap();
    let mut server =
        ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key).unwrap();
    server.enable_secret_extraction = true;
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(authority.pem().as_bytes()).unwrap()).unwrap();
    let mut client = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    client.enable_secret_extraction = true;
    // The tickets of a connector are not a connection's.
    client.resumption = Resumption::disabled();
    let (server, client) = (Arc::new(server), Arc::new(client));
    (server.clone().into(), client.clone().into(), server, client)
}

/// A peer after its handshake, which sends records of any kind.
struct Peer {
    connection: Option<Connection>,
    sealer: Option<(LessSafeKey, [u8; 12], u64)>,
}

impl Peer {
    fn new(connection: Connection) -> Self {
        Self { connection: Some(connection), sealer: None }
    }

    /// Records of this type (RFC 8446 §5.2) with up to `len` bytes of `plaintext` each.
    fn records(&mut self, kind: u8, plaintext: &[u8], len: usize) -> Vec<u8> {
        let (key, iv, sequence) = self.sealer.get_or_insert_with(|| {
            let secrets = self.connection.take().unwrap().dangerous_extract_secrets().unwrap();
            let (sequence, ConnectionTrafficSecrets::Aes256Gcm { key, iv }) = secrets.tx else {
                panic!("another cipher suite was negotiated");
            };
            let key = UnboundKey::new(&AES_256_GCM, key.as_ref()).unwrap();
            (LessSafeKey::new(key), iv.as_ref().try_into().unwrap(), sequence)
        });
        let mut records = Vec::with_capacity(plaintext.len() / len * (len + 22) + (64 << 10));
        for part in plaintext.chunks(len) {
            let start = records.len();
            let header = [DATA, 3, 3, ((part.len() + 17) >> 8) as u8, (part.len() + 17) as u8];
            records.extend_from_slice(&header);
            records.extend_from_slice(part);
            records.push(kind);
            let mut nonce = *iv;
            for (byte, of) in nonce[4..].iter_mut().zip(sequence.to_be_bytes()) {
                *byte ^= of;
            }
            *sequence += 1;
            let nonce = Nonce::assume_unique_for_key(nonce);
            let inner = &mut records[start + header.len()..];
            let tag = key.seal_in_place_separate_tag(nonce, Aad::from(header), inner).unwrap();
            records.extend_from_slice(tag.as_ref());
        }
        records
    }
}

/// Counts what is allocated within calls.
#[derive(Clone, Copy, Default)]
struct Meter {
    /// The number of bytes that are held between calls.
    held: isize,
    /// The most that were held at any time.
    most: isize,
}

impl Meter {
    fn run<T>(&mut self, call: impl FnOnce() -> T) -> T {
        PEAK.reset_peak_memory();
        let before = held();
        let result = call();
        self.most = self.most.max(self.held + PEAK.get_peak_memory() as isize);
        self.held += held() as isize - before as isize;
        result
    }
}

/// The transport of the end that is measured. It allocates nothing.
#[derive(Clone, Debug, Default)]
struct Wire(Arc<Mutex<WireState>>);

#[derive(Debug)]
struct WireState {
    inbound: Vec<u8>,
    /// The number of bytes of it that were read.
    at: usize,
    outbound: Vec<u8>,
    /// The number of bytes that are still accepted.
    takes: usize,
}

impl Default for WireState {
    fn default() -> Self {
        Self {
            inbound: Vec::new(),
            at: 0,
            outbound: Vec::with_capacity(4 << 20),
            takes: usize::MAX,
        }
    }
}

impl WireState {
    fn is_drained(&self) -> bool {
        self.at == self.inbound.len()
    }
}

impl Wire {
    fn lock(&self) -> MutexGuard<'_, WireState> {
        self.0.lock().unwrap()
    }

    /// Has the end that is measured receive what `peer` has to send.
    fn receive_from(&self, peer: &mut Connection) {
        let mut state = self.lock();
        while peer.wants_write() {
            peer.write_tls(&mut state.inbound).unwrap();
        }
    }

    /// Passes what was written to `peer`.
    fn pass_to(&self, peer: &mut Connection) {
        let mut state = self.lock();
        let mut written = &state.outbound[..];
        while !written.is_empty() {
            peer.read_tls(&mut written).unwrap();
            peer.process_new_packets().unwrap();
        }
        state.outbound.clear();
    }
}

impl Io for Wire {
    fn poll_read(&mut self, _: &mut Context<'_>, buffer: &mut BytesMut) -> Poll<io::Result<usize>> {
        let mut state = self.lock();
        let rest = &state.inbound[state.at..];
        let len = rest.len().min(buffer.capacity() - buffer.len());
        buffer.extend_from_slice(&rest[..len]);
        state.at += len;
        if len == 0 { Poll::Pending } else { Poll::Ready(Ok(len)) }
    }

    fn poll_write(
        &mut self,
        _: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut state = self.lock();
        let mut written = 0;
        for slice in slices {
            let len = slice.len().min(state.takes);
            state.takes -= len;
            state.outbound.extend_from_slice(&slice[..len]);
            written += len;
        }
        if written == 0 { Poll::Pending } else { Poll::Ready(Ok(written)) }
    }

    fn poll_flush(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
