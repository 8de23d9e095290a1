//! The names of the metrics of sessions, servers and clients.
//!
//! The crate `sockless` documents them, with their labels and units, in its module `metrics`, which re-exports this one.

/// Defines the constants of metrics from their kind, name, unit and description, and `describe`, which registers
/// the descriptions.
#[doc(hidden)]
#[macro_export]
macro_rules! __define_metrics {
    ($($describe:ident $constant:ident = $name:literal, $unit:ident: $description:literal;)+) => {
        $(
            #[doc = concat!("`", $name, "`: ", $description)]
            pub const $constant: &str = $name;
        )+

        /// Registers the units and descriptions of these metrics with the recorder.
        pub fn describe() {
            $($crate::__private::metrics::$describe!($constant, $crate::__private::metrics::Unit::$unit, $description);)+
        }
    };
}

__define_metrics! {
    describe_gauge SESSIONS = "sockless_sessions", Count:
        "Sessions that are open.";
    describe_counter SESSIONS_OPENED = "sockless_sessions_opened_total", Count:
        "Sessions that were opened.";
    describe_counter SESSIONS_CLOSED = "sockless_sessions_closed_total", Count:
        "Sessions that have ended, by party, cause and close code.";
    describe_counter REQUESTS_REJECTED = "sockless_requests_rejected_total", Count:
        "Connections and requests that a server rejected, by reason and HTTP status.";
    describe_counter CONNECTS_FAILED = "sockless_connects_failed_total", Count:
        "Attempts of clients to connect that failed, by reason.";
    describe_counter MESSAGES_RECEIVED = "sockless_messages_received_total", Count:
        "Messages that were received.";
    describe_counter MESSAGES_SENT = "sockless_messages_sent_total", Count:
        "Messages that were sent or queued.";
    describe_counter RECEIVED_BYTES = "sockless_received_bytes_total", Bytes:
        "Bytes of frames that were received, with their headers.";
    describe_counter SENT_BYTES = "sockless_sent_bytes_total", Bytes:
        "Bytes that the transport has taken: frames with their headers, and the response that opened the session.";
    describe_counter RECEIVED_COMPRESSED_BYTES = "sockless_received_compressed_bytes_total", Bytes:
        "Length of the compressed messages that were received, as it was on the wire.";
    describe_counter RECEIVED_UNCOMPRESSED_BYTES = "sockless_received_uncompressed_bytes_total", Bytes:
        "Length of the compressed messages that were received, after decompression.";
    describe_counter SENT_COMPRESSED_BYTES = "sockless_sent_compressed_bytes_total", Bytes:
        "Length of the compressed messages that were sent, as it is on the wire.";
    describe_counter SENT_UNCOMPRESSED_BYTES = "sockless_sent_uncompressed_bytes_total", Bytes:
        "Length of the compressed messages that were sent, before compression.";
    describe_gauge QUEUED_BYTES = "sockless_queued_bytes", Bytes:
        "Bytes that wait to be sent.";
    describe_gauge HELD_BYTES = "sockless_held_bytes", Bytes:
        "Memory of unfinished and undelivered messages and of queues, as memory_budget counts it.";
    describe_gauge MEMORY_BUDGET_BYTES = "sockless_memory_budget_bytes", Bytes:
        "The memory_budget of the servers that have had sessions, together.";
    describe_counter TURNS_EXHAUSTED = "sockless_turns_exhausted_total", Count:
        "Turns of a session that ran out of their budget, after which other tasks came first.";
    describe_histogram HANDSHAKE_SECONDS = "sockless_handshake_seconds", Seconds:
        "Time from the transport, or from the start of a client's attempt, to the open session.";
    describe_histogram HANDLER_SECONDS = "sockless_handler_seconds", Seconds:
        "Time from the open session to the end of its handler.";
    describe_histogram ROUND_TRIP_SECONDS = "sockless_round_trip_seconds", Seconds:
        "Round-trip time of the pings of ping_interval.";
}

/// Upper bounds in seconds for the buckets of the histograms, from 1 ms to 1 hour, for exporters that take them.
pub const SECONDS_BUCKETS: [f64; 14] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0, 300.0, 3600.0];
