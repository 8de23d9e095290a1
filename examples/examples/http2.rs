//! WebSockets over HTTP/2 and HTTP/1.1 on one TLS port, as ALPN settles it (RFC 8441, RFC 7301).
//!
//! `cargo run -p sockless-examples --example http2 -- --cert cert.pem --key key.pem`, then open
//! <https://127.0.0.1:8443/>. The certificate has to be one that the browser trusts, such as `mkcert`
//! makes: for others it opens no WebSocket.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::Parser;
use http::StatusCode;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use sockless::hyper::Mount;
use sockless::tokio::TokioRuntime;
use sockless::{
    Closed, Config, Deflate, Origins, Router, Session, respond, text_response, websocket,
};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// An echo server that speaks HTTP/2 and HTTP/1.1 on one TLS port.
#[derive(Debug, Parser)]
struct Options {
    /// The address to listen on; with port 0 the system picks one.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8443")]
    listen: String,

    /// The certificate chain, in PEM.
    #[arg(long, value_name = "FILE")]
    cert: PathBuf,

    /// The private key of the certificate, in PEM.
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let Options { listen, cert, key } = Options::parse();
    let acceptor = acceptor(&cert, &key)?;
    let listener = TcpListener::bind(listen).await?;
    let mut stdout = io::stdout();
    writeln!(stdout, "listening on https://{}", listener.local_addr()?)?;
    stdout.flush()?;

    let mount = Mount::new(router(), Arc::new(TokioRuntime));
    tokio::select! {
        () = accept(&listener, &acceptor, &mount) => {}
        ctrl_c = tokio::signal::ctrl_c() => ctrl_c?,
    }
    drop(listener);
    let report = mount.server().shutdown(Duration::from_secs(10)).await;
    writeln!(stdout, "{} sessions ended, {} terminated", report.drained, report.terminated)?;
    Ok(())
}

fn acceptor(cert: &Path, key: &Path) -> Result<TlsAcceptor, Box<dyn std::error::Error>> {
    let chain = CertificateDer::pem_file_iter(cert)?.collect::<Result<_, _>>()?;
    let key = PrivateKeyDer::from_pem_file(key)?;
    let mut config = ServerConfig::builder_with_provider(ring::default_provider().into())
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config).into())
}

async fn accept(listener: &TcpListener, acceptor: &TlsAcceptor, mount: &Mount) {
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                let mount = mount.clone().with_addrs(Some(peer), stream.local_addr().ok());
                tokio::spawn(serve(stream, peer, acceptor.clone(), mount));
            }
            // Out of descriptors, perhaps: to try again at once would only spin.
            Err(error) => {
                tracing::warn!(%error, "accepting failed");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

/// The time that a client has for each of two steps: the TLS handshake, and the first request.
const PATIENCE: Duration = Duration::from_secs(10);

async fn serve(stream: TcpStream, peer: SocketAddr, acceptor: TlsAcceptor, mount: Mount) {
    // Each write of the driver is sent without delay.
    let _ = stream.set_nodelay(true);
    let stream = match timeout(PATIENCE, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return tracing::debug!(%peer, %error, "TLS failed"),
        Err(_) => return tracing::debug!(%peer, "TLS took too long"),
    };
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(PATIENCE);
    // Without this no client may ask for a WebSocket over HTTP/2 (RFC 8441 §3).
    builder.http2().timer(TokioTimer::new()).enable_connect_protocol();
    let io = TokioIo::new(stream);
    if let Err(error) = builder.serve_connection_with_upgrades(io, mount).await {
        tracing::debug!(%peer, %error, "the connection failed");
    }
}

fn router() -> Router {
    let config = Config::default().ping_interval(Duration::from_secs(30));
    Router::new()
        .origins(Origins::same_origin())
        .websockets(config.extension(Deflate::default()))
        .route("/", respond(|_request| page()))
        .route("/echo", websocket(echo))
        .route("/version", websocket(version))
        .route("/health", respond(|_request| text_response(StatusCode::OK, "ok\n")))
}

async fn echo(mut session: Session) -> Result<(), Closed> {
    loop {
        let message = session.recv().await?;
        session.send(message).await?;
    }
}

/// Sends the version of HTTP that the session came over, and ends.
async fn version(session: Session) -> Result<(), Closed> {
    session.send(format!("{:?}", session.request().as_http().version())).await
}

fn page() -> http::Response<bytes::Bytes> {
    let mut page = http::Response::new(PAGE.into());
    let html = http::HeaderValue::from_static("text/html; charset=utf-8");
    page.headers_mut().insert(http::header::CONTENT_TYPE, html);
    page
}

const PAGE: &str = r#"<!doctype html>
<title>sockless over HTTP/2</title>
<p>A WebSocket came over <output id="version">?</output>, and was closed with
<output id="ended">?</output>.</p>
<p><input id="text" placeholder="say something"> <output id="echo"></output></p>
<script>
  const short = new WebSocket("/version");
  short.onmessage = (event) => { version.value = event.data; };
  short.onclose = (event) => { ended.value = `${event.code}${event.wasClean ? "" : " (not clean)"}`; };
  const socket = new WebSocket("/echo");
  text.onchange = () => socket.send(text.value);
  socket.onmessage = (event) => { echo.value = event.data; };
</script>
"#;

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http_body_util::Empty;
    use rcgen::{CertifiedKey, generate_simple_self_signed};
    use tokio_rustls::TlsConnector;
    use tokio_rustls::rustls::{ClientConfig, RootCertStore};

    use super::*;

    #[tokio::test]
    async fn a_client_of_http2_is_served_over_tls() {
        let directory = std::env::temp_dir().join(format!("http2-example-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let (cert_file, key_file) = (directory.join("cert.pem"), directory.join("key.pem"));
        let CertifiedKey { cert, signing_key } =
            generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        std::fs::write(&cert_file, cert.pem()).unwrap();
        std::fs::write(&key_file, signing_key.serialize_pem()).unwrap();
        let acceptor = acceptor(&cert_file, &key_file).unwrap();
        std::fs::remove_dir_all(&directory).unwrap();

        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let runtime = Arc::new(TokioRuntime);
        let mount = Mount::new(router(), runtime.clone());
        tokio::spawn(async move { accept(&listener, &acceptor, &mount).await });

        let mut roots = RootCertStore::empty();
        roots.add(cert.der().clone()).unwrap();
        let mut config = ClientConfig::builder_with_provider(ring::default_provider().into())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"h2".to_vec()];
        let stream = TcpStream::connect(addr).await.unwrap();
        let connector = TlsConnector::from(Arc::new(config));
        let stream = connector.connect("localhost".try_into().unwrap(), stream).await.unwrap();
        let client = hyper::client::conn::http2::Builder::new(TokioExecutor::new());
        let (sender, connection) =
            client.handshake::<_, Empty<Bytes>>(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);

        let url = |path| format!("wss://localhost:{}{path}", addr.port());
        let open = |path| sockless::hyper::connect(&sender, &url(path), runtime.clone());
        let mut session = open("/version").await.unwrap();
        assert_eq!(session.recv().await.unwrap().as_text(), Some("HTTP/2.0"));
        let mut session = open("/echo").await.unwrap();
        session.send("hello").await.unwrap();
        assert_eq!(session.recv().await.unwrap().as_text(), Some("hello"));
    }
}
