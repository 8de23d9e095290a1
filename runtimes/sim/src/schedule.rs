//! Which of the woken tasks runs next: [`Schedule`].

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::lock;
use crate::rng::Chance;

/// The source of the order of the tasks: chance, or a path that is followed.
#[derive(Default)]
pub(crate) struct Schedule {
    is_followed: AtomicBool,
    following: Mutex<Option<Following>>,
}

struct Following {
    choices: Vec<usize>,
    path: Path,
}

/// The choices of a run, each with the number of tasks that it chose from.
#[derive(Clone, Debug, Default)]
pub(crate) struct Path(Vec<(usize, usize)>);

impl Schedule {
    /// Follows `choices`, and then chooses the first task always.
    pub(crate) fn follow(&self, choices: Vec<usize>) {
        *lock(&self.following) = Some(Following { choices, path: Path::default() });
        self.is_followed.store(true, Ordering::Relaxed);
    }

    /// Chooses one of `len` tasks, which is not zero.
    #[inline]
    pub(crate) fn choose(&self, len: usize, chance: &mut Chance) -> usize {
        match self.is_followed.load(Ordering::Relaxed) {
            true => self.follow_on(len),
            false => chance.below(len as u64) as usize,
        }
    }

    fn follow_on(&self, len: usize) -> usize {
        let mut following = lock(&self.following);
        let Some(Following { choices, path }) = &mut *following else { return 0 };
        if len == 1 {
            return 0;
        }
        let choice = choices.get(path.len()).copied().unwrap_or(0).min(len - 1);
        path.0.push((choice, len));
        choice
    }

    /// Returns the choices so far; `None` if chance makes them.
    pub(crate) fn path(&self) -> Option<Path> {
        lock(&self.following).as_ref().map(|following| following.path.clone())
    }
}

impl Path {
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// Returns the choices of the run after this one, depth first, with at most `departures` from
    /// the first task.
    pub(crate) fn next(&self, departures: usize) -> Option<Vec<usize>> {
        let choices = || self.0.iter().map(|(choice, _)| *choice);
        let last = (0..self.0.len()).rev().find(|&index| {
            let (choice, len) = self.0[index];
            let before = choices().take(index).filter(|choice| *choice > 0).count();
            choice + 1 < len && before < departures
        })?;
        let mut next: Vec<usize> = choices().take(last + 1).collect();
        next[last] += 1;
        Some(next)
    }
}

impl std::fmt::Display for Path {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The zeros at the end are chosen anyway.
        let end = self.0.iter().rposition(|(choice, _)| *choice > 0).map_or(1, |last| last + 1);
        for (index, (choice, _)) in self.0.iter().take(end).enumerate() {
            let dot = if index == 0 { "" } else { "." };
            write!(f, "{dot}{choice}")?;
        }
        Ok(())
    }
}
