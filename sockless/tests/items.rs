//! The table of all items on the front page is complete.

use std::fs;

const SOURCE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/");

/// The names that the crate root exports.
fn exported(root: &str) -> Vec<String> {
    let code: String = root.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
    let uses = code.split("pub use ").skip(1).filter_map(|rest| rest.split(';').next());
    uses.flat_map(|path| {
        let last = path.rsplit_once("::").map_or(path, |(_, last)| last);
        let names = last.rsplit_once(" as ").map_or(last, |(_, name)| name);
        names
            .split(',')
            .map(|name| name.trim_matches(['{', '}', ' ']).to_owned())
            .collect::<Vec<_>>()
    })
    .filter(|name| !["", "*"].contains(&name.as_str()))
    .collect()
}

#[test]
fn every_exported_item_is_in_the_table_of_the_front_page() {
    let root = fs::read_to_string(format!("{SOURCE}lib.rs")).unwrap();
    let table = fs::read_to_string(format!("{SOURCE}items.md")).unwrap();
    let exported = exported(&root);
    assert!(exported.len() > 100, "{exported:?}");
    for name in exported {
        let listed =
            ["", "()", "!"].iter().any(|kind| table.contains(&format!("[`{name}{kind}`]")));
        assert!(listed, "{name} is not in src/items.md");
    }
}
