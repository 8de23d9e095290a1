//! Traces: equal runs have equal ones, the first difference is named, and a failure leaves a timeline.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::time::Duration;

use sockless::{CloseCode, Closed, Role, Router, Session, websocket};
use sockless_sim::{Link, Sim, Trace, TraceFrame};

const MS: Duration = Duration::from_millis(1);

async fn echo(mut session: Session) -> Result<(), Closed> {
    loop {
        let message = session.recv().await?;
        session.send(message).await?;
    }
}

/// A client talks to a machine, over a slow link, and asserts at last.
async fn talk(sim: Sim, text: &'static str, expected: &'static str) {
    let (machine, world) = (sim.machine("rooms"), sim.clone());
    machine.run(move |_| {
        let link = Link::default().latency(5 * MS).short_writes(7);
        world.bind_over("rooms", &link).serve(Router::new().route("/", websocket(echo)))
    });
    sim.settle().await;
    let mut client = sim.connect("ws://rooms/").await.unwrap();
    client.send(text).await.unwrap();
    assert_eq!(client.recv().await.unwrap(), expected);
    client.send(vec![0xff; 300]).await.unwrap();
    client.close(CloseCode::NORMAL);
    client.closed().await;
}

fn run(seed: u64, text: &'static str) -> Trace {
    let sim = Sim::new(seed);
    sim.record_trace();
    sim.run(talk(sim.clone(), text, text));
    sim.trace()
}

#[test]
fn equal_runs_have_equal_traces_and_others_differ_in_an_event_that_is_named() {
    let trace = run(7, "hello");
    assert_eq!(trace.diff(&run(7, "hello")), None);
    assert_eq!(trace, run(7, "hello"));
    let difference = trace.diff(&run(7, "jello")).unwrap();
    let text = difference.to_string();
    assert!(text.starts_with(&format!("the traces differ at event {}:", difference.number())));
    assert!(
        text.contains("first:  +20ms the client of connection #1 sends Text, 5 bytes: \"hello\""),
        "{text}"
    );
    assert!(
        text.contains("second: +20ms the client of connection #1 sends Text, 5 bytes: \"jello\""),
        "{text}"
    );
    let other = trace.diff(&run(8, "hello")).unwrap();
    assert!(other.number() < difference.number(), "{other}");
}

#[test]
fn a_trace_that_begins_later_shows_what_was_open() {
    let sim = Sim::new(7);
    sim.run(async {
        let mut client = sim.app(Router::new().route("/", websocket(echo))).open("/").await;
        sim.record_trace();
        client.send("late").await;
        client.expect("late").await;
    });
    let page = sim.trace().html();
    assert!(page.contains("#1 client") && page.contains("class=\"arrow data\""), "{page}");
}

#[test]
fn a_trace_has_the_frames_of_both_ends() {
    let trace = run(7, "hello");
    let frames: Vec<_> = trace
        .frames()
        .map(|frame| (frame.from(), frame.opcode(), frame.len(), frame.payload().len()))
        .collect();
    let expected = |role| [(role, 1, 5, 5), (role, 2, 300, 300), (role, 8, 2, 2)];
    for role in [Role::Client, Role::Server] {
        let of_role: Vec<_> = frames.iter().copied().filter(|(from, ..)| *from == role).collect();
        assert_eq!(of_role, expected(role));
    }
    assert!(trace.frames().all(|frame| frame.is_final() && frame.connection() == 1));
    assert!(trace.frames().zip(trace.frames().skip(1)).all(|(one, next)| one.at() <= next.at()));
}

