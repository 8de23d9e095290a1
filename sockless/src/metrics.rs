//! Metrics of sessions, servers, clients and rooms, through the facade of the crate [`metrics`](https://docs.rs/metrics). Feature `metrics`.
//!
//! The program installs a recorder, such as that of `metrics-exporter-prometheus`, and calls [`describe`]. Sessions that begin
//! from then on are recorded. The demo shows the rest, with its option `--metrics`; `docs/grafana.json` in the repository is a
//! dashboard.
//!
//! ```
//! use metrics_exporter_prometheus::PrometheusBuilder;
//! use sockless::http::{Response, header};
//! use sockless::{Router, respond};
//!
//! /// The metrics of this process, at `/metrics`.
//! fn metrics() -> Result<Router, metrics_exporter_prometheus::BuildError> {
//!     let builder = PrometheusBuilder::new().set_buckets(&sockless::metrics::SECONDS_BUCKETS)?;
//!     let recorder = builder.install_recorder()?;
//!     sockless::metrics::describe();
//!     let page = move || {
//!         let mut response = Response::new(recorder.render().into());
//!         let text = header::HeaderValue::from_static("text/plain; version=0.0.4");
//!         response.headers_mut().insert(header::CONTENT_TYPE, text);
//!         response
//!     };
//!     Ok(Router::new().route("/metrics", respond(move |_request| page())))
//! }
//! # metrics()?;
//! # Ok::<(), metrics_exporter_prometheus::BuildError>(())
//! ```
//!
//! They state how a service is used: serve them on an address of its own, or behind a guard.
//!
//! # Sessions
//!
//! Each has the labels `role`, `server` or `client`, and `route`: the path of the [`Router`](crate::Router)'s route as it was defined, such
//! as `/chat/{room}`, and empty for clients and other services.
//!
//! | name | kind | meaning, and further labels |
//! |---|---|---|
//! | `sockless_sessions` | gauge | sessions that are open |
//! | `sockless_sessions_opened_total` | counter | sessions that were opened |
//! | `sockless_sessions_closed_total` | counter | sessions that have ended: `party`, `cause` and `code` |
//! | `sockless_handshake_seconds` | histogram | from the transport to the open session, with TLS, guards and the service; behind another HTTP server from the request; of a client, from the start of its attempt |
//! | `sockless_handler_seconds` | histogram | from the open session to the end of its handler: `outcome` is `returned`, `failed` or `panicked`; a handler that is dropped is not recorded |
//! | `sockless_messages_received_total` | counter | messages, at their first frame |
//! | `sockless_messages_sent_total` | counter | messages, when they are queued |
//! | `sockless_received_bytes_total` | counter | bytes of frames, with their headers |
//! | `sockless_sent_bytes_total` | counter | bytes that the transport has taken: frames with their headers, and the response that opened the session |
//! | `sockless_received_compressed_bytes_total` | counter | length of compressed messages as it was on the wire |
//! | `sockless_received_uncompressed_bytes_total` | counter | length of the same messages after decompression |
//! | `sockless_sent_compressed_bytes_total` | counter | length of compressed messages as it is on the wire |
//! | `sockless_sent_uncompressed_bytes_total` | counter | length of the same messages before compression |
//! | `sockless_queued_bytes` | gauge | bytes that wait to be sent |
//! | `sockless_held_bytes` | gauge | memory of unfinished and undelivered messages and of queues, as [`memory_budget`] counts it |
//! | `sockless_round_trip_seconds` | histogram | round trips of the pings of [`Config::ping_interval`](crate::Config::ping_interval) |
//! | `sockless_turns_exhausted_total` | counter | turns of a session that ran out of their budget, after which other tasks came first |
//!
//! * `party` is `local` or `peer`: [`Closed::by`](crate::Closed::by).
//! * `cause` is that of [`Closed::cause`](crate::Closed::cause): `aborted`, `closing_handshake`, `eof`, `failed`, `overloaded`, `protocol`,
//!   `transport`, or the deadline that passed: `closing_timeout`, `idle_timeout`, `max_age`, `message_timeout`, `ping_timeout`,
//!   `stall_timeout`, `write_timeout`; `other` for one of a later version.
//! * `code` is that of the Close frame by the party that ended the session: `1000` to `1014`; `3xxx` and `4xxx` for those that
//!   applications define; `1005` for a Close frame without a code, `1006` if there was no Close frame.
//!
//! Counters are recorded at the end of each turn of a session's driver. The gauges of a session are taken back when it ends.
//!
//! # Servers
//!
//! | name | kind | meaning, and labels |
//! |---|---|---|
//! | `sockless_requests_rejected_total` | counter | connections and requests that were rejected: `reason`, and `status`, that of the HTTP response, which is empty where no response was sent |
//! | `sockless_memory_budget_bytes` | gauge | the [`memory_budget`] of all servers together, each from its first session; no labels |
//!
//! `reason` is one of these:
//!
//! | reason | of what |
//! |---|---|
//! | `head` | the request is malformed, too long, or did not arrive in time |
//! | `handshake` | the request does not open a WebSocket, though its path does |
//! | `service` | a request for a WebSocket that the router, a guard or another service answered with 4xx or 5xx |
//! | `http` | another request that was answered so |
//! | `undecided` | guards and the service took longer than `opening_timeout` |
//! | `panicked` | the service panicked |
//! | `shutting_down` | the server is shutting down |
//! | `connections_per_peer` | the limit of [`max_connections_per_peer`] |
//! | `evicted` | the connection was dropped to make room, before its request was complete or while it read a response |
//! | `proxy_protocol` | there was no valid header of the PROXY protocol, or the client that it announces has too many connections |
//! | `tls` | the TLS handshake failed |
//!
//! # Clients
//!
//! | name | kind | meaning, and labels |
//! |---|---|---|
//! | `sockless_connects_failed_total` | counter | attempts that failed: `reason`, one of `resolve`, `dial`, `tls`, `proxy`, `timeout`, `transport`, `rejected`, `redirect`, `handshake` and `invalid` |
//!
//! # Rooms
//!
//! They have no labels but those that are named here. Feature `rooms`.
//!
//! | name | kind | meaning, and labels |
//! |---|---|---|
//! | `sockless_rooms` | gauge | rooms that have members on this server |
//! | `sockless_room_members` | gauge | members on this server, in all rooms |
//! | `sockless_rooms_published_total` | counter | messages that were published here: `result` is `ok` or `failed` |
//! | `sockless_rooms_delivered_total` | counter | messages and other events that were given to sessions, or wait for slow ones |
//! | `sockless_rooms_lagged_total` | counter | deliveries that had to wait because the member was slow |
//! | `sockless_rooms_dropped_total` | counter | messages for slow members that were dropped (`reason` is `oldest`) or replaced (`conflated`) |
//! | `sockless_rooms_paused_total` | counter | publications that had to wait for slow members |
//! | `sockless_rooms_closed_for_lag_total` | counter | sessions that were closed because they were too slow |
//! | `sockless_rooms_gaps_total` | counter | gaps that were reported to members that were connected |
//! | `sockless_rooms_resumed_total` | counter | members that resumed: `result` is `complete` or `gap` |
//! | `sockless_rooms_history_reads_total` | counter | reads of a history |
//! | `sockless_rooms_bus_outages_total` | counter | outages of the bus |
//! | `sockless_rooms_bus_invalid_total` | counter | reports of the bus that were not valid |
//!
//! # Cost
//!
//! Without the feature nothing of this is compiled. With it, and without a recorder, a session costs one pointer. With a recorder
//! it counts frames, as [`Session::start_counting`](crate::Session::start_counting) does, and holds the handles of its metrics. A recorder
//! without any state (a type of size 0) counts as none.
//!
//! No label holds text of a peer, and all have few values, so that a peer cannot make series.
//!
//! [`memory_budget`]: crate::driver::ConnectionServer::memory_budget
//! [`max_connections_per_peer`]: crate::driver::ConnectionServer::max_connections_per_peer

#[doc(inline)]
pub use sockless_driver::metrics::*;
#[cfg(feature = "rooms")]
#[doc(inline)]
pub use sockless_rooms::metrics::*;

/// Registers the units and descriptions of all metrics with the recorder that is installed.
pub fn describe() {
    sockless_driver::metrics::describe();
    #[cfg(feature = "rooms")]
    sockless_rooms::metrics::describe();
}
