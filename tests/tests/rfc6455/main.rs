//! RFC 6455, section by section. RFC 7692 and RFC 8441 have targets of their own.

#[path = "../support/logged.rs"]
mod logged;
#[path = "../support/recorder.rs"]
mod recorder;
mod s10_limits;
mod s4_opening;
mod s5_4_fragments;
mod s5_5_control;
mod s5_framing;
mod s7_closing;
mod s8_text;
mod s9_extensions;
#[allow(dead_code, reason = "each test uses a part of it")]
#[path = "../support/session.rs"]
mod support;
