//! The marks of the simulator in a program that is built without it.

/// Returns the condition. In a test with the feature `sim` it also records that the condition held
/// once.
///
/// ```
/// let queued = 3;
/// assert!(sockless::sometimes!(queued > 2, "the queue is full"));
/// ```
#[macro_export]
macro_rules! sometimes {
    ($condition:expr, $name:expr $(,)?) => {{
        let _ = $name;
        $condition
    }};
}

/// Returns false. In a test with the feature `sim` it is true now and then.
///
/// ```
/// assert!(!sockless::buggify!("the disk is slow"));
/// ```
#[macro_export]
macro_rules! buggify {
    ($name:expr $(,)?) => {{
        let _ = $name;
        false
    }};
}
