//! The prompt of `connect` at a terminal: a pseudoterminal, of which the test reads the screen and types the keys.
#![cfg(target_os = "linux")]

mod common;

use std::fs::{File, OpenOptions};
use std::future::pending;
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Child, Command};
use std::time::Duration;

use common::{PROGRAM, Server};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize};
use sockless::{Closed, Router, Session, websocket};
use tempfile::TempDir;
use tokio::runtime::Runtime;

const UP: &str = "\x1b[A";
const CONTROL_A: &str = "\x01";
const CONTROL_C: &str = "\x03";
const CONTROL_D: &str = "\x04";

/// `connect` at a terminal.
struct Terminal {
    child: Child,
    keyboard: File,
    /// The program's side, which stays open when the program has ended.
    device: File,
    printed: Vec<u8>,
    /// The length of what was expected of it, without control sequences.
    expected: usize,
}

impl Terminal {
    fn start(kind: &str, home: &Path, arguments: &[&str]) -> Self {
        let keyboard = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&keyboard).unwrap();
        unlockpt(&keyboard).unwrap();
        let name = ptsname(&keyboard, Vec::new()).unwrap();
        let device =
            OpenOptions::new().read(true).write(true).open(name.to_str().unwrap()).unwrap();
        tcsetwinsize(&device, Winsize { ws_row: 24, ws_col: 80, ws_xpixel: 0, ws_ypixel: 0 })
            .unwrap();
        let mut command = Command::new(PROGRAM);
        command.arg("connect").args(arguments).env("TERM", kind).env("XDG_STATE_HOME", home);
        command.env_remove("NO_COLOR");
        let stream = || device.try_clone().unwrap();
        let child = command.stdin(stream()).stdout(stream()).stderr(stream()).spawn().unwrap();
        let keyboard = File::from(keyboard);
        Self { child, keyboard, device, printed: Vec::new(), expected: 0 }
    }

    fn press(&mut self, keys: &str) {
        self.keyboard.write_all(keys.as_bytes()).unwrap();
    }

    fn enter(&mut self, line: &str) {
        self.press(line);
        self.press("\r");
    }

    /// Reads until `text` is on the screen. Returns what was before it.
    fn expect(&mut self, text: &str) -> String {
        loop {
            let screen = self.screen();
            if let Some((before, _)) = screen.split_once(text) {
                self.expected += before.len() + text.len();
                return before.to_owned();
            }
            assert!(self.read(Duration::from_secs(20)), "expected {text:?} in {screen:?}");
        }
    }

    /// What was printed and not expected yet, without control sequences.
    fn screen(&self) -> String {
        let printed = String::from_utf8_lossy(&self.printed).replace('\r', "");
        let mut parts = printed.split("\x1b[");
        let first = parts.next().unwrap_or_default().to_owned();
        let all = parts.fold(first, |text, part| {
            let end = part.find(|byte: char| byte.is_ascii_alphabetic());
            text + end.map_or("", |end| &part[end + 1..])
        });
        all[self.expected..].to_owned()
    }

    /// Returns false if nothing was printed within `patience`.
    fn read(&mut self, patience: Duration) -> bool {
        let mut ready = [PollFd::new(&self.keyboard, PollFlags::IN)];
        if poll(&mut ready, Some(&Timespec::try_from(patience).unwrap())).unwrap() == 0 {
            return false;
        }
        let mut bytes = [0; 4096];
        let len = self.keyboard.read(&mut bytes).unwrap();
        self.printed.extend_from_slice(&bytes[..len]);
        true
    }

    /// Waits until the program has ended. Returns what was printed and not expected.
    fn expect_end(mut self, status: i32) -> String {
        // The program waits until what it printed has been read.
        let ended = loop {
            let is_silent = !self.read(Duration::from_millis(10));
            if let Some(ended) = self.child.try_wait().unwrap()
                && is_silent
            {
                break ended;
            }
        };
        let last = self.screen();
        assert_eq!(ended.code(), Some(status), "{last}");
        let modes = tcgetattr(&self.device).unwrap().local_modes;
        assert!(modes.contains(LocalModes::ECHO | LocalModes::ICANON), "{modes:?}");
        last
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn home() -> TempDir {
    tempfile::tempdir().unwrap()
}

#[test]
fn a_line_is_edited_sent_and_found_again_by_the_next_program() {
    let (server, home) = (Server::start(&["echo"]), home());
    let mut terminal = Terminal::start("xterm", home.path(), &[&server.url("/")]);
    terminal.expect("> ");
    terminal.press("world");
    terminal.press(CONTROL_A);
    terminal.enter("hello ");
    terminal.expect("< hello world\n> ");
    terminal.press(UP);
    terminal.enter(" again");
    terminal.expect("< hello world again\n> ");
    terminal.press(CONTROL_D);
    terminal.expect_end(0);

    let mut terminal = Terminal::start("xterm", home.path(), &[&server.url("/")]);
    terminal.expect("> ");
    terminal.press(UP);
    terminal.enter(" and again");
    terminal.expect("< hello world again and again\n> ");
    terminal.press(CONTROL_C);
    terminal.expect_end(0);
}

#[test]
fn commands_do_what_the_help_lists() {
    let (server, home) = (Server::start(&["echo"]), home());
    let mut terminal = Terminal::start("xterm", home.path(), &[&server.url("/")]);
    terminal.expect("> ");
    terminal.enter("/hex 00ff");
    terminal.expect("< 0x00ff\n");
    terminal.enter("//hex");
    terminal.expect("< /hex\n");
    terminal.enter("/pong");
    terminal.expect("there is no command /pong; /help lists them, //pong sends it\n");
    terminal.enter("/ping");
    terminal.expect("pong after ");
    let file = home.path().join("file");
    std::fs::write(&file, "from a file").unwrap();
    terminal.enter(&format!("/text {}", file.display()));
    terminal.expect("< from a file\n");
    terminal.enter(&format!("/file {}", file.display()));
    terminal.expect("< 0x66726f6d20612066696c65\n");
    terminal.enter("/help");
    for line in ["/ping [TEXT]", "/close [CODE [REASON]]", "/help"] {
        terminal.expect(line);
    }
    terminal.enter("/close 4000 bye");
    // An end with another code than 1000 and 1001.
    terminal.expect_end(1);
}

/// The line is not sent, and does not stay on the screen.
#[test]
fn a_session_may_end_while_a_line_is_edited() {
    let (mut server, home) = (Server::start(&["echo"]), home());
    let mut terminal = Terminal::start("xterm", home.path(), &[&server.url("/")]);
    terminal.expect("> ");
    terminal.press("half a line");
    terminal.expect("half a line");
    assert_eq!(server.terminate(), Some(0));
    let last = terminal.expect_end(0);
    assert_eq!(last.matches("closed by the peer").count(), 1, "{last:?}");
    assert!(last.ends_with('\n'), "{last:?}");
}

/// What comes until then is printed, and is no failure.
#[test]
fn a_session_in_which_messages_keep_coming_is_closed_at_once() {
    let runtime = Runtime::new().unwrap();
    let server = runtime.block_on(sockless::bind("127.0.0.1:0")).unwrap();
    let url = format!("ws://{}/", server.local_addr().unwrap());
    let router = Router::new().route("/", websocket(ticks));
    runtime.spawn(server.serve_until(router, pending()));

    for _ in 0..10 {
        let home = home();
        let mut terminal = Terminal::start("xterm", home.path(), &[&url]);
        terminal.expect("< tick\n> ");
        terminal.press(CONTROL_D);
        let last = terminal.expect_end(0);
        let (ticks, end) = last.trim_end().rsplit_once('\n').expect("how it ended");
        assert!(end.starts_with("closed by us") && end.ends_with("sent 1000"), "{last:?}");
        let mut ticks = ticks.lines().map(|line| line.trim_start_matches("> "));
        assert!(ticks.all(|line| line.is_empty() || line == "< tick"), "{last:?}");
    }
}

async fn ticks(session: Session) -> Result<(), Closed> {
    loop {
        session.send("tick").await?;
        session.sleep(Duration::from_millis(1)).await;
    }
}

#[test]
fn a_terminal_without_control_sequences_gets_none() {
    let (server, home) = (Server::start(&["echo"]), home());
    let mut terminal = Terminal::start("dumb", home.path(), &[&server.url("/")]);
    terminal.expect("> ");
    terminal.enter("hello");
    terminal.expect("hello\n");
    terminal.expect("hello\n");
    terminal.press(CONTROL_D);
    let printed = terminal.printed.clone();
    terminal.expect_end(0);
    assert!(!printed.contains(&0x1b), "{}", printed.escape_ascii());
}
