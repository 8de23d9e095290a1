//! The names of the metrics of rooms.
//!
//! The crate `sockless` documents them in its module `metrics`, which re-exports this one.

sockless_driver::__define_metrics! {
    describe_gauge ROOMS = "sockless_rooms", Count:
        "Rooms that have members on this server.";
    describe_gauge ROOM_MEMBERS = "sockless_room_members", Count:
        "Members on this server, in all rooms.";
    describe_counter ROOMS_PUBLISHED = "sockless_rooms_published_total", Count:
        "Messages that were published here, by result.";
    describe_counter ROOMS_DELIVERED = "sockless_rooms_delivered_total", Count:
        "Messages and other events that were given to sessions, or wait for slow ones.";
    describe_counter ROOMS_LAGGED = "sockless_rooms_lagged_total", Count:
        "Deliveries that had to wait because the member was slow.";
    describe_counter ROOMS_DROPPED = "sockless_rooms_dropped_total", Count:
        "Messages for slow members that were dropped or replaced, by reason.";
    describe_counter ROOMS_PAUSED = "sockless_rooms_paused_total", Count:
        "Publications that had to wait for slow members.";
    describe_counter ROOMS_CLOSED_FOR_LAG = "sockless_rooms_closed_for_lag_total", Count:
        "Sessions that were closed because they were too slow.";
    describe_counter ROOMS_GAPS = "sockless_rooms_gaps_total", Count:
        "Gaps that were reported to members that were connected.";
    describe_counter ROOMS_RESUMED = "sockless_rooms_resumed_total", Count:
        "Members that resumed, by whether they missed something.";
    describe_counter ROOMS_HISTORY_READS = "sockless_rooms_history_reads_total", Count:
        "Reads of a history.";
    describe_counter ROOMS_BUS_OUTAGES = "sockless_rooms_bus_outages_total", Count:
        "Outages of the bus.";
    describe_counter ROOMS_BUS_INVALID = "sockless_rooms_bus_invalid_total", Count:
        "Reports of the bus that were not valid.";
}
