//! The suite that every bus passes: what is promised of rooms, over each of them.
//!
//! A bus of one's own is tested the same way: call [`conforms`] with two of its servers.

mod common;

use std::time::Duration;

use common::router;
use common::suite::{check_released, conforms};
use sockless::rooms::{Namespace, Rooms, SimBroker};
use sockless::sim::Sim;

#[test]
fn the_local_bus_conforms() {
    Sim::check(0..20, |sim| async move {
        check(&sim, vec![Rooms::local(sim.clone())]).await;
    });
}

#[test]
fn the_simulated_broker_conforms() {
    Sim::check(0..20, |sim| async move {
        let broker = SimBroker::new(sim.clone());
        let servers = (0..3).map(|_| Rooms::with_bus(broker.connect(), sim.clone())).collect();
        check(&sim, servers).await;
    });
}

#[test]
fn the_simulated_broker_conforms_when_it_is_slow_and_loses_items() {
    Sim::check(0..20, |sim| async move {
        let broker = SimBroker::new(sim.clone());
        broker.set_delay(Duration::ZERO..Duration::from_millis(300));
        broker.set_faults_per_thousand(200, 200);
        let servers = (0..2).map(|_| Rooms::with_bus(broker.connect(), sim.clone())).collect();
        check(&sim, servers).await;
    });
}

/// Servers that share one bus.
async fn check(sim: &Sim, servers: Vec<Rooms>) {
    let config = common::suite::config();
    let chats: Vec<Namespace> =
        servers.iter().map(|rooms| rooms.namespace("chat", config.clone())).collect();
    // Until they are connected.
    sim.sleep(Duration::from_secs(3)).await;
    let apps: Vec<_> = chats.iter().map(|chat| sim.app(router(chat))).collect();
    let app = apps.last().unwrap().clone().patience(Duration::from_secs(120));
    conforms(&chats[0], &app).await;
    sim.sleep(Duration::from_secs(1)).await;
    servers.iter().for_each(check_released);
}
