//! Peers that leave while their session does not read, on real sockets of each runtime: the session
//! ends nevertheless, reports it, and leaves no descriptor behind.
//!
//! They run one after the other, since descriptors are counted for the whole process, and only where the
//! system lists them. Nothing sleeps: a scenario waits for the expected event, and fails when that does
//! not come.
#![cfg(target_os = "linux")]

mod failures;
#[expect(dead_code, reason = "the scenarios of `runtimes` need more of it")]
#[path = "../on.rs"]
mod on;
mod scenarios;
#[expect(dead_code, reason = "the scenarios of `runtimes` need more of it")]
#[path = "../serving.rs"]
mod serving;
mod support;

use std::sync::{Mutex, PoisonError};

use on::{AsyncStd, Smol, Tokio, World};
use support::Way;

/// Only one scenario runs at a time.
static TURN: Mutex<()> = Mutex::new(());

fn in_turn(scenario: fn()) {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    on::run(scenario);
}

/// Those over sockets of their own, TLS among them.
const OWN: &[Way] = &[Way::Tcp, Way::Unix, Way::Tls];

macro_rules! scenarios {
    ($runtime:ident: $($(#[$attribute:meta])* $scenario:ident($ways:expr))+) => {
        $(
            #[test]
            $(#[$attribute])*
            fn $scenario() {
                in_turn(|| {
                    $runtime::block_on(crate::scenarios::$scenario::<$runtime>($ways));
                });
            }
        )+
    };
}

macro_rules! on_runtime {
    ($name:ident: $runtime:ident) => {
        mod $name {
            use super::*;
            scenarios! {
                $runtime:
                a_full_server_lets_the_next_one_in_when_the_others_have_left(&[Way::Tcp])
                a_peer_that_closes_behind_what_is_unread_is_answered(OWN)
                a_peer_that_ends_behind_what_is_unread_is_noticed(OWN)
                a_peer_that_ends_is_noticed_by_default(OWN)
                a_peer_that_resets_behind_what_is_unread_is_noticed(OWN)
                a_peer_that_resets_is_noticed_by_default(OWN)
                a_peer_that_closes_leaves_no_descriptor(OWN)
            }
        }
    };
}

on_runtime!(async_std: AsyncStd);
on_runtime!(smol: Smol);
on_runtime!(tokio: Tokio);

/// The router that `axum::serve` serves.
mod behind_hyper {
    use super::*;

    const BOTH: &[Way] = &[Way::Http1, Way::Http2];

    scenarios! {
        Tokio:
        a_connection_of_http2_that_is_lost_is_noticed_by_default(&[Way::Http2])
        a_peer_that_closes_behind_what_is_unread_is_answered(BOTH)
        a_peer_that_ends_behind_what_is_unread_is_noticed(BOTH)
        a_peer_that_ends_is_noticed_by_default(&[Way::Http1])
        a_peer_that_resets_behind_what_is_unread_is_noticed(BOTH)
        a_peer_that_resets_is_noticed_by_default(BOTH)
        a_peer_that_closes_leaves_no_descriptor(BOTH)
    }
}
