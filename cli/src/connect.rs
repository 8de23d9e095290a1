//! `sockless connect`: a client for the terminal and for pipes.

mod command;
mod input;
mod options;
mod talk;

use tracing_subscriber::Layer;
use tracing_subscriber::filter::{LevelFilter, Targets, filter_fn};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use sockless::http::{HeaderName, HeaderValue, Response};
use sockless::{AttemptError, Connect, Escaped, Reconnect, ReconnectError, Request};

use crate::exit::Failure;
use crate::output::Output;

use input::Inputs;
pub(crate) use options::Options;
use talk::Conversation;

/// Runs until the session ends, or with `--reconnect` until an attempt fails for good.
pub(crate) fn run(options: Options) -> Result<(), Failure> {
    log(options.is_verbose());
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::io("the runtime", error))?;
    let ended = runtime.block_on(run_on_tokio(options));
    // A thread may still wait for a line of stdin, which cannot be interrupted.
    runtime.shutdown_background();
    ended
}

/// Logs as other commands do, but for sessions: what passes in the only one is printed.
fn log(verbose: bool) {
    let level = if verbose { LevelFilter::DEBUG } else { LevelFilter::WARN };
    let taken = Targets::new()
        .with_default(level)
        .with_target("sockless_driver::session", LevelFilter::WARN);
    let events = filter_fn(|metadata| metadata.is_event());
    let printed = crate::printed().with_filter(taken).with_filter(events);
    tracing_subscriber::registry().with(printed).init();
}

async fn run_on_tokio(options: Options) -> Result<(), Failure> {
    let mut output = options.output();
    let connect = options.connect()?;
    if options.reconnects() {
        let inputs = Inputs::start(&options, &mut output)?;
        return reconnect(connect, &options, inputs, output).await;
    }
    let connection = connect().open().await.map_err(|error| Failure::of_connecting(&error))?;
    let response = connection.response().clone();
    output.note(format_args!("connected to {}", connection.destination()));
    let session = connection.spawn();
    describe(session.request(), &response, &mut output);
    // The prompt appears once there is something to talk to.
    let mut inputs = Inputs::start(&options, &mut output)?;
    let mut conversation = Conversation::new(&options, &mut inputs, &mut output);
    let closed = conversation.run(session).await;
    conversation.result(&closed).await
}

/// Opens a session whenever one ends.
async fn reconnect(
    connect: impl Fn() -> Connect + Send + 'static,
    options: &Options,
    mut inputs: Inputs,
    mut output: Output,
) -> Result<(), Failure> {
    let mut sessions = Reconnect::new(connect);
    let mut conversation = Conversation::new(options, &mut inputs, &mut output);
    loop {
        let session = match sessions.next().await {
            Ok(session) => session,
            Err(error) => {
                conversation.leave().await;
                return Err(give_up(&error));
            }
        };
        let closed = conversation.run(session).await;
        if conversation.is_finished() {
            return conversation.result(&closed).await;
        }
        conversation.report(&closed);
    }
}

fn give_up(error: &ReconnectError) -> Failure {
    match error.last_error() {
        AttemptError::Connect(error) => Failure::of_connecting(error),
        _ => Failure::io("--reconnect", error),
    }
}

/// Notes the handshake: the request without the headers that are the same in each or random, and the response.
fn describe(request: &Request, response: &Response<()>, output: &mut Output) {
    let target = request.uri().path_and_query().map_or("/", |target| target.as_str());
    output.note(format_args!("> GET {target} HTTP/1.1"));
    for (name, value) in request.headers() {
        match value.is_sensitive() {
            true => output.note(format_args!("> {name}: (not shown)")),
            false => note_header('>', name, value, output),
        }
    }
    output.note(format_args!("< {:?} {}", response.version(), response.status()));
    for (name, value) in response.headers() {
        note_header('<', name, value, output);
    }
}

fn note_header(direction: char, name: &HeaderName, value: &HeaderValue, output: &mut Output) {
    let value = Escaped(value.as_bytes().escape_ascii());
    output.note(format_args!("{direction} {name}: {value}"));
}
