//! Serves an echo on `127.0.0.1:8080`, and exports a span for each session to the collector at
//! `http://localhost:4318`, or at `OTEL_EXPORTER_OTLP_ENDPOINT`.

use std::error::Error;

use tracing_subscriber::Layer;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

fn main() -> Result<(), Box<dyn Error>> {
    // Before the runtime: the exporter blocks a thread of its own.
    let provider = otlp::provider(None)?;
    let printed = tracing_subscriber::fmt::layer().with_filter(LevelFilter::INFO);
    tracing_subscriber::registry().with(otlp::layer(&provider)).with(printed).init();
    serve()?;
    // Exports what is left.
    provider.shutdown()?;
    Ok(())
}

#[tokio::main]
async fn serve() -> std::io::Result<()> {
    let ctrl_c = async {
        let _ = tokio::signal::ctrl_c().await;
    };
    let server = sockless::bind("127.0.0.1:8080").await?;
    server.serve_until(otlp::router(), ctrl_c).await;
    Ok(())
}
