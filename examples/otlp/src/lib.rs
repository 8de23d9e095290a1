//! An echo whose sessions are traced: each is a span, and the echo of each message a span within it.
//!
//! sockless depends on `tracing` alone. What is exported, and to whom, the program chooses.

use opentelemetry::trace::TracerProvider;
use opentelemetry_otlp::{ExporterBuildError, Protocol, SpanExporter, WithExportConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SdkTracerProvider;
use sockless::{Closed, Message, Router, Sender, Session, websocket};
use tracing::{Instrument, Subscriber, info_span};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::registry::LookupSpan;

/// Exports spans to the collector at `endpoint`, the URL of its traces; by default as the variables
/// `OTEL_EXPORTER_OTLP_…` have it.
pub fn provider(endpoint: Option<&str>) -> Result<SdkTracerProvider, ExporterBuildError> {
    let mut exporter = SpanExporter::builder().with_http().with_protocol(Protocol::HttpJson);
    if let Some(endpoint) = endpoint {
        exporter = exporter.with_endpoint(endpoint);
    }
    let service = Resource::builder().with_service_name("echo").build();
    Ok(SdkTracerProvider::builder()
        .with_batch_exporter(exporter.build()?)
        .with_resource(service)
        .build())
}

/// Takes the spans of sessions and of this program. With `DEBUG` in place of `INFO`, those of
/// connections too, with what peers do wrong.
///
/// Those of the exporter's own HTTP client are left out: each export would make more to export.
pub fn layer<S>(provider: &SdkTracerProvider) -> impl Layer<S> + use<S>
where
    S: Subscriber + for<'span> LookupSpan<'span>,
{
    let taken = Targets::new()
        .with_target("sockless_driver", LevelFilter::INFO)
        .with_target("otlp", LevelFilter::INFO);
    tracing_opentelemetry::layer().with_tracer(provider.tracer("echo")).with_filter(taken)
}

/// The routes.
pub fn router() -> Router {
    Router::new().route("/echo/{room}", websocket(echo))
}

/// Runs in the span of its session: what it begins there is within it.
async fn echo(mut session: Session) -> Result<(), Closed> {
    let sender = session.sender();
    loop {
        let message = session.recv().await?;
        let span = info_span!("reply", len = message.len());
        reply(&sender, message).instrument(span).await?;
    }
}

async fn reply(sender: &Sender, message: Message) -> Result<(), Closed> {
    tracing::info!("an echo is sent");
    sender.send(message).await
}
