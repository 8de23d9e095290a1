//! Cookies that servers set, on redirects and on later connections.

use std::sync::{Arc, Mutex};

use sockless_driver::{ConnectError, CookieJar, Reconnect};
use sockless_sim::Sim;

use crate::support::{accepting, script};

type Heads = Arc<Mutex<Vec<String>>>;

/// Answers each request to `name` with `status` and `lines`, or with a 101 that has them. The
/// requests go to `heads`.
fn serve(sim: &Sim, heads: &Heads, name: &str, status: u16, lines: &'static [&'static str]) {
    let heads = Arc::clone(heads);
    script(sim, name, move |io| {
        let heads = Arc::clone(&heads);
        async move {
            let head = io.read_until(b"\r\n\r\n").await.unwrap();
            heads.lock().unwrap().push(String::from_utf8(head.to_vec()).unwrap());
            let answer = if status == 101 {
                accepting(&head, lines)
            } else {
                let lines = lines.join("\r\n");
                format!("HTTP/1.1 {status} X\r\n{lines}\r\nContent-Length: 0\r\n\r\n").into_bytes()
            };
            io.write_all(&answer).await.unwrap();
            io
        }
    });
}

/// The cookies of each request.
fn cookies(heads: &Heads) -> Vec<Option<String>> {
    let line =
        |head: &String| head.lines().find(|line| line.starts_with("Cookie: ")).map(Into::into);
    std::mem::take(&mut *heads.lock().unwrap()).iter().map(line).collect()
}

#[test]
fn cookies_of_a_redirect_are_sent_to_the_hosts_that_they_are_for() {
    Sim::check(0..3, |sim| async move {
        let heads = Heads::default();
        let login = &[
            "Set-Cookie: id=7; Domain=example.com",
            "Set-Cookie: own=8",
            "Location: ws://chat.example.com/",
        ];
        serve(&sim, &heads, "login.example.com", 302, login);
        serve(&sim, &heads, "chat.example.com", 101, &["Set-Cookie: seen=1; Path=/"]);
        let jar = CookieJar::new();
        let connect = sim.connect("ws://login.example.com/").redirects(1).cookies(&jar);
        let connection = connect.cookie("given", "x").open().await.unwrap();
        drop(connection);
        // The cookie that was given stays with its origin.
        assert_eq!(
            cookies(&heads),
            [Some("Cookie: given=x".to_owned()), Some("Cookie: id=7".into())]
        );
        let sent = |url: &str| jar.header(url).unwrap().unwrap_or_default();
        assert_eq!(sent("ws://chat.example.com/"), "id=7; seen=1");
        assert_eq!(sent("ws://login.example.com/"), "id=7; own=8");

        // A later connection sends them, after those that were given.
        let connect = sim.connect("ws://chat.example.com/").cookie("given", "x").cookies(&jar);
        drop(connect.open().await.unwrap());
        assert_eq!(cookies(&heads), [Some("Cookie: given=x; id=7; seen=1".to_owned())]);
        drop(sim.connect("ws://chat.example.com/").open().await.unwrap());
        assert_eq!(cookies(&heads), [None], "without a jar, nothing is kept");
    });
}

#[test]
fn a_reconnect_sends_the_cookies_of_earlier_attempts() {
    Sim::check(0..3, |sim| async move {
        let heads = Heads::default();
        serve(&sim, &heads, "server", 503, &["Set-Cookie: node=a; Secure", "Set-Cookie: try=1"]);
        let (dialler, jar) = (sim.clone(), CookieJar::new());
        let connect = move || dialler.connect("ws://server/").cookies(&jar);
        let mut feed = Reconnect::new(connect).retry_if(|_, attempts| attempts < 3);
        feed.next().await.unwrap_err();
        let again = Some("Cookie: try=1".to_owned());
        assert_eq!(cookies(&heads), [None, again.clone(), again]);
    });
}

#[test]
fn a_jar_does_not_show_cookies() {
    Sim::check(0..3, |sim| async move {
        let heads = Heads::default();
        serve(&sim, &heads, "server", 403, &["Set-Cookie: id=hidden"]);
        let jar = CookieJar::new();
        let error = sim.connect("ws://server/").cookies(&jar).open().await.unwrap_err();
        assert!(matches!(error, ConnectError::Rejected { .. }), "{error}");
        assert_eq!(jar.header("ws://server/").unwrap().as_deref(), Some("id=hidden"));
        assert!(!format!("{jar:?}").contains("hidden"));
    });
}
