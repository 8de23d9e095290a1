//! The loops of our own, each as a program, and clients and servers that talk to it; the one over a serial line
//! has its client in it.

#![expect(clippy::disallowed_methods, reason = "the loops are other processes, in real time")]

mod clients;
/// The loop of the program over blocking sockets.
#[path = "../../src/blocking/driver.rs"]
#[expect(dead_code, reason = "the opening handshake is the program's")]
mod driver;
mod floods;
mod pauses;
mod programs;
mod servers;

/// The page `sockless::guide::porting` shows the driver of the blocking program, so the tests above hold for it.
#[test]
fn the_loop_of_the_guide_is_the_one_that_is_tested() {
    let read = |path: &str| {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
        std::fs::read_to_string(path).expect("it is there")
    };
    let driver = read("src/blocking/driver.rs").replace("pub(crate) ", "");
    let body = driver.find("/// The longest time that a write waits").expect("the loop begins so");
    assert!(
        read("../sockless/src/guide/porting.md").contains(driver[body..].trim()),
        "they differ"
    );
}
