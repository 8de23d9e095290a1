//! The tables of a run: for each load, each server compared with `limit` and the best peer.

use std::time::Duration;

use crate::servers::Server;

/// The figures of one server under one load, of one round or as medians over the rounds.
#[derive(Clone, Debug)]
pub struct Figures {
    pub server: Server,
    /// Replies per second; with fan-out, deliveries.
    pub rate: f64,
    /// CPU time of the server's threads for each reply, in nanoseconds.
    pub cpu: f64,
    pub p50: Duration,
    pub p99: Duration,
    pub p999: Duration,
    /// The 99th percentile of the load generator's own delay in sending, at a fixed rate.
    pub delay: Duration,
    /// Peak resident memory of the server, in bytes.
    pub peak_memory: f64,
}

impl Figures {
    /// Those of `ended` connections, for each of which the server spent its share of `spent`.
    pub fn of_churn(server: Server, ended: u64, spent: Duration, elapsed: Duration) -> Self {
        let [p50, p99, p999, delay] = [Duration::ZERO; 4];
        let rate = ended as f64 / elapsed.as_secs_f64();
        let cpu = spent.as_nanos() as f64 / ended as f64;
        Self { server, rate, cpu, p50, p99, p999, delay, peak_memory: 0.0 }
    }
}

/// A row of a table, with ratios to other servers of the same rounds.
#[derive(Clone, Debug)]
pub struct Row {
    pub figures: Figures,
    /// CPU time relative to `limit`: the median of the ratios within each round.
    pub to_limit: Option<f64>,
    /// CPU time relative to the best peer, likewise.
    pub to_best_peer: Option<f64>,
}

/// Combines the rounds, each of which has the servers in the same order.
pub fn rows(rounds: &[Vec<Figures>]) -> Vec<Row> {
    let Some(first) = rounds.first() else { return Vec::new() };
    let mut rows: Vec<Row> = (0..first.len()).map(|index| row(rounds, index)).collect();
    let peers = rows.iter().enumerate().filter(|(_, row)| row.figures.server.is_peer());
    let best =
        peers.min_by(|a, b| a.1.figures.cpu.total_cmp(&b.1.figures.cpu)).map(|(index, _)| index);
    let limit = first.iter().position(|figures| figures.server == Server::Limit);
    for (index, row) in rows.iter_mut().enumerate() {
        row.to_limit = limit.map(|limit| ratio(rounds, index, limit));
        row.to_best_peer = best.map(|best| ratio(rounds, index, best));
    }
    rows
}

fn row(rounds: &[Vec<Figures>], index: usize) -> Row {
    let of = |figure: fn(&Figures) -> f64| {
        median(rounds.iter().map(|round| figure(&round[index])).collect())
    };
    let figures = Figures {
        server: rounds[0][index].server,
        rate: of(|figures| figures.rate),
        cpu: of(|figures| figures.cpu),
        p50: Duration::from_secs_f64(of(|figures| figures.p50.as_secs_f64())),
        p99: Duration::from_secs_f64(of(|figures| figures.p99.as_secs_f64())),
        p999: Duration::from_secs_f64(of(|figures| figures.p999.as_secs_f64())),
        delay: Duration::from_secs_f64(of(|figures| figures.delay.as_secs_f64())),
        peak_memory: of(|figures| figures.peak_memory),
    };
    Row { figures, to_limit: None, to_best_peer: None }
}

/// Formed within each round, so that disturbances of the machine cancel out.
fn ratio(rounds: &[Vec<Figures>], of: usize, to: usize) -> f64 {
    median(rounds.iter().map(|round| round[of].cpu / round[to].cpu).collect())
}

/// The middle value, or the mean of the two middle values; NaN without values.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => f64::NAN,
        len if len % 2 == 0 => f64::midpoint(values[middle - 1], values[middle]),
        _ => values[middle],
    }
}

/// The highest rate of any peer; of any server, if there is no peer among them.
pub fn best_rate(rows: &[Row]) -> f64 {
    let peers = rows.iter().filter(|row| row.figures.server.is_peer());
    let of_peers = peers.map(|row| row.figures.rate).reduce(f64::max);
    let of_all = rows.iter().map(|row| row.figures.rate).reduce(f64::max);
    of_peers.or(of_all).unwrap_or(f64::NAN)
}