#[test]
fn a_trace_is_read_as_it_is_written() {
    let trace = run(7, "h\u{e9}<\"\u{1}");
    let text = trace.to_string();
    assert_eq!(text.parse::<Trace>(), Ok(trace.clone()));
    assert!(
        text.starts_with(
            r#"{"format":"sockless-trace","version":1,"role":"network","time_unit":"ms","seed":7}"#
        ),
        "{text}"
    );
    let second = text.lines().nth(1).unwrap();
    assert_eq!(
        second,
        r#"{"time":0.000000,"number":0,"name":"sim:task_polled","data":{"task":0,"name":"main","machine":null}}"#
    );
    for (broken, line) in [
        (text.replacen("\"version\":1", "\"version\":2", 1), 1),
        (text.replacen("\"number\":3", "\"number\":4", 1), 5),
        (text.replacen("sim:connection_opened", "sim:x", 1), 0),
        (String::new(), 1),
    ] {
        let error = broken.parse::<Trace>().unwrap_err().to_string();
        assert!(line == 0 || error.starts_with(&format!("line {line} is not of a ")), "{error}");
    }
}

/// Two traces of servers in one file, with what a later version might add.
const CONNECTIONS: &str = r#"{"format":"sockless-trace","version":1,"role":"server","time_unit":"ms"}
{"time":5000.000001,"group":"a","name":"http:request","data":{"lines":["GET /chat HTTP/1.1","host: x"]}}
{"time":5001.5,"group":"a","name":"http:response","data":{"lines":["HTTP/1.1 101 Switching Protocols"]}}
{"format":"sockless-trace","version":1,"role":"server","time_unit":"ms","more":[1]}
{"time":5002,"group":"b","name":"websocket:frame_created","data":{"opcode":"text","fin":true,"rsv":4,"length":3,"hex":"f0ff01"}}
{"time":5003.000000,"group":"a","name":"later:event","data":null}
{"time":5004.000000,"group":"a","name":"websocket:frame_created","data":{"opcode":"pong","fin":true,"rsv":0,"length":9}}
{"time":5003.000001,"group":"a","name":"websocket:frame_parsed","data":{"opcode":"text","fin":false,"rsv":0,"length":2,"text":"<b"}}
{"time":5005.000000,"group":"a","name":"websocket:state_updated","data":{"new":"closed","by":"peer","cause":"eof"}}
"#;

#[test]
fn traces_of_connections_over_real_sockets_are_read() {
    let trace: Trace = CONNECTIONS.parse().unwrap();
    assert_eq!(trace.seed(), None);
    let shown = |frame: TraceFrame<'_>| {
        let (at, from) = (frame.at().since_epoch().as_nanos(), frame.from());
        let (opcode, rsv, payload) = (frame.opcode(), frame.rsv(), frame.payload().escape_ascii());
        format!("{at} #{} {from:?} {opcode} {rsv} {} {payload}", frame.connection(), frame.len())
    };
    // They are in the order of their times.
    let expected = [
        r"1999999 #2 Server 1 4 3 \xf0\xff\x01",
        "3000000 #1 Client 1 0 2 <b",
        "3999999 #1 Server 10 0 9 ",
    ];
    assert_eq!(trace.frames().map(shown).collect::<Vec<_>>(), expected);
    let heads: Vec<_> = trace
        .heads()
        .map(|head| {
            let at = head.at().since_epoch().as_nanos();
            (at, head.connection(), head.from(), head.line())
        })
        .collect();
    let expected = [
        (0, 1, Role::Client, "GET /chat HTTP/1.1"),
        (0, 1, Role::Client, "host: x"),
        (1_499_999, 1, Role::Server, "HTTP/1.1 101 Switching Protocols"),
    ];
    assert_eq!(heads, expected);
    assert_eq!(trace.to_string().parse(), Ok(trace.clone()));
    let page = trace.html();
    for part in ["Recorded connections", "#1 client", "#2 server", "closed: eof", "&lt;b"] {
        assert!(page.contains(part), "{part}: {page}");
    }

    for (from, to, line) in [
        ("\"role\":\"server\",\"time_unit\":\"ms\",\"more\"", "\"role\":\"client\",\"more\"", 4),
        ("\"f0ff01\"", "\"f0ff0\"", 5),
        ("\"rsv\":4", "\"rsv\":8", 5),
        ("\"text\",\"fin\":false", "\"txt\",\"fin\":false", 8),
        ("5005.000000", "-1", 9),
    ] {
        let error = CONNECTIONS.replacen(from, to, 1).parse::<Trace>().unwrap_err().to_string();
        assert_eq!(error, format!("line {line} is not of a sockless-trace of version 1"), "{to}");
    }
}

