//! The choice of a proxy by server, as environment variables state it: [`ProxyRules`].

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::IpNet;

use super::Proxy;
use super::error::ParseProxyUrlError;
use crate::network;

/// The proxies for the servers that a client connects to, for
/// [`Connect::proxy`](crate::Connect::proxy).
///
/// Rules that are made of one [`Proxy`] use it for all servers. Rules that are made of environment
/// variables use these, each in lower case or else in upper case:
///
/// | variable | value |
/// |---|---|
/// | `http_proxy` | the proxy for `ws:` URLs |
/// | `https_proxy` | the proxy for `wss:` URLs |
/// | `all_proxy` | the proxy for URLs without a proxy of their own |
/// | `no_proxy` | the servers without a proxy: see [`except`](Self::except) |
///
/// `HTTP_PROXY` in upper case is ignored if `REQUEST_METHOD` is set: in a CGI program, it is a
/// header of the request (CVE-2016-5385).
///
/// ```
/// use std::collections::BTreeMap;
///
/// use sockless::ProxyRules;
///
/// let vars = [("https_proxy", "http://proxy:3128"), ("no_proxy", "localhost,.internal")];
/// let vars = BTreeMap::from(vars.map(|(name, value)| (name.to_owned(), value.to_owned())));
/// let rules = ProxyRules::from_vars(&vars);
/// assert!(rules.choose(true, "example.com", 443)?.is_some());
/// assert!(rules.choose(true, "db.internal", 443)?.is_none());
/// assert!(rules.choose(false, "example.com", 80)?.is_none());
/// # Ok::<(), sockless::ParseProxyUrlError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProxyRules {
    ws: Option<Choice>,
    wss: Option<Choice>,
    exceptions: Vec<Exception>,
}

/// A proxy, or the reason why the text of its setting is not one.
type Choice = Result<Proxy, ParseProxyUrlError>;

impl ProxyRules {
    /// Returns the rules that `vars` state. A variable that does not have the URL of a proxy is an
    /// error of those connections that it applies to, when they are opened.
    pub fn from_vars(vars: &BTreeMap<String, String>) -> Self {
        let in_cgi = vars.contains_key("REQUEST_METHOD");
        let get = |name: &str| {
            let upper = name.to_ascii_uppercase();
            let names = [Some(name.to_owned()), (!in_cgi || name != "http_proxy").then_some(upper)];
            names.into_iter().flatten().find_map(|name| {
                let value = vars.get(&name).filter(|value| !value.trim().is_empty())?;
                Some((name, value.trim()))
            })
        };
        let proxy = |name| {
            let (name, url) = get(name)?;
            Some(Proxy::new(url).map_err(|error| error.in_variable(&name)))
        };
        let all = proxy("all_proxy");
        let (ws, wss) = (proxy("http_proxy"), proxy("https_proxy"));
        let rules = Self { ws: ws.or_else(|| all.clone()), wss: wss.or(all), exceptions: vec![] };
        rules.except(get("no_proxy").map_or("", |(_, list)| list))
    }

    /// Returns the rules that the environment of this process states, as
    /// [`from_vars`](Self::from_vars) does.
    pub fn from_env() -> Self {
        let text = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        };
        Self::from_vars(&std::env::vars_os().filter_map(text).collect())
    }

    /// Adds servers that are reached without a proxy. `servers` is a list, separated by commas, of
    ///
    /// * names, such as `example.com` or `.example.com`, each with its subdomains;
    /// * addresses, such as `10.1.2.3` or `2001:db8::1`;
    /// * networks, such as `10.0.0.0/8` or `2001:db8::/32` (RFC 4632, RFC 4291 §2.3);
    /// * `*`, which is all servers.
    ///
    /// A port after a colon restricts an entry to that port; an IPv6 address or network is in
    /// brackets then. Other entries are ignored. A name is not resolved to compare its addresses.
    ///
    /// The bits of a network's address after its length are ignored: `10.1.2.3/8` is `10.0.0.0/8`.
    /// An IPv4-mapped IPv6 address, here or in a URL, is the IPv4 address: `::ffff:10.0.0.0/104` is
    /// `10.0.0.0/8`.
    #[must_use]
    pub fn except(mut self, servers: &str) -> Self {
        self.exceptions.extend(servers.split(',').filter_map(Exception::parse));
        self
    }

    /// Returns the proxy for a server, whose `host` has no brackets; `None` for a direct
    /// connection. `secure` is true for `wss:` URLs.
    ///
    /// # Errors
    ///
    /// Returns an error, with the name of the variable, if the variable that applies does not have
    /// the URL of a proxy.
    pub fn choose(
        &self,
        secure: bool,
        host: &str,
        port: u16,
    ) -> Result<Option<&Proxy>, ParseProxyUrlError> {
        let choice = if secure { self.wss.as_ref() } else { self.ws.as_ref() };
        let is_excepted = || self.exceptions.iter().any(|exception| exception.matches(host, port));
        let choice = choice.filter(|_| !is_excepted()).map(Result::as_ref);
        choice.transpose().map_err(Clone::clone)
    }
}

