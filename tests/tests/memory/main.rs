//! Memory, counted: how often it is allocated, and how much of it is held at once.
//!
//! The counts are of the whole process, so that each case runs in a process of its own, without libtest.
//! `cargo test -p sockless-tests --test memory upload` runs those with `upload` in their name.

mod connection;
mod copies;
mod deflate;
mod leaks;
mod session;
mod tls;
mod upload;

use std::alloc::System;
use std::process::Command;

use peakmem_alloc::PeakMemAlloc;
use stats_alloc::StatsAlloc;

static COUNTS: StatsAlloc<System> = StatsAlloc::system();

#[global_allocator]
static PEAK: PeakMemAlloc<&StatsAlloc<System>> = PeakMemAlloc::new(&COUNTS);

macro_rules! cases {
    ($($module:ident::$case:ident)+) => {
        &[$((concat!(stringify!($module), "::", stringify!($case)), $module::$case)),+]
    };
}

const CASES: &[(&str, fn())] = cases! {
    connection::an_echoed_message_costs_one_allocation_at_most
    connection::a_claim_costs_nothing
    connection::many_fragments_cost_linear_work
    connection::an_idle_connection_is_small
    connection::no_attack_passes_the_ceiling
    copies::each_path_copies_what_the_guide_states
    copies::owned_output_costs_what_lent_output_costs
    deflate::compressors_take_what_is_written
    deflate::an_idle_session_holds_neither_compressor_nor_inflater
    deflate::a_bomb_stops_at_the_limit
    session::an_echoed_message_costs_one_allocation_at_most
    session::an_idle_session_is_small
    session::a_flood_that_is_not_received_stays_under_the_ceiling
    session::a_flood_of_pings_stays_under_the_ceiling
    tls::records_that_are_not_read_stay_under_the_ceiling
    tls::a_peer_that_does_not_read_stays_under_the_ceiling
    tls::key_updates_that_cannot_be_answered_stay_under_the_ceiling
    tls::messages_after_the_handshake_stay_under_the_ceiling
    tls::a_flood_of_tickets_stays_under_the_ceiling
    tls::certificates_of_the_peer_stay_under_the_ceiling
    tls::handshakes_that_do_not_end_stay_under_the_ceiling
    tls::sessions_over_tls_stay_under_the_sum_of_both_ceilings
    leaks::ten_thousand_upgrades_leave_no_task_and_no_memory
    upload::an_upload_takes_no_more_memory_than_its_buffers
};

/// The option by which this program runs one case in its own process.
const IN_THIS_PROCESS: &str = "--in-this-process";

fn main() {
    let mut arguments: Vec<_> = std::env::args().skip(1).collect();
    if let Some(at) = arguments.iter().position(|argument| argument == IN_THIS_PROCESS) {
        let (_, case) = CASES.iter().find(|(name, _)| *name == arguments[at + 1]).unwrap();
        return case();
    }
    arguments.retain(|argument| !argument.starts_with('-'));
    let program = std::env::current_exe().unwrap();
    let is_wanted = |name: &str| {
        arguments.is_empty() || arguments.iter().any(|argument| name.contains(argument))
    };
    for (name, _) in CASES.iter().filter(|(name, _)| is_wanted(name)) {
        let status = Command::new(&program).args([IN_THIS_PROCESS, name]).status().unwrap();
        assert!(status.success(), "{name} failed");
        println!("test {name} ... ok");
    }
}

/// The number of bytes that the process holds.
fn held() -> usize {
    let stats = COUNTS.stats();
    stats.bytes_allocated - stats.bytes_deallocated
}
