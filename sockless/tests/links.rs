//! The links of the documents lead to files of the tree and to pages of the guide.

use std::fs;
use std::path::{Path, PathBuf};

const REPOSITORY: &str = "https://github.com/sockless/sockless/";
const GUIDE: &str = "https://docs.rs/sockless/latest/sockless/guide/";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn documents() -> Vec<PathBuf> {
    let mut documents: Vec<_> = ["README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md"]
        .iter()
        .map(|name| root().join(name))
        .collect();
    for folder in ["docs", "sockless/src/guide"] {
        for entry in fs::read_dir(root().join(folder)).expect("the folder exists") {
            let path = entry.expect("it can be read").path();
            let is_document = path.extension().is_some_and(|extension| extension == "md");
            documents.extend(is_document.then_some(path));
        }
    }
    documents
}

/// The targets of `[text](target)` and of `[label]: target`.
fn targets(text: &str) -> impl Iterator<Item = &str> {
    let inline = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    let references = text.lines().filter_map(|line| {
        let (label, target) = line.strip_prefix('[')?.split_once("]: ")?;
        (!label.contains(']')).then_some(target)
    });
    inline.chain(references)
}

#[test]
fn every_link_to_a_file_of_the_tree_leads_to_one() {
    let mut missing = Vec::new();
    for document in documents() {
        let text = fs::read_to_string(&document).expect("the document can be read");
        for target in targets(&text) {
            let target = target.split('#').next().unwrap_or_default();
            let path = if let Some(path) = target.strip_prefix(REPOSITORY) {
                let path = ["tree/main", "blob/main", "raw/main"]
                    .iter()
                    .find_map(|at| path.strip_prefix(at))
                    .unwrap_or(path);
                root().join(path.trim_start_matches('/'))
            } else if let Some(page) = target.strip_prefix(GUIDE) {
                let page = page.trim_end_matches("/index.html");
                root().join(format!("sockless/src/guide/{page}.md"))
            } else if target.is_empty() || target.contains(':') || target.contains(' ') {
                continue; // Another site, a path of Rust, or not a link.
            } else {
                document.parent().expect("it is in a folder").join(target)
            };
            if !path.exists() {
                missing.push(format!("{}: {target}", document.display()));
            }
        }
    }
    assert!(missing.is_empty(), "links that lead nowhere: {missing:#?}");
}
