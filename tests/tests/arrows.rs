//! What may import what: the arrows between the crates point down only.

use std::process::Command;

/// Each crate, and the crates of this workspace that it may depend on, tests apart.
const ALLOWED: &[(&str, &[&str])] = &[
    ("sockless", &[]),
    ("sockless-driver", &["sockless"]),
    ("sockless-tokio", &["sockless", "sockless-driver"]),
    ("sockless-smol", &["sockless", "sockless-driver"]),
    ("sockless-async-std", &["sockless", "sockless-driver"]),
    ("sockless-hyper", &["sockless", "sockless-driver"]),
    ("sockless-sim", &["sockless", "sockless-driver"]),
    ("sockless-routing", &["sockless", "sockless-driver"]),
];

#[test]
fn arrows_point_down_only() {
    let tree = |name: &str| {
        let output = Command::new(env!("CARGO"))
            .args(["tree", "--offline", "--prefix", "none", "--edges", "normal", "-p", name])
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
