//! The documents that name metrics: the module's tables and the dashboard.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use metrics::{Counter, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit};

/// A recorder of the metrics that are described, by name, each with its kind.
#[derive(Clone, Default)]
struct Described(Arc<Mutex<BTreeMap<String, &'static str>>>);

impl Described {
    fn all() -> BTreeMap<String, &'static str> {
        let described = Self::default();
        metrics::with_local_recorder(&described, sockless::metrics::describe);
        std::mem::take(&mut described.0.lock().unwrap())
    }

    fn add(&self, name: &KeyName, kind: &'static str, text: &SharedString) {
        assert!(text.ends_with('.'), "{name:?}: {text}");
        let before = self.0.lock().unwrap().insert(name.as_str().to_owned(), kind);
        assert_eq!(before, None, "{name:?} is described once");
    }
}

impl Recorder for Described {
    fn describe_counter(&self, name: KeyName, _: Option<Unit>, text: SharedString) {
        self.add(&name, "counter", &text);
    }

    fn describe_gauge(&self, name: KeyName, _: Option<Unit>, text: SharedString) {
        self.add(&name, "gauge", &text);
    }

    fn describe_histogram(&self, name: KeyName, _: Option<Unit>, text: SharedString) {
        self.add(&name, "histogram", &text);
    }

    fn register_counter(&self, _: &Key, _: &Metadata<'_>) -> Counter {
        Counter::noop()
    }

    fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::noop()
    }

    fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::noop()
    }
}

fn read(path: &str) -> String {
    let path = format!("{}/../{path}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

#[test]
fn the_tables_of_the_module_have_each_metric_with_its_kind_and_no_other() {
    let rows: BTreeMap<_, _> = read("sockless/src/metrics.rs")
        .lines()
        .filter_map(|line| {
            let mut cells = line.strip_prefix("//! | `sockless_")?.split(" | ");
            let name = format!("sockless_{}", cells.next()?.trim_end_matches('`'));
            Some((name, cells.next()?.to_owned()))
        })
        .collect();
    let described = Described::all();
    assert!(described.len() > 30);
    let rows: BTreeMap<_, _> =
        rows.iter().map(|(name, kind)| (name.clone(), kind.as_str())).collect();
    assert_eq!(rows, described);
}

#[test]
fn names_follow_the_conventions_of_prometheus() {
    for (name, kind) in Described::all() {
        assert_eq!(name.ends_with("_total"), kind == "counter", "{name}");
        assert_eq!(name.ends_with("_seconds"), kind == "histogram", "{name}");
    }
}

#[test]
fn the_dashboard_names_only_metrics_that_exist_and_most_of_them() {
    let described = Described::all();
    let dashboard: serde_json::Value = serde_json::from_str(&read("docs/grafana.json")).unwrap();
    let mut named = Vec::new();
    for panel in dashboard["panels"].as_array().unwrap() {
        for target in panel["targets"].as_array().into_iter().flatten() {
            let text = target["expr"].as_str().unwrap();
            let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
            let names = words.filter(|word| word.starts_with("sockless_"));
            assert!(names.clone().count() > 0, "{text} names a metric");
            named.extend(names.map(|name| {
                let base = name
                    .trim_end_matches("_bucket")
                    .trim_end_matches("_count")
                    .trim_end_matches("_sum");
                match described.get(base) {
                    Some(&"histogram") if base != name => base.to_owned(),
                    _ => name.to_owned(),
                }
            }));
        }
    }
    named.sort();
    named.dedup();
    for name in &named {
        assert!(described.contains_key(name), "{name} is no metric");
    }
    let missing: Vec<_> = described.keys().filter(|name| !named.contains(name)).collect();
    assert_eq!(missing, Vec::<&String>::new(), "on no panel");
}
