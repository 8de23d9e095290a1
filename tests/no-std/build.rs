//! Links the C library, which the standard library would have linked: it starts the program and copies memory.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rustc-link-lib=c");
}
