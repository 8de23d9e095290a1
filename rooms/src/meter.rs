//! Macros that record metrics, or nothing without the feature `metrics`.

/// Adds `$count` to a counter.
macro_rules! count {
    ($name:ident, $count:expr $(, $label:literal => $value:expr)*) => {
        #[cfg(feature = "metrics")]
        ::metrics::counter!(crate::metrics::$name $(, $label => $value)*).increment($count)
    };
}

/// Adds `$change`, which may be negative, to a gauge.
macro_rules! adjust {
    ($name:ident, $change:expr) => {
        #[cfg(feature = "metrics")]
        ::metrics::gauge!(crate::metrics::$name).increment($change)
    };
}

pub(crate) use {adjust, count};
