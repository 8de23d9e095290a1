//! What every runtime has to do alike: one set of scenarios, over real sockets on 127.0.0.1, each of
//! them run on each runtime; and those that ask for no socket and no thread in the simulator too.
//!
//! Nothing sleeps: a scenario waits for the expected event, and fails when that does not come.

mod connecting;
mod endings;
mod head_first;
mod leaving;
mod local;
mod messages;
mod on;
mod on_compio;
mod one_thread;
mod opening;
mod raw;
mod recorded;
mod seam;
mod serving;
#[cfg(target_os = "linux")]
mod settings;
mod sharing;
mod tls;
mod traces;
#[cfg(unix)]
mod unix;
#[cfg(target_os = "linux")]
mod watching;

/// A test of each scenario on one runtime.
macro_rules! scenarios {
    ($runtime:ident: $($(#[$attribute:meta])* $file:ident::$scenario:ident)+) => {
        $(
            #[test]
            $(#[$attribute])*
            fn $scenario() {
                #[allow(unused_imports, reason = "each list uses the runtimes of one of them")]
                use crate::{on::*, on_compio::*, one_thread::*};
                run(|| $runtime::block_on(crate::$file::$scenario::<$runtime>()));
            }
        )+
    };
}

macro_rules! on_runtime {
    ($name:ident: $runtime:ident) => {
        mod $name {
            scenarios! {
                $runtime:
                connecting::a_proxy_that_rejects_is_an_error
                connecting::a_redirect_is_followed_to_another_port
                connecting::a_refusal_comes_with_its_body
                connecting::a_second_address_is_tried_when_the_first_refuses
                connecting::a_stream_of_ones_own_is_spoken_over
                connecting::a_url_of_wss_is_spoken_over_tls
                connecting::a_way_through_socks_is_taken
                connecting::half_a_response_times_out
                endings::a_client_that_drops_its_session_closes_with_1000
                endings::a_close_code_comes_back
                endings::a_handler_that_ends_closes_with_1000
                endings::a_handler_that_fails_closes_with_1011
                endings::a_handler_that_never_ends_is_terminated
                endings::a_handler_that_panics_closes_with_1011
                endings::a_peer_that_answers_no_ping_times_out
                endings::a_shutdown_closes_with_1001_and_counts
                head_first::the_head_of_a_101_leaves_in_a_write_of_its_own
                messages::a_hundred_clients_at_once
                messages::a_message_from_a_thread_leaves_while_the_handler_waits
                messages::halves_on_two_tasks_do_not_wait_for_each_other
                messages::many_tasks_and_threads_send_to_one_peer
                messages::the_client_echoes
                messages::the_server_echoes
                opening::a_client_past_the_cap_waits_until_another_leaves
                opening::a_closed_port_is_an_error
                opening::a_frame_behind_the_request_is_answered
                opening::a_stream_that_was_accepted_becomes_a_session
                opening::a_stream_that_was_accepted_is_decided_on
                opening::a_listener_bound_elsewhere_is_served
                opening::a_name_is_resolved
                opening::a_ping_is_answered_while_the_handler_waits
                opening::a_request_during_a_shutdown_gets_503
                opening::a_silent_server_times_out
                opening::a_stream_accepted_elsewhere_is_served
                opening::an_address_in_use_is_an_error
                opening::what_is_no_upgrade_gets_404_or_426
                seam::a_shut_down_stream_still_reads
                seam::a_stream_reads_into_spare_capacity_only
                seam::a_stream_that_is_flushed_still_waits_to_write
                seam::a_stream_writes_many_slices_at_once
                seam::a_timer_can_be_set_again
                seam::a_timer_wakes_who_polled_last
                sharing::a_backlog_bounds_who_waits_to_be_accepted
                sharing::a_port_is_shared_only_if_both_are_set_to
                sharing::a_server_that_shares_its_port_may_leave
                sharing::servers_that_share_a_port_share_the_connections
                tls::a_call_knows_that_it_came_by_tls
                tls::a_certificate_is_replaced_while_the_server_runs
                tls::a_rejected_certificate_is_an_error
                tls::a_client_that_stalls_makes_room_at_the_cap
                tls::a_client_that_stalls_times_out
                tls::a_lost_connection_differs_from_a_close
                tls::a_server_agrees_on_no_protocol_but_http_1_1
                tls::a_server_that_fails_the_handshake_is_an_error
                tls::a_url_of_wss_is_dialled
                tls::clients_that_fail_the_handshake_are_dropped
                tls::the_client_echoes_over_tls
                tls::the_server_echoes_over_tls_and_closes_with_1001
            }
        }
    };
}

/// The scenarios in which nothing blocks a thread.
macro_rules! on_world {
    ($name:ident: $world:ident) => {
        mod $name {
            scenarios! {
                $world:
                endings::a_client_that_drops_its_session_closes_with_1000
                endings::a_close_code_comes_back
                endings::a_handler_that_ends_closes_with_1000
                endings::a_handler_that_fails_closes_with_1011
                endings::a_handler_that_never_ends_is_terminated
                endings::a_handler_that_panics_closes_with_1011
                endings::a_shutdown_closes_with_1001_and_counts
                messages::a_hundred_clients_at_once
                messages::halves_on_two_tasks_do_not_wait_for_each_other
                messages::the_client_echoes
                messages::the_server_echoes
            }
        }
    };
}

on_world!(simulated: Simulated);
on_world!(futures_local_pool: LocalPool);
on_world!(tokio_local_set: LocalSet);

/// Handlers and transports that are not `Send`.
macro_rules! on_one_thread {
    ($name:ident: $world:ident) => {
        mod $name {
            scenarios! {
                $world:
                local::a_local_handler_fails_and_panics_with_1011
                local::a_local_handler_is_terminated_when_the_drain_timeout_passes
                local::a_local_service_decides_without_a_router
                local::a_local_transport_is_served
                local::a_peer_of_a_local_handler_is_pinged_and_times_out
                local::a_sender_on_another_thread_reaches_the_peer_of_a_local_handler
                local::handlers_on_one_thread_share_an_rc
            }
        }
    };
}

on_one_thread!(local_handlers_compio: Compio);
on_one_thread!(local_handlers_compio_polling: CompioPolling);
on_one_thread!(local_handlers_local_pool: LocalPool);
on_one_thread!(local_handlers_local_set: LocalSet);

on_runtime!(async_std: AsyncStd);
on_runtime!(compio: Compio);
on_runtime!(compio_polling: CompioPolling);
on_runtime!(smol: Smol);
on_runtime!(tokio: Tokio);

macro_rules! on_unix {
    ($name:ident: $runtime:ident) => {
        #[cfg(unix)]
        mod $name {
            scenarios! {
                $runtime:
                unix::a_path_in_use_and_one_without_a_listener_are_errors
                unix::a_reconnect_dials_a_unix_socket_again
                unix::a_unix_socket_carries_both_roles
            }
        }
    };
}

on_unix!(unix_async_std: AsyncStd);
on_unix!(unix_compio: Compio);
on_unix!(unix_compio_polling: CompioPolling);
on_unix!(unix_smol: Smol);
on_unix!(unix_tokio: Tokio);

macro_rules! on_linux {
    ($name:ident: $runtime:ident) => {
        #[cfg(target_os = "linux")]
        mod $name {
            scenarios! {
                $runtime:
                settings::keep_alive_is_on_where_one_accepts_and_dials
                watching::a_reset_behind_a_full_buffer_is_seen
                watching::a_reset_behind_unread_bytes_is_seen
                watching::an_end_after_ones_own_is_seen
                watching::an_end_behind_unread_bytes_is_seen
                watching::an_end_under_tls_is_seen
            }
        }
    };
}

on_linux!(linux_async_std: AsyncStd);
on_linux!(linux_compio: Compio);
on_linux!(linux_compio_polling: CompioPolling);
on_linux!(linux_smol: Smol);
on_linux!(linux_tokio: Tokio);
