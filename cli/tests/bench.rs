//! `sockless bench` as a user runs it, against servers of the same program.

mod common;

use std::process::{Command, Output};

use common::{PROGRAM, Server};

fn bench(arguments: &[&str]) -> Output {
    let mut command = Command::new(PROGRAM);
    command.args(["bench", "--no-proxy", "--connections", "4", "--duration", "0.2"]);
    command.args(arguments).output().unwrap()
}

/// The words of the lines that were printed, the heading first.
fn lines(output: &Output) -> Vec<Vec<String>> {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{stderr}");
    let stdout = String::from_utf8(output.stdout.clone()).unwrap();
    stdout.lines().map(|line| line.split_whitespace().map(str::to_owned).collect()).collect()
}

fn count(line: &[String]) -> u64 {
    line[0].parse().unwrap()
}

#[test]
fn each_load_counts_what_it_names() {
    let echo = Server::start(&["echo"]);
    for (arguments, unit) in [
        (&["--depth", "3", "--size", "1000"][..], "replies"),
        (&["--text", "--deflate"], "replies"),
        (&["--churn", "2"], "connections"),
        (&["--churn", "0"], "connections"),
    ] {
        let lines = lines(&bench(&[arguments, &[&echo.url("")]].concat()));
        assert_eq!(lines[0][0], unit);
        assert!(count(&lines[1]) > 0, "{arguments:?}: {lines:?}");
        assert_eq!(lines[1].last(), Some(&echo.url("")));
    }
}

#[test]
fn a_rate_is_kept_and_an_idle_connection_answers_once() {
    let echo = Server::start(&["echo"]);
    let paced = lines(&bench(&["--rate", "100", &echo.url("")]));
    // 0.2 seconds.
    assert_eq!(count(&paced[1]), 20, "{paced:?}");
    let idle = lines(&bench(&["--idle", &echo.url("")]));
    assert_eq!((&idle[0][0][..], count(&idle[1])), ("pongs", 4));
}

#[test]
fn each_message_of_a_fan_out_reaches_all() {
    let chat = Server::start(&["chat"]);
    let lines = lines(&bench(&["--fan-out", &chat.url("")]));
    let deliveries = count(&lines[1]);
    assert!(deliveries > 0 && deliveries.is_multiple_of(4), "{lines:?}");
}

#[test]
fn two_servers_are_compared() {
    let (first, second) = (Server::start(&["echo"]), Server::start(&["echo"]));
    let lines = lines(&bench(&["--rounds", "2", "--against", &second.url(""), &first.url("")]));
    assert_eq!((lines[1].last(), lines[2].last()), (Some(&first.url("")), Some(&second.url(""))));
    assert_eq!((lines.len(), &lines[3][0][..]), (4, "ratio"));
}

#[test]
fn what_fails_is_counted_and_named() {
    // Nothing listens on a port that was bound and is not any more.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let output = bench(&[&format!("ws://{port}/")]);
    assert_eq!(output.status.code(), Some(1));
    let stdout = String::from_utf8_lossy(&output.stdout);
    assert!(stdout.contains("4 failed") && stdout.contains("refused"), "{stdout}");
}

#[test]
fn a_plot_has_a_line_for_each_server() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("times.svg");
    let (first, second) = (Server::start(&["echo"]), Server::start(&["echo"]));
    let plot = ["--plot", file.to_str().unwrap(), "--against", &second.url(""), &first.url("")];
    lines(&bench(&plot));
    let svg = std::fs::read_to_string(&file).unwrap();
    for expected in ["<svg", "99.9 %", &first.url(""), &second.url("")] {
        assert!(svg.contains(expected), "{expected}: {svg}");
    }
    assert!(svg.matches("<polyline").count() >= 2, "{svg}");
    let nowhere = bench(&["--plot", "/does/not/exist/x.svg", &first.url("")]);
    assert_eq!(nowhere.status.code(), Some(2), "{nowhere:?}");
}
