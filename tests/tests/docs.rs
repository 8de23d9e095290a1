//! The documents name tests that exist.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// The rows that the parity table has to have: a letter, and how many.
const ROWS: &[(char, usize)] = &[
    ('A', 11),
    ('B', 9),
    ('C', 12),
    ('D', 16),
    ('E', 4),
    ('F', 17),
    ('G', 5),
    ('H', 11),
    ('I', 3),
    ('J', 1),
    ('K', 2),
    ('L', 4),
];

#[test]
fn every_proof_in_the_parity_table_exists() {
    let text = parity_table();
    let proofs: BTreeSet<_> = proofs(&text).collect();
    assert!(proofs.len() > 100, "{} proofs were found", proofs.len());
    let missing: Vec<_> = proofs.into_iter().filter(|(file, test)| !has_test(file, test)).collect();
    assert!(missing.is_empty(), "docs/ktor.md names tests that do not exist: {missing:#?}");
}

#[test]
fn every_row_of_the_parity_table_is_there_and_proved() {
    let text = parity_table();
    let rows: Vec<_> = text.lines().filter_map(row).collect();
    let expected: Vec<_> = ROWS
        .iter()
        .flat_map(|(letter, count)| (1..=*count).map(move |number| format!("{letter}{number}")))
        .collect();
    assert_eq!(rows.iter().map(|(name, _)| *name).collect::<Vec<_>>(), expected);
    for (name, line) in rows {
        // Extensions are an issue of their own.
        if name.starts_with('H') {
            continue;
        }
        assert!(!line.contains("not yet"), "{name} is not there yet");
        let proved = proofs(line).next().is_some() || line.contains("JVM-only");
        assert!(proved, "{name} has no proof");
    }
}

/// Settings of [`Config`](sockless_core::Config) that bound nothing: what they set is a matter of taste.
const NOT_BOUNDS: &[&str] =
    &["accept_any_masking", "extensions", "max_send_frame_len", "masking", "recv_chunk_len"];

#[test]
fn every_bound_of_config_stands_in_the_guide_to_deployment() {
    let getters = read("core/src/config/getters.rs");
    let guide = read("sockless/src/guide/deployment.md");
    let settings: Vec<_> = getters
        .lines()
        .filter_map(|line| line.trim().strip_prefix("pub fn get_")?.split_once('('))
        .map(|(name, _)| name)
        .filter(|name| !NOT_BOUNDS.contains(name))
        .collect();
    assert!(settings.len() > 15, "{settings:?}");
    let table: String = guide.lines().filter(|line| line.starts_with("| ")).collect();
    let missing: Vec<_> = settings.iter().filter(|name| !table.contains(**name)).collect();
    assert!(missing.is_empty(), "sockless/src/guide/deployment.md does not name {missing:?}");
}

/// A row's name, and its line.
fn row(line: &str) -> Option<(&str, &str)> {
    let name = line.strip_prefix("| ")?.split(' ').next()?;
    let (letter, number) = name.split_at_checked(1)?;
    let is_row = letter.chars().all(|letter| letter.is_ascii_uppercase());
    (is_row && number.parse::<usize>().is_ok()).then_some((name, line))
}

/// The pairs in `file.rs::test` between backticks.
fn proofs(text: &str) -> impl Iterator<Item = (&str, &str)> {
    text.split('`').skip(1).step_by(2).filter_map(|code| code.split_once("::")).filter(
        |(file, test)| {
            file.ends_with(".rs") && test.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
        },
    )
}

fn has_test(file: &str, test: &str) -> bool {
    // A scenario that several runtimes run, or a case without libtest, is listed in the folder's `main.rs`.
    if let Some((folder, name)) = file.rsplit_once('/') {
        let main = format!("{folder}/main.rs");
        let case = format!("{}::{test}", name.trim_end_matches(".rs"));
        if exists(&main) && read(&main).lines().any(|line| line.trim() == case) {
            return true;
        }
    }
    let source = read(file);
    let function = format!("fn {test}(");
    source.match_indices(&function).any(|(at, _)| {
        let before = source[..at].lines().rev().map(str::trim).skip_while(|line| line.is_empty());
        // Attributes stand right before it.
        before.take_while(|line| line.starts_with("#[")).any(|line| line.contains("test"))
    })
}

fn parity_table() -> String {
    read("docs/ktor.md")
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn exists(path: &str) -> bool {
    root().join(path).exists()
}

fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}
