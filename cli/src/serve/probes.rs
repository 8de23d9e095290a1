//! The routes that a supervisor asks whether the server lives and takes connections.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use sockless::http::StatusCode;
use sockless::{Router, respond, text_response};

/// Whether the server is about to end.
#[derive(Clone, Default)]
pub(crate) struct Probes(Arc<AtomicBool>);

impl Probes {
    /// From now on the server is not ready.
    pub(crate) fn leave(&self) {
        self.0.store(true, Ordering::Release);
    }

    /// Adds the routes `/livez` and `/readyz`.
    pub(crate) fn add_to(&self, router: Router) -> Router {
        let is_leaving = self.0.clone();
        router.route("/livez", respond(|_| text_response(StatusCode::OK, "ok\n"))).route(
            "/readyz",
            respond(move |_| match is_leaving.load(Ordering::Acquire) {
                false => text_response(StatusCode::OK, "ok\n"),
                true => {
                    text_response(StatusCode::SERVICE_UNAVAILABLE, "the server is shutting down\n")
                }
            }),
        )
    }
}
