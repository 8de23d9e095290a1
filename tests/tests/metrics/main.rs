//! The metrics that scenarios of the simulator leave, as the text that Prometheus reads.

mod documents;
mod requests;
mod rooms;
mod sessions;

use std::collections::BTreeMap;

use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use sockless_sim::Sim;

/// The recorder of a run.
#[derive(Clone)]
struct Recorded(PrometheusHandle);

impl Recorded {
    /// Runs a scenario for some seeds, each with a recorder of its own.
    #[track_caller]
    fn check<Fut: Future<Output = ()>>(scenario: impl Fn(Sim, Self) -> Fut) {
        for seed in 0..5 {
            let recorder = PrometheusBuilder::new().build_recorder();
            let recorded = Self(recorder.handle());
            metrics::with_local_recorder(&recorder, || {
                let sim = Sim::new(seed);
                sim.run(scenario(sim.clone(), recorded));
            });
        }
    }

    /// The samples so far: a name with its labels, in the order of the recorder, and the value.
    fn samples(&self) -> BTreeMap<String, f64> {
        let text = self.0.render();
        let samples = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
        samples
            .map(|line| {
                let (key, value) = line.rsplit_once(' ').expect("a sample has a value");
                (key.to_owned(), value.parse().expect("a value is a number"))
            })
            .collect()
    }

    /// The sum of the samples of `name` that have all of `labels`, each as `label="value"`.
    fn sum(&self, name: &str, labels: &[&str]) -> f64 {
        let samples = self.samples();
        let of_name = samples.iter().filter_map(|(key, value)| {
            let (own, rest) = key.split_once('{').unwrap_or((key, ""));
            let has_all = labels.iter().all(|label| rest.contains(label));
            (own == name && has_all).then_some(*value)
        });
        of_name.sum()
    }

    #[track_caller]
    fn expect(&self, name: &str, labels: &[&str], value: f64) {
        let sum = self.sum(name, labels);
        assert!(sum == value, "{name} {labels:?} is {sum}, not {value}\n{}", self.0.render());
    }
}
