//! Where commands come from: the prompt, a pipe, or the command line.

use std::collections::VecDeque;
use std::io::{self, BufReader, IsTerminal};
use std::path::PathBuf;
use std::thread;

use rustyline::DefaultEditor;
use rustyline::error::ReadlineError;
use tokio::sync::mpsc;

use super::command::Command;
use super::options::Options;
use crate::exit::Failure;
use crate::framing::Framing;
use crate::output::Output;

/// The number of commands that are read before the first of them is carried out.
const READ_AHEAD: usize = 16;

/// The commands, in order. One that was not carried out when a session ended is left for the next.
pub(crate) struct Inputs {
    pending: VecDeque<Command>,
    /// `None` if there is nothing to read.
    queue: Option<mpsc::Receiver<Result<Command, String>>>,
    failure: Option<String>,
    is_prompt: bool,
    _terminal: Option<Terminal>,
}

impl Inputs {
    /// Begins to read. At a terminal the prompt appears, and `output` prints above it.
    pub(crate) fn start(options: &Options, output: &mut Output) -> Result<Self, Failure> {
        let pending = options.execute().map(Command::Send).collect::<VecDeque<_>>();
        let mut inputs =
            Self { pending, queue: None, failure: None, is_prompt: false, _terminal: None };
        if !inputs.pending.is_empty() || options.reads_nothing() {
            return Ok(inputs);
        }
        let (sender, queue) = mpsc::channel(READ_AHEAD);
        inputs.queue = Some(queue);
        if io::stdin().is_terminal() && io::stdout().is_terminal() {
            inputs.is_prompt = true;
            let editor = prompt(output).map_err(|error| Failure::io("the terminal", error))?;
            // Otherwise lines are read without changing its settings.
            if output.is_above_prompt() {
                inputs._terminal = Terminal::save();
            }
            thread::spawn(move || read_prompt(editor, &sender));
        } else {
            let (framing, binary) = (options.framing(), options.is_binary());
            thread::spawn(move || read_pipe(framing, binary, &sender));
        }
        Ok(inputs)
    }

    /// Returns the first command that was not carried out; `None` at the end.
    ///
    /// Cancel-safe: the same command is returned until [`done`](Self::done).
    pub(crate) async fn next(&mut self) -> Option<Command> {
        if self.pending.is_empty() {
            match self.queue.as_mut()?.recv().await {
                Some(Ok(command)) => self.pending.push_back(command),
                Some(Err(failure)) => self.failure = Some(failure),
                None => self.queue = None,
            }
        }
        self.pending.front().cloned()
    }

    /// True if a user types the commands, and ends them by Ctrl-D or Ctrl-C.
    pub(crate) fn is_prompt(&self) -> bool {
        self.is_prompt
    }

    /// Removes the command that was carried out.
    pub(crate) fn done(&mut self) {
        self.pending.pop_front();
    }

    /// Returns why reading ended early.
    pub(crate) fn take_failure(&mut self) -> Option<Failure> {
        self.failure.take().map(|failure| Failure::usage(format_args!("stdin: {failure}")))
    }
}

fn read_pipe(framing: Framing, binary: bool, queue: &mpsc::Sender<Result<Command, String>>) {
    let mut stdin = BufReader::new(io::stdin().lock());
    loop {
        let read = match framing.read(&mut stdin, binary) {
            Ok(None) => return,
            Ok(Some(message)) => Ok(Command::Send(message)),
            Err(error) => Err(error.to_string()),
        };
        let failed = read.is_err();
        if queue.blocking_send(read).is_err() || failed {
            return;
        }
    }
}

/// Prepares the prompt.
fn prompt(output: &mut Output) -> rustyline::Result<DefaultEditor> {
    let mut editor = DefaultEditor::new()?;
    if let Some(history) = history() {
        // The file does not exist the first time.
        let _ = editor.load_history(&history);
    }
    // A terminal without control sequences (`TERM=dumb`) has no line to print above.
    if let Ok(printer) = editor.create_external_printer() {
        output.move_above(printer);
    }
    Ok(editor)
}

fn read_prompt(mut editor: DefaultEditor, queue: &mpsc::Sender<Result<Command, String>>) {
    loop {
        let line = match editor.readline("> ") {
            Ok(line) if line.is_empty() => continue,
            Ok(line) => line,
            // Ctrl-D and Ctrl-C close the session.
            Err(ReadlineError::Eof | ReadlineError::Interrupted) => return,
            Err(error) => {
                let _ = queue.blocking_send(Err(error.to_string()));
                return;
            }
        };
        let _ = editor.add_history_entry(&line);
        if let Some(history) = history() {
            // A prompt without history is better than none.
            let _ = history.parent().map(std::fs::create_dir_all);
            let _ = editor.save_history(&history);
        }
        if queue.blocking_send(Ok(Command::parse(&line))).is_err() {
            return;
        }
    }
}

/// The file of the history, by the XDG Base Directory Specification.
fn history() -> Option<PathBuf> {
    let state = std::env::var_os("XDG_STATE_HOME").map(PathBuf::from);
    let state = state.filter(|path| path.is_absolute());
    let state = state.or_else(|| Some(std::env::home_dir()?.join(".local/state")))?;
    Some(state.join("sockless/history"))
}

/// The settings of the terminal, which are restored when it is dropped: the session may end while a line
/// is being edited.
#[cfg(unix)]
struct Terminal(rustix::termios::Termios);

#[cfg(unix)]
impl Terminal {
    fn save() -> Option<Self> {
        rustix::termios::tcgetattr(io::stdin()).ok().map(Self)
    }
}

#[cfg(unix)]
impl Drop for Terminal {
    fn drop(&mut self) {
        let when = rustix::termios::OptionalActions::Drain;
        let _ = rustix::termios::tcsetattr(io::stdin(), when, &self.0);
        // What is printed next does not belong to the line that was being edited.
        crate::output::clear_line();
    }
}

/// Where the settings cannot be read.
#[cfg(not(unix))]
struct Terminal;

#[cfg(not(unix))]
impl Terminal {
    fn save() -> Option<Self> {
        None
    }
}
