//! The router behind hyper and axum: one set of scenarios over HTTP/1.1 and HTTP/2, and what each of
//! them has of its own. Transports are in memory, and tokio's clock stands still unless all wait.

mod alpn;
mod calls;
mod client;
mod endings;
mod extractor;
mod http1;
mod http2;
mod in_axum;
mod messages;
mod on;
mod refusals;
mod serving;

/// A test of each scenario over one version of HTTP.
macro_rules! scenarios {
    ($http:ident: $($file:ident::$scenario:ident)+) => {
        $(
            #[tokio::test(start_paused = true)]
            async fn $scenario() {
                crate::$file::$scenario::<crate::on::$http>().await;
            }
        )+
    };
}

macro_rules! over {
    ($name:ident: $http:ident) => {
        mod $name {
            scenarios! {
                $http:
                calls::a_call_is_that_of_the_request
                calls::a_guards_finding_and_what_it_holds_last_as_long_as_the_session
                calls::a_page_of_the_same_origin_may_open
                calls::a_subprotocol_is_agreed
                calls::requests_without_an_upgrade_may_be_passed_on
                endings::a_client_that_closes_gets_its_code_back
                endings::a_client_that_is_gone_is_noticed
                endings::a_handler_that_ends_closes_with_1000
                endings::a_handler_that_fails_closes_with_1011
                endings::a_handler_that_never_ends_is_terminated
                endings::a_handler_that_panics_closes_with_1011_and_the_next_one_works
                endings::a_shutdown_closes_with_1001_and_counts
                endings::a_silent_client_times_out
                messages::a_hundred_sessions_at_once
                messages::a_mebibyte_passes_through_small_windows_both_ways
                messages::a_message_of_every_kind_comes_back
                messages::a_peer_that_does_not_read_is_not_sent_more
                messages::a_raw_session_speaks_in_frames
                messages::extensions_are_agreed_on
                refusals::a_guard_that_panics_is_500
                refusals::a_guard_that_takes_too_long_is_503
                refusals::a_request_in_a_shutdown_is_503
                refusals::requests_without_an_upgrade_are_answered_by_the_router
                refusals::each_invalid_request_is_answered_with_its_status
            }
        }
    };
}

over!(over_http1: Http1);
over!(over_http2: Http2);
