//! The dependencies between crates and modules point downwards only.

use std::path::Path;
use std::process::Command;

/// Each crate, and the crates of this workspace that it may depend on, tests apart.
const ALLOWED: &[(&str, &[&str])] = &[
    ("sockless-core", &[]),
    ("sockless-driver", &["sockless-core"]),
    ("sockless-example-ffi", &["sockless-core"]),
    ("sockless-tokio", &["sockless-core", "sockless-driver"]),
    ("sockless-smol", &["sockless-core", "sockless-driver"]),
    ("sockless-async-std", &["sockless-core", "sockless-driver"]),
    ("sockless-compio", &["sockless-core", "sockless-driver"]),
    ("sockless-blocking", &["sockless-core", "sockless-driver"]),
    ("sockless-hyper", &["sockless-core", "sockless-driver"]),
    (
        "sockless-axum",
        &[
            "sockless-core",
            "sockless-driver",
            "sockless-hyper",
            "sockless-routing",
            "sockless-tokio",
        ],
    ),
    ("sockless-web", &["sockless-core", "sockless-driver"]),
    ("sockless-sim", &["sockless-core", "sockless-driver"]),
    ("sockless-routing", &["sockless-core", "sockless-driver"]),
    ("sockless-rooms", &["sockless-core", "sockless-driver"]),
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
        for runtime in ["tokio", "smol", "async-std", "compio"] {
            let brings = tree.lines().any(|line| line.starts_with(&format!("{runtime} v")));
            // hyper uses tokio's channels and traits on every runtime.
            let is_hypers = (*name, runtime) == ("sockless-hyper", "tokio");
            let is_axums = (*name, runtime) == ("sockless-axum", "tokio");
            let may = *name == format!("sockless-{runtime}") || is_hypers || is_axums;
            assert!(!brings || may, "{name} must not bring {runtime}");
        }
        // tokio's own sockets and timers, which are built on mio.
        let brings = tree.lines().any(|line| line.starts_with("mio v"));
        let may = ["sockless-axum", "sockless-tokio"].contains(name);
        assert_eq!(brings, may, "{name} and tokio's sockets");
    }
}

/// The modules of the driver, and those of them that each may import.
const DRIVER_MODULES: &[(&str, &[&str])] = &[
    ("future", &[]),
    ("metrics", &[]),
    ("meter", &["metrics"]),
    // The one arrow upward: an executor is given the future of a connection, to hold it without a box.
    ("runtime", &["future", "server"]),
    ("request", &["future", "meter", "runtime"]),
    ("tls", &["future", "runtime"]),
    ("session", &["future", "meter", "request", "runtime"]),
    ("exchange", &["runtime", "session"]),
    ("error", &["client", "future", "request", "server", "session", "tls"]),
    ("server", &["exchange", "future", "meter", "request", "runtime", "session", "tls"]),
    ("client", &["exchange", "future", "meter", "request", "runtime", "session", "tls"]),
    ("local", &["future", "request", "runtime", "server", "session", "tls"]),
];

/// The modules of rooms: each may import those before it.
const ROOMS_MODULES: &[&str] = &[
    "metrics",
    "meter",
    "name",
    "position",
    "publication",
    "event",
    "limits",
    "error",
    "config",
    "stats",
    "keyed",
    "bus",
    "machine",
    "node",
    "kind",
    "outlet",
    "waiting",
    "cell",
    "pause",
    "registry",
    "member",
    "rooms",
    "json",
];

#[test]
fn the_modules_of_the_driver_import_downwards_only() {
    check_modules("driver", DRIVER_MODULES);
}

#[test]
fn the_modules_of_rooms_import_downwards_only() {
    let modules = ROOMS_MODULES.iter().enumerate();
    let modules: Vec<_> = modules.map(|(at, module)| (*module, &ROOMS_MODULES[..at])).collect();
    check_modules("rooms", &modules);
}

fn check_modules(name: &str, modules: &[(&str, &[&str])]) {
    let root = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/..")).join(name).join("src");
    let mut seen = 0;
    for (module, allowed) in modules {
        let mut files = vec![root.join(format!("{module}.rs"))];
        let mut folders = vec![root.join(module)];
        while let Some(folder) = folders.pop().filter(|folder| folder.is_dir()) {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                let kind = if path.is_dir() { &mut folders } else { &mut files };
                kind.push(path);
            }
        }
        for file in files.iter().filter(|file| file.extension().is_some_and(|kind| kind == "rs")) {
            let text = std::fs::read_to_string(file).unwrap();
            let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
            for path in code.flat_map(|line| line.split("crate::").skip(1)) {
                let imported = path.split(|c: char| !c.is_alphanumeric() && c != '_').next();
                let Some(imported) = imported else { continue };
                // Other paths are in macros, or name what the crate root re-exports.
                let is_module = modules.iter().any(|(name, _)| *name == imported);
                let may = imported == *module || allowed.contains(&imported);
                assert!(!is_module || may, "{} must not import {imported}", file.display());
                seen += usize::from(is_module);
            }
        }
    }
    assert!(seen > 50, "the imports are found: {seen}");
}

/// Crates that only a program on the runtime depends on: the runtime's own, and those of its
/// reactor where no other runtime uses the same one.
const RUNTIMES: &[(&str, &[&str])] = &[
    ("blocking", &["sockless-blocking"]),
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
        "[package]\nname = \"program\"\nedition = \"2024\"\n[workspace]\n[dependencies.sockless]\n\
         path = {facade:?}\ndefault-features = false\n\
         features = [\"client\", \"routing\", \"server\", \"tls\", \"{runtime}\"]\n",
        facade = root.join("sockless"),
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
