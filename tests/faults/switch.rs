
/// Whether a fault is put back: the one that `SOCKLESS_FAULT` names.
#[doc(hidden)]
pub fn fault(name: &str) -> bool {
    extern crate std;
    static NAMED: std::sync::OnceLock<Option<std::ffi::OsString>> = std::sync::OnceLock::new();
    let named = NAMED.get_or_init(|| std::env::var_os("SOCKLESS_FAULT"));
    named.as_ref().is_some_and(|named| named == name)
}
