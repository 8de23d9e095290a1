//! RFC 6455, section by section. RFC 7692 and RFC 8441 have targets of their own.

mod s10_limits;
mod s4_opening;
mod s5_4_fragments;
mod s5_5_control;
mod s5_framing;
mod s7_closing;
mod s8_text;
mod s9_extensions;
