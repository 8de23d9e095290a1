//! A request that was not read here, until its session begins: [`Whole`].

use http::Request;

use super::packed::Place;

/// The request head, and where and when it was received.
pub(super) struct Whole {
    pub(super) request: Request<()>,
    pub(super) place: Place,
}