/// Prints the rows of one load, whose `unit` is a message or a delivery.
pub fn print(title: &str, unit: &str, rows: &[Row]) {
    println!("\n### {title}\n");
    println!(
        "| server | CPU ns/{unit} | x limit | x best peer | {unit}/s | p50 us | p99 us | p99.9 us | peak MiB |"
    );
    println!("|---|---:|---:|---:|---:|---:|---:|---:|---:|");
    for Row { figures, to_limit, to_best_peer } in rows {
        let ratio = |ratio: &Option<f64>| ratio.map_or("-".into(), |ratio| format!("{ratio:.2}"));
        println!(
            "| {} | {:.0} | {} | {} | {:.0} | {:.0} | {:.0} | {:.0} | {:.1} |",
            figures.server.name(),
            figures.cpu,
            ratio(to_limit),
            ratio(to_best_peer),
            figures.rate,
            micros(figures.p50),
            micros(figures.p99),
            micros(figures.p999),
            figures.peak_memory / f64::from(1 << 20),
        );
    }
}

/// Prints the rows of one load at a fixed rate, with latencies first.
pub fn print_latencies(title: &str, unit: &str, rows: &[Row]) {
    println!("\n### {title}\n");
    println!(
        "| server | p50 us | p99 us | p99.9 us | CPU ns/{unit} | {unit}/s | p99 us of the load's own delay |"
    );
    println!("|---|---:|---:|---:|---:|---:|---:|");
    for Row { figures, .. } in rows {
        println!(
            "| {} | {:.0} | {:.0} | {:.0} | {:.0} | {:.0} | {:.0} |",
            figures.server.name(),
            micros(figures.p50),
            micros(figures.p99),
            micros(figures.p999),
            figures.cpu,
            figures.rate,
            micros(figures.delay),
        );
    }
}

/// Prints the rows of connections that come and go.
pub fn print_churn(title: &str, rows: &[Row]) {
    println!("\n### {title}\n");
    println!("| server | CPU us/connection | x best peer | connections/s |");
    println!("|---|---:|---:|---:|");
    for Row { figures, to_best_peer, .. } in rows {
        let ratio = to_best_peer.map_or("-".into(), |ratio| format!("{ratio:.2}"));
        let (name, cpu) = (figures.server.name(), figures.cpu / 1e3);
        println!("| {name} | {cpu:.1} | {ratio} | {:.0} |", figures.rate);
    }
}

fn micros(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e6
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figures(server: Server, cpu: f64) -> Figures {
        let [p50, p99, p999, delay] = [Duration::ZERO; 4];
        Figures { server, rate: 1e9 / cpu, cpu, p50, p99, p999, delay, peak_memory: 0.0 }
    }

    #[test]
    fn a_disturbed_round_does_not_change_the_ratios() {
        let round = |noise: f64| {
            let servers = [Server::Limit, Server::Sockless, Server::Axum, Server::Soketto];
            servers
                .into_iter()
                .zip([100.0, 150.0, 600.0, 300.0])
                .map(|(server, cpu)| figures(server, cpu * noise))
                .collect()
        };
        let rows = rows(&[round(1.0), round(9.0), round(2.5)]);
        let ratios = rows.iter().map(|row| (row.to_limit, row.to_best_peer));
        let expected = [(1.0, 1.0 / 3.0), (1.5, 0.5), (6.0, 2.0), (3.0, 1.0)];
        assert!(ratios.eq(expected.map(|(limit, peer)| (Some(limit), Some(peer)))));
        assert_eq!(rows[0].figures.cpu, 250.0);
        assert_eq!(
            best_rate(&rows),
            1e9 / 750.0,
            "that of soketto, the only peer that is faster than axum"
        );
    }

    #[test]
    fn the_median_is_the_middle_value_or_the_mean_of_two() {
        assert_eq!(median(vec![3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(vec![4.0, 1.0, 2.0, 3.0]), 2.5);
        assert!(median(Vec::new()).is_nan());
    }
}
