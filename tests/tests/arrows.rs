//! What may import what: the arrows between the crates point down only.

use std::path::Path;
use std::process::Command;

/// Each crate, and the crates of this workspace that it may depend on, tests apart.
const ALLOWED: &[(&str, &[&str])] = &[
    ("sockless-core", &[]),
    ("sockless-driver", &["sockless-core"]),
    ("sockless-tokio", &["sockless-core", "sockless-driver"]),
    ("sockless-smol", &["sockless-core", "sockless-driver"]),
    ("sockless-async-std", &["sockless-core", "sockless-driver"]),
    ("sockless-hyper", &["sockless-core", "sockless-driver"]),
    ("sockless-sim", &["sockless-core", "sockless-driver"]),
    ("sockless-routing", &["sockless-core", "sockless-driver"]),
];

#[test]
fn arrows_point_down_only() {
    let tree = |name: &str| {
        // The part of sockless-hyper that knows tokio's sockets is a feature, on by default.
        let bare: &[_] = if name == "sockless-hyper" { &["--no-default-features"] } else { &[] };
        let output = Command::new(env!("CARGO"))
            .args(["tree", "--offline", "--prefix", "none", "--edges", "normal", "-p", name])
            .args(bare)
            .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    for (name, allowed) in ALLOWED {
        let tree = tree(name);
        let ours = tree.lines().skip(1).filter_map(|line| line.split_once(" v"));
        for (dependency, _) in ours.filter(|(name, _)| name.starts_with("sockless")) {
            assert!(allowed.contains(&dependency), "{name} must not depend on {dependency}");
        }
        // A runtime's adapter depends on its own runtime and no other, and no other crate on any.
        for runtime in ["tokio", "smol", "async-std"] {
            let brings = tree.lines().any(|line| line.starts_with(&format!("{runtime} v")));
            // hyper uses tokio's channels and traits on every runtime.
            let is_hypers = (*name, runtime) == ("sockless-hyper", "tokio");
            let may = *name == format!("sockless-{runtime}") || is_hypers;
            assert!(!brings || may, "{name} must not bring {runtime}");
        }
        // tokio's own sockets and timers, which are built on mio.
        let brings = tree.lines().any(|line| line.starts_with("mio v"));
        assert_eq!(brings, *name == "sockless-tokio", "{name} and tokio's sockets");
    }
}

/// Crates that only a program on the runtime depends on: the runtime's own, and those of its reactor
/// where no other runtime uses the same one.
const RUNTIMES: &[(&str, &[&str])] = &[
    ("tokio", &["tokio", "tokio-util", "tokio-rustls", "mio"]),
    ("smol", &["smol"]),
    ("async-std", &["async-std", "async-global-executor"]),
];

/// A program outside of this workspace that depends on the facade with one runtime and TLS.
#[test]
fn a_program_on_one_runtime_depends_on_no_other() {
    for (runtime, own) in RUNTIMES {
        let tree = tree_of_a_program_on(runtime);
        let has = |name: &&&str| tree.lines().any(|line| line.starts_with(&format!("{name} v")));
        assert!(has(&&own[0]), "a program on {runtime} has {runtime}:\n{tree}");
        let others = RUNTIMES.iter().filter(|(other, _)| other != runtime);
        let foreign: Vec<_> = others.flat_map(|(_, crates)| *crates).filter(has).collect();
        assert!(foreign.is_empty(), "a program on {runtime} also has {foreign:?}:\n{tree}");
    }
}

fn tree_of_a_program_on(runtime: &str) -> String {
    let root = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
    let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("on-{runtime}"));
    std::fs::create_dir_all(program.join("src")).unwrap();
    std::fs::write(program.join("src/main.rs"), "fn main() {}").unwrap();
    // The versions of this workspace, so that no registry is asked.
    std::fs::copy(root.join("Cargo.lock"), program.join("Cargo.lock")).unwrap();
    let root = root.canonicalize().unwrap();
    let manifest = format!(
        "[package]\nname = \"program\"\nedition = \"2024\"\n[workspace]\n[dependencies]\n\
         sockless = {{ path = {facade:?}, default-features = false, features = [{features}] }}\n",
        facade = root.join("sockless"),
        features = format!("\"client\", \"routing\", \"server\", \"tls\", \"{runtime}\""),
    );
    std::fs::write(program.join("Cargo.toml"), manifest).unwrap();
    let output = Command::new(env!("CARGO"))
        .args(["tree", "--offline", "--prefix", "none", "--edges", "normal,build"])
        .current_dir(&program)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}