#[test]
fn the_timeline_needs_nothing_else_and_escapes_what_peers_wrote() {
    let trace = run(7, "<script>alert('&\"')</script>");
    let page = trace.html();
    for forbidden in ["<script", "src=", "href=", "@import", "url(http", "onload"] {
        assert!(!page.contains(forbidden), "{forbidden}");
    }
    assert_eq!(page.matches("http").count(), 1, "the namespace of SVG alone");
    assert!(page.contains("&lt;script&gt;alert(&#39;&amp;"), "{page}");
    for lane in ["rooms</text>", "the test</text>", "#1 client", "#1 server", ">main<"] {
        assert!(page.contains(lane), "{lane}");
    }
    // All frames are read but for the last one, whose reader has ended.
    let arrows =
        page.matches("<line class=\"arrow ").count() + page.matches("class=\"lost\"").count();
    assert_eq!(arrows, trace.frames().count());
    assert!(page.matches("<line class=\"arrow ").count() >= 5, "{page}");
    assert!(!page.contains("<pre"));
}

fn directory(name: &str) -> PathBuf {
    let directory = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = fs::remove_dir_all(&directory);
    directory
}

/// Runs a test of this file that is ignored otherwise, in a process of its own.
fn child(name: &str, environment: &[(&str, &str)]) -> Output {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", name, "--ignored", "--nocapture", "--test-threads=1"])
        .envs(environment.iter().copied())
        .output()
        .unwrap()
}

#[test]
#[ignore = "run in a process of its own"]
fn child_fails() {
    Sim::check(11..12, |sim| talk(sim, "hello", "help"));
}

#[test]
fn a_failure_leaves_its_trace_and_its_timeline() {
    let directory = directory("timelines");
    let path = directory.to_str().unwrap();
    let printed = child("child_fails", &[("SOCKLESS_SIM_TRACE", path)]);
    let printed = String::from_utf8_lossy(&printed.stderr).into_owned();
    assert!(
        printed.contains(&format!("\ntimeline: {path}/child_fails-11.html\nreplay: ")),
        "{printed}"
    );
    let page = fs::read_to_string(directory.join("child_fails-11.html")).unwrap();
    let (drawing, failure) = page.split_once("</svg>").unwrap();
    assert!(failure.contains("<pre class=\"failure\">seed 11: main panicked at +"), "{failure}");
    assert!(drawing.contains("<line class=\"failure\""), "{drawing}");
    let trace: Trace =
        fs::read_to_string(directory.join("child_fails-11.jsonl")).unwrap().parse().unwrap();
    assert_eq!(trace.seed(), Some(11));
    fs::remove_dir_all(&directory).unwrap();

    // It is the same in each process.
    let again = child("child_fails", &[("SOCKLESS_SIM_TRACE", path)]);
    assert!(!again.status.success());
    let text = fs::read_to_string(directory.join("child_fails-11.jsonl")).unwrap();
    assert_eq!(trace.diff(&text.parse().unwrap()), None);
    assert_eq!(text, trace.to_string());
    fs::remove_dir_all(&directory).unwrap();
}

#[test]
fn a_run_stops_at_an_event() {
    let printed = child("child_fails", &[("SOCKLESS_SIM_STOP", "60")]);
    let printed = String::from_utf8_lossy(&printed.stderr).into_owned();
    assert!(printed.contains("seed 11: stopped at event 60 at +15ms after "), "{printed}");
    assert!(printed.contains("\ntasks:\n  main "), "{printed}");
    let printed = child("child_fails", &[("SOCKLESS_SIM_STOP", "x")]);
    let printed = String::from_utf8_lossy(&printed.stderr).into_owned();
    assert!(
        printed.contains("SOCKLESS_SIM_STOP=x is invalid: expected the number of an event"),
        "{printed}"
    );
}