/// Uses one proxy for all servers.
impl From<Proxy> for ProxyRules {
    fn from(proxy: Proxy) -> Self {
        Self { ws: Some(Ok(proxy.clone())), wss: Some(Ok(proxy)), exceptions: Vec::new() }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Exception {
    servers: Servers,
    port: Option<u16>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Servers {
    All,
    /// This name and its subdomains.
    Domain(String),
    Network(IpNet),
}

impl Exception {
    fn parse(entry: &str) -> Option<Self> {
        let entry = entry.trim().to_ascii_lowercase();
        if let Some(network) = network(&entry) {
            return Some(Self { servers: network, port: None });
        }
        let (host, port) = match entry.rsplit_once(':') {
            Some((host, port)) => (host, Some(port.parse().ok()?)),
            None => (entry.as_str(), None),
        };
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        let servers = match network(bare) {
            Some(network) => network,
            None if host == "*" => Servers::All,
            None => {
                let domain = host.strip_prefix('*').unwrap_or(host);
                let domain = domain.trim_matches('.');
                Servers::Domain((!domain.is_empty()).then(|| domain.to_owned())?)
            }
        };
        Some(Self { servers, port })
    }

    fn matches(&self, host: &str, port: u16) -> bool {
        if self.port.is_some_and(|only| only != port) {
            return false;
        }
        match &self.servers {
            Servers::All => true,
            Servers::Domain(domain) => {
                let host = host.trim_end_matches('.').to_ascii_lowercase();
                let below = host.strip_suffix(domain.as_str());
                below.is_some_and(|below| below.is_empty() || below.ends_with('.'))
            }
            Servers::Network(network) => {
                host.parse::<IpAddr>().is_ok_and(|ip| network.contains(&ip.to_canonical()))
            }
        }
    }
}

fn network(entry: &str) -> Option<Servers> {
    network::parse(entry).map(Servers::Network)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(vars: &[(&str, &str)]) -> ProxyRules {
        let vars = vars.iter().map(|(name, value)| (name.to_string(), value.to_string()));
        ProxyRules::from_vars(&vars.collect())
    }

    fn chosen(vars: &[(&str, &str)], secure: bool) -> Option<String> {
        let rules = rules(vars);
        rules.choose(secure, "example.com", 80).unwrap().map(ToString::to_string)
    }

    #[test]
    fn each_scheme_has_its_variable() {
        let vars = [("HTTP_PROXY", "one:1"), ("https_proxy", "two:2"), ("ALL_PROXY", "three:3")];
        assert_eq!(chosen(&vars, false).unwrap(), "http://one:1");
        assert_eq!(chosen(&vars, true).unwrap(), "http://two:2");
        assert_eq!(chosen(&vars[1..], false).unwrap(), "http://three:3");
        assert_eq!(chosen(&vars[..1], true), None);
        let both = [("http_proxy", "lower:1"), ("HTTP_PROXY", "upper:2")];
        assert_eq!(chosen(&both, false).unwrap(), "http://lower:1");
        let empty = [("http_proxy", " "), ("HTTP_PROXY", "upper:2")];
        assert_eq!(chosen(&empty, false).unwrap(), "http://upper:2");
    }

    #[test]
    fn a_header_of_a_cgi_request_is_not_a_setting() {
        let cgi = ("REQUEST_METHOD", "GET");
        assert_eq!(chosen(&[cgi, ("HTTP_PROXY", "evil:1")], false), None);
        assert!(chosen(&[cgi, ("http_proxy", "ours:1")], false).is_some());
        assert!(chosen(&[cgi, ("HTTPS_PROXY", "ours:1")], true).is_some());
    }

    #[test]
    fn an_error_names_its_variable() {
        let rules = rules(&[("ALL_PROXY", "ftp://user:secret@x"), ("http_proxy", "proxy:1")]);
        assert!(rules.choose(false, "example.com", 80).unwrap().is_some(), "it is not affected");
        assert!(rules.clone().except("example.com").choose(true, "example.com", 80).is_ok());
        let error = rules.choose(true, "example.com", 80).unwrap_err();
        assert_eq!(error.variable(), Some("ALL_PROXY"));
        assert!(!format!("{error} {error:?}").contains("secret"), "{error}");
    }

    #[test]
    fn exceptions_are_names_addresses_and_networks() {
        for (list, host, port, excepted) in [
            ("example.com", "example.com", 80, true),
            ("example.com", "EXAMPLE.com.", 80, true),
            ("example.com", "a.b.example.com", 80, true),
            ("example.com", "notexample.com", 80, false),
            (".example.com", "example.com", 80, true),
            ("*.example.com", "a.example.com", 80, true),
            ("other, example.com:8080", "example.com", 8080, true),
            ("example.com:8080", "example.com", 80, false),
            ("*", "anything", 1, true),
            ("10.0.0.0/8", "10.255.0.1", 80, true),
            ("10.0.0.0/8", "11.0.0.1", 80, false),
            ("0.0.0.0/0", "11.0.0.1", 80, true),
            ("0.0.0.0/0", "::1", 80, false),
            ("10.1.2.3", "10.1.2.3", 80, true),
            ("10.1.2.3:81", "10.1.2.3", 80, false),
            ("::1", "::1", 80, true),
            ("[::1]:81", "::1", 81, true),
            ("[::1]:81", "::1", 80, false),
            ("2001:db8::/32", "2001:db8:1::2", 80, true),
            ("127.0.0.1", "::ffff:127.0.0.1", 80, true),
            ("127.0.0.1", "127.0.0.2", 80, false),
            ("::ffff:127.0.0.1", "127.0.0.1", 80, true),
            ("::ffff:127.0.0.1", "::ffff:127.0.0.1", 80, true),
            ("10.1.2.3/8", "10.9.9.9", 80, true),
            ("10.1.2.3/8", "11.1.2.3", 80, false),
            ("2001:db8::7/32", "2001:db8:1::2", 80, true),
            ("10.0.0.0/8", "::ffff:10.0.0.1", 80, true),
            ("10.0.0.0/8", "::10.0.0.1", 80, false),
            ("::ffff:10.0.0.0/104", "10.1.2.3", 80, true),
            ("::ffff:10.0.0.0/104", "::ffff:10.1.2.3", 80, true),
            ("::ffff:10.0.0.0/104", "11.0.0.0", 80, false),
            ("::ffff:10.0.0.0/95", "10.0.0.0", 80, false),
            ("::/0", "2001:db8::1", 80, true),
            ("::/0", "1.2.3.4", 80, false),
            ("::1", "::2", 80, false),
            ("10.0.0.0/+8", "10.0.0.0", 80, false),
            ("10.0.0.0/", "10.0.0.0", 80, false),
            ("10.0.0.0/8:81", "10.1.2.3", 81, true),
            ("[2001:db8::/32]:81", "2001:db8::1", 81, true),
            ("::/129", "::1", 80, false),
            ("10.0.0.0/33", "10.0.0.0", 80, false),
            ("", "example.com", 80, false),
            (",,.,example.com:x", "example.com", 80, false),
        ] {
            let rules = ProxyRules::from(Proxy::new("proxy").unwrap()).except(list);
            assert_eq!(
                rules.choose(false, host, port).unwrap().is_none(),
                excepted,
                "{list}: {host}:{port}"
            );
        }
    }
}
