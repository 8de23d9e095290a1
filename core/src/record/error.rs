//! Why a replay stops: [`ReplayError`].

use alloc::string::String;
use core::fmt;

/// Why a replay stopped.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReplayError {
    /// The connection did something else than when it was recorded. Boxed, since it has texts.
    Differs(Difference),
    /// The recording is not one of this version, from this line on. Lines are counted from 1.
    Malformed {
        /// The number of the line.
        line: usize,
    },
    /// The settings that were passed are not those that were recorded at this line, or there are
    /// too few of them.
    OtherSettings {
        /// The number of the line.
        line: usize,
    },
}

/// The first difference between a recording and its replay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    pub(super) line: usize,
    pub(super) input: String,
    pub(super) recorded: String,
    pub(super) replayed: String,
}

impl Difference {
    /// Returns the number of the line, counted from 1.
    pub fn line(&self) -> usize {
        self.line
    }

    /// Returns the call, as it is written in the recording.
    pub fn input(&self) -> &str {
        &self.input
    }

    /// Returns the recorded outputs.
    pub fn recorded(&self) -> &str {
        &self.recorded
    }

    /// Returns the outputs of the replay.
    pub fn replayed(&self) -> &str {
        &self.replayed
    }
}

impl fmt::Display for ReplayError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Differs(Difference { line, input, recorded, replayed }) => {
                write!(f, "line {line}, {input}: expected {recorded}, got {replayed}")
            }
            Self::Malformed { line } => write!(f, "line {line} of the recording is malformed"),
            Self::OtherSettings { line } => {
                write!(f, "line {line} of the recording expects other settings than were passed")
            }
        }
    }
}

impl core::error::Error for ReplayError {}
