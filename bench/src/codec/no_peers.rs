//! Replaces the peers where they are not compiled.

use super::{Burst, By, Work};
use crate::Result;

pub fn perform(by: By, _work: Work, _burst: &Burst, _bursts: usize) -> Result<()> {
    Err(format!("{by:?} is not compiled in: enable the feature `peers`").into())
}
