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
        // What knows tokio's sockets behind hyper is a feature, on by default.
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
        // A runtime's crate brings its own runtime and no other, and nothing else brings one.
        for runtime in ["tokio", "smol", "async-std"] {
            let brings = tree.lines().any(|line| line.starts_with(&format!("{runtime} v")));
            // hyper is built on tokio's channels and traits, on whatever runtime it runs.
            let is_hypers = (*name, runtime) == ("sockless-hyper", "tokio");
            let may = *name == format!("sockless-{runtime}") || is_hypers;
            assert!(!brings || may, "{name} must not bring {runtime}");
        }
        // The part of tokio that runs: its sockets stand on mio.
        let brings = tree.lines().any(|line| line.starts_with("mio v"));
        assert_eq!(brings, *name == "sockless-tokio", "{name} and tokio's sockets");
    }
}

/// Crates that nobody has who does not run on the runtime: its own, and its reactor's where that is not
/// shared with another.
const RUNTIMES: &[(&str, &[&str])] = &[
    ("tokio", &["tokio", "tokio-util", "tokio-rustls", "mio"]),
    ("smol", &["smol"]),
    ("async-std", &["async-std", "async-global-executor"]),
];

/// A program outside of this workspace, with a router, TLS and the adapter of one runtime.
#[test]
fn a_program_with_one_adapter_has_one_runtime() {
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
    // Our versions, so that nothing has to be looked up.
    std::fs::copy(root.join("Cargo.lock"), program.join("Cargo.lock")).unwrap();
    let root = root.canonicalize().unwrap();
    let manifest = format!(
        "[package]\nname = \"program\"\nedition = \"2024\"\n[workspace]\n[dependencies]\n\
         sockless-routing = {{ path = {routing:?} }}\n\
         sockless-{runtime} = {{ path = {adapter:?}, features = [\"tls\"] }}\n",
        routing = root.join("routing"),
        adapter = root.join("runtimes").join(runtime),
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
