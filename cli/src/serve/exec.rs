//! Runs a command for each session: its stdin and stdout are the messages, a line each.

use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use sockless::{BoxError, CloseCode, CloseReason, Message, Request, Sender, Session};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

/// A command and its arguments.
pub(crate) struct Exec {
    command: Vec<String>,
    /// The time for which a command may run on after its session has ended.
    grace: Duration,
}

impl Exec {
    pub(crate) fn new(command: &[String], grace: Duration) -> Self {
        Self { command: command.to_vec(), grace }
    }

    pub(crate) async fn serve(self: Arc<Self>, mut session: Session) -> Result<(), BoxError> {
        let mut child = self.start(session.request())?;
        let (Some(mut stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
            return Err("the command's stdin and stdout are pipes".into());
        };
        let sender = session.sender();
        let max_len = session.config().get_max_message_len();
        let ended = tokio::select! {
            ended = send_lines(stdout, &sender, max_len) => ended,
            () = write_lines(&mut session, &mut stdin) => Ok(()),
        };
        drop(stdin);
        let status = self.wait(&mut child).await;
        sender.close(reason(ended, status));
        Ok(())
    }

    fn start(&self, request: &Request) -> std::io::Result<Child> {
        let mut command = Command::new(&self.command[0]);
        command.args(&self.command[1..]).envs(environment(request));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true).spawn()
    }

    /// Waits until the command has ended, and ends it after a while.
    async fn wait(&self, child: &mut Child) -> Option<ExitStatus> {
        match tokio::time::timeout(self.grace, child.wait()).await {
            Ok(status) => status.ok(),
            Err(_) => {
                let _ = child.kill().await;
                None
            }
        }
    }
}

/// The reason with which a session is closed whose command has ended.
fn reason(ended: Result<(), String>, status: Option<ExitStatus>) -> CloseReason {
    match (ended, status) {
        (Err(text), _) => CloseReason::new(CloseCode::INTERNAL_ERROR, text),
        (Ok(()), Some(status)) if !status.success() => {
            CloseReason::new(CloseCode::INTERNAL_ERROR, format!("the command ended: {status}"))
        }
        (Ok(()), _) => CloseCode::NORMAL.into(),
    }
}

/// Sends each line that the command prints, until its output or the session has ended.
async fn send_lines(stdout: ChildStdout, sender: &Sender, max_len: u64) -> Result<(), String> {
    let mut stdout = BufReader::new(stdout);
    loop {
        let mut line = Vec::new();
        let mut limited = (&mut stdout).take(max_len.saturating_add(1));
        let read = limited.read_until(b'\n', &mut line).await.map_err(|error| error.to_string())?;
        if read == 0 {
            return Ok(());
        }
        if line.last() == Some(&b'\n') {
            line.pop();
        }
        if line.len() as u64 > max_len {
            return Err(format!("the command printed a line of over {max_len} bytes"));
        }
        let message = match String::from_utf8(line) {
            Ok(text) => Message::from(text),
            Err(error) => Message::from(error.into_bytes()),
        };
        if sender.send(message).await.is_err() {
            return Ok(());
        }
    }
}

/// Writes each message to the command as a line, until the session has ended. A command that stops reading
/// goes on without.
async fn write_lines(session: &mut Session, stdin: &mut ChildStdin) {
    let mut is_read = true;
    while let Ok(message) = session.recv().await {
        if is_read {
            let mut line = message.as_bytes().to_vec();
            line.push(b'\n');
            is_read = stdin.write_all(&line).await.is_ok();
        }
    }
}

/// The variables that describe the request, as CGI does (RFC 3875 §4.1).
fn environment(request: &Request) -> Vec<(String, String)> {
    let mut variables = vec![
        ("REQUEST_METHOD".to_owned(), request.method().to_string()),
        ("REQUEST_URI".to_owned(), request.uri().to_string()),
        ("PATH_INFO".to_owned(), request.path().to_owned()),
        ("QUERY_STRING".to_owned(), request.query().unwrap_or_default().to_owned()),
    ];
    if let Some(peer) = request.peer_addr() {
        variables.push(("REMOTE_ADDR".to_owned(), peer.ip().to_string()));
        variables.push(("REMOTE_PORT".to_owned(), peer.port().to_string()));
    }
    for (name, value) in request.headers() {
        // HTTP_PROXY is a setting of many programs: a client must not choose it (CVE-2016-5385).
        if name.as_str() != "proxy"
            && let Ok(value) = value.to_str()
        {
            let name = name.as_str().replace('-', "_").to_ascii_uppercase();
            variables.push((format!("HTTP_{name}"), value.to_owned()));
        }
    }
    variables
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_cannot_set_a_proxy_for_the_command() {
        let request = sockless::http::Request::get("/run?x=1")
            .header("Proxy", "http://evil:80")
            .header("X-Name", "Alice")
            .body(())
            .unwrap();
        let variables = environment(&Request::new(request));
        assert!(variables.contains(&("HTTP_X_NAME".to_owned(), "Alice".to_owned())));
        assert!(variables.contains(&("QUERY_STRING".to_owned(), "x=1".to_owned())));
        assert!(!variables.iter().any(|(name, _)| name == "HTTP_PROXY"));
    }
}
