//! The demo's metrics, at `/metrics` with the option `--metrics`.

use std::io;
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use http::Response;
use http::header::{CONTENT_TYPE, HeaderValue};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use sockless::{RespondRoute, metrics, respond};

use crate::options::Failure;

/// The time after which values are put into their buckets that nothing has asked for.
const UPKEEP: Duration = Duration::from_secs(10);

/// Records the metrics of this process from now on, and returns the route that shows them.
pub(crate) fn route() -> Result<RespondRoute, Failure> {
    let failed = |error: &dyn std::fmt::Display| Failure::new("--metrics", error);
    let builder = PrometheusBuilder::new();
    let builder = builder.set_buckets(&metrics::SECONDS_BUCKETS).map_err(|error| failed(&error))?;
    let recorder = builder.install_recorder().map_err(|error| failed(&error))?;
    metrics::describe();
    keep_up(recorder.clone()).map_err(|error| failed(&error))?;
    Ok(respond(move |_request| page(&recorder)))
}

/// Bounds the memory of the recorder while no Prometheus asks.
fn keep_up(recorder: PrometheusHandle) -> io::Result<()> {
    let upkeep = async move {
        loop {
            smol::Timer::after(UPKEEP).await;
            recorder.run_upkeep();
        }
    };
    let thread = thread::Builder::new().name("metrics".to_owned());
    thread.spawn(|| smol::block_on(upkeep)).map(drop)
}

fn page(recorder: &PrometheusHandle) -> Response<Bytes> {
    let mut response = Response::new(Bytes::from(recorder.render()));
    let text = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, text);
    response
}
