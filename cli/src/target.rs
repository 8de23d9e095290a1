//! The address of a server and the ways to reach it: [`Target`] and [`SessionOptions`], which the clients of this program share.

mod tls;

use std::path::PathBuf;
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use clap::Args;
use sockless::http::header::{AUTHORIZATION, ORIGIN};
use sockless::http::{HeaderName, HeaderValue};
use sockless::tls::TlsConnector;
use sockless::{Config, Connect, Deflate, ProxyRules};

use crate::exit::Failure;

/// The options of a connection and its request.
#[derive(Debug, Args)]
pub(crate) struct Target {
    /// Adds a header to the request; may be repeated.
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE", value_parser = header, help_heading = "Request")]
    headers: Vec<(HeaderName, HeaderValue)>,
    /// Sends an Origin header, as a browser does.
    #[arg(short, long, value_name = "ORIGIN", help_heading = "Request")]
    origin: Option<HeaderValue>,
    /// Sends the credentials by the scheme Basic.
    #[arg(long, value_name = "USER:PASSWORD", help_heading = "Request")]
    auth: Option<String>,
    /// Follows so many redirects.
    #[arg(long, value_name = "COUNT", default_value_t = 0, help_heading = "Request")]
    redirects: u32,

    /// Connects through a proxy, such as http://proxy:3128 or socks5h://localhost:9050.
    ///
    /// Without it, the variables https_proxy, http_proxy, all_proxy and no_proxy decide.
    #[arg(long, value_name = "URL", conflicts_with = "unix", help_heading = "Connection")]
    proxy: Option<String>,
    /// Uses no proxy, whatever the environment names.
    #[arg(long, conflicts_with = "proxy", help_heading = "Connection")]
    no_proxy: bool,
    /// Connects to a Unix socket; URL still names the host and the path.
    #[arg(long, value_name = "PATH", help_heading = "Connection")]
    unix: Option<PathBuf>,
    /// Trusts only the certificate authorities in FILE (PEM).
    #[arg(long, value_name = "FILE", help_heading = "Connection")]
    ca: Option<PathBuf>,
    /// Accepts every certificate, from any issuer and for any name: for tests only.
    #[arg(short = 'k', long, conflicts_with = "ca", help_heading = "Connection")]
    insecure: bool,
    /// Presents the client's certificate, with the chain behind it (PEM), to servers that request one.
    #[arg(long, value_name = "FILE", requires = "key", help_heading = "Connection")]
    cert: Option<PathBuf>,
    /// The private key of --cert (PEM), which may be in the same file.
    #[arg(long, value_name = "FILE", requires = "cert", help_heading = "Connection")]
    key: Option<PathBuf>,
    /// Fails when the session is not open after so long.
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = seconds, help_heading = "Connection")]
    connect_timeout: Duration,
}

/// The options of the sessions.
#[derive(Debug, Args)]
pub(crate) struct SessionOptions {
    /// Offers a subprotocol, after those before it; may be repeated.
    #[arg(short, long, value_name = "NAME", help_heading = "Request")]
    subprotocol: Vec<String>,
    /// Offers to compress messages; EXTENSION is such as `permessage-deflate; client_no_context_takeover`.
    #[arg(long, value_name = "EXTENSION", num_args = 0..=1, require_equals = true, default_missing_value = "permessage-deflate", help_heading = "Request")]
    deflate: Option<Deflate>,
    /// Sends pings, and ends the session when none is answered.
    #[arg(long, value_name = "SECONDS", value_parser = seconds, help_heading = "Connection")]
    ping_interval: Option<Duration>,
    /// Accepts messages of at most this length.
    #[arg(long, value_name = "BYTES", default_value_t = 64 << 20, help_heading = "Connection")]
    max_message_len: u64,
}

