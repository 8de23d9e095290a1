//! The guide: one page for each task.
//!
//! * Begin here: [quick start](quick_start), [handlers and errors](handlers), [clients], [recipes],
//!   [rooms], [testing].
//! * In production: [TLS](tls), [deployment], [scale].
//! * In other frameworks and loops: [axum and hyper](axum), [without a runtime](blocking), [one
//!   thread or one per core](local), [the browser](browser), [porting].
//! * From other libraries: [tungstenite](from_tungstenite), [axum's `ws`](from_axum),
//!   [Ktor](from_ktor); all of their [functions], and ours.
//!
//! Each block of Rust is compiled, and run where it needs neither network nor files, by
//! `cargo test -p sockless --doc`.

#[doc = include_str!("guide/axum.md")]
pub mod axum {}

#[cfg_attr(feature = "blocking", doc = include_str!("guide/blocking.md"))]
#[cfg_attr(
    not(feature = "blocking"),
    doc = "Without a runtime: see the documentation with the feature `blocking`."
)]
pub mod blocking {}

#[cfg_attr(feature = "web", doc = include_str!("guide/browser.md"))]
#[cfg_attr(
    not(feature = "web"),
    doc = "In the browser: see the documentation with the feature `web`."
)]
pub mod browser {}

#[doc = include_str!("guide/clients.md")]
pub mod clients {}

#[doc = include_str!("guide/deployment.md")]
pub mod deployment {}

#[doc = include_str!("guide/from_axum.md")]
pub mod from_axum {}

#[doc = include_str!("guide/from_ktor.md")]
pub mod from_ktor {}

#[doc = include_str!("guide/from_tungstenite.md")]
pub mod from_tungstenite {}

#[doc = include_str!("guide/functions.md")]
pub mod functions {}

#[doc = include_str!("guide/handlers.md")]
pub mod handlers {}

#[doc = include_str!("guide/local.md")]
pub mod local {}

#[doc = include_str!("guide/porting.md")]
pub mod porting {}

#[doc = include_str!("guide/quick_start.md")]
#[expect(clippy::test_attr_in_doctest, reason = "a macro runs the test, in a hidden line")]
pub mod quick_start {}

#[doc = include_str!("guide/recipes.md")]
pub mod recipes {}

#[doc = include_str!("guide/rooms.md")]
pub mod rooms {}

#[doc = include_str!("guide/scale.md")]
pub mod scale {}

#[doc = include_str!("guide/testing.md")]
pub mod testing {}

#[doc = include_str!("guide/tls.md")]
pub mod tls {}