impl Target {
    /// Returns what begins a connection attempt to a URL, as often as needed.
    pub(crate) fn connect(
        &self,
        session: &SessionOptions,
    ) -> Result<impl Fn(&str) -> Connect + Send + Sync + 'static, Failure> {
        self.connect_with(session.config(), session.subprotocol.clone())
    }

    /// Returns what begins a connection attempt to a URL, with these settings.
    pub(crate) fn connect_with(
        &self,
        config: Config,
        subprotocols: Vec<String>,
    ) -> Result<impl Fn(&str) -> Connect + Send + Sync + 'static, Failure> {
        let settings = Settings {
            headers: self.headers(),
            subprotocols,
            redirects: self.redirects,
            config: config.opening_timeout(self.connect_timeout),
            unix: self.unix.clone(),
            proxy: self.proxy()?,
            tls: self.tls()?,
        };
        Ok(move |url: &str| settings.apply(sockless::connect(url)))
    }

    /// Returns the headers that are added to requests.
    pub(crate) fn headers(&self) -> Vec<(HeaderName, HeaderValue)> {
        let mut headers = self.headers.clone();
        headers.extend(self.origin.clone().map(|origin| (ORIGIN, origin)));
        if let Some(credentials) = &self.auth {
            let value = format!("Basic {}", BASE64_STANDARD.encode(credentials));
            let mut value = HeaderValue::from_str(&value).expect("base64 is valid in a header");
            value.set_sensitive(true);
            headers.push((AUTHORIZATION, value));
        }
        headers
    }

    fn proxy(&self) -> Result<Option<ProxyRules>, Failure> {
        if self.no_proxy || self.unix.is_some() {
            return Ok(None);
        }
        let rules = match &self.proxy {
            Some(url) => sockless::Proxy::new(url).map(ProxyRules::from),
            None => Ok(ProxyRules::from_env()),
        };
        rules.map(Some).map_err(|error| Failure::usage(format_args!("--proxy: {error}")))
    }

    fn tls(&self) -> Result<Option<TlsConnector>, Failure> {
        let connector = match (&self.ca, &self.cert) {
            (Some(file), _) => tls::trusting(file)?,
            (None, _) if self.insecure => tls::accepting_all(),
            (None, Some(_)) => tls::trusting_as_the_system()?,
            (None, None) => return Ok(None),
        };
        match (&self.cert, &self.key) {
            (Some(cert), Some(key)) => tls::presenting(connector, cert, key).map(Some),
            _ => Ok(Some(connector)),
        }
    }
}

impl SessionOptions {
    fn config(&self) -> Config {
        let config = Config::default()
            .ping_interval(self.ping_interval)
            .max_message_len(self.max_message_len);
        self.deflate.iter().cloned().fold(config, Config::extension)
    }
}

/// The settings of every attempt.
struct Settings {
    headers: Vec<(HeaderName, HeaderValue)>,
    subprotocols: Vec<String>,
    redirects: u32,
    config: Config,
    unix: Option<PathBuf>,
    proxy: Option<ProxyRules>,
    tls: Option<TlsConnector>,
}

impl Settings {
    fn apply(&self, mut connect: Connect) -> Connect {
        connect = connect.config(self.config.clone());
        if self.redirects > 0 {
            connect = connect.redirects(self.redirects);
        }
        for (name, value) in &self.headers {
            connect = connect.header(name, value);
        }
        for name in &self.subprotocols {
            connect = connect.subprotocol(name);
        }
        if let Some(path) = &self.unix {
            connect = connect.unix_socket(path);
        }
        if let Some(rules) = &self.proxy {
            connect = connect.proxy(rules.clone());
        }
        if let Some(tls) = &self.tls {
            connect = connect.tls(tls.clone());
        }
        connect
    }
}

fn header(text: &str) -> Result<(HeaderName, HeaderValue), String> {
    let (name, value) = text.split_once(':').ok_or("expected NAME: VALUE")?;
    let name = name.trim().parse().map_err(|_| format!("{name:?} is not a header name"))?;
    let value =
        value.trim().parse().map_err(|_| "a header value has no control characters".to_owned())?;
    Ok((name, value))
}

/// Reads a number of seconds, which may have a fraction.
pub(crate) fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "expected a number of seconds".to_owned())?;
    Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string())
}
