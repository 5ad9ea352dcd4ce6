//! Renewals while clients connect.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use super::authority::{Ca, Wishes};
use crate::harness::{Client, Origin, becomes_true};

const NAMES: usize = 25;
const RENEWALS: usize = 50;

/// Fifty orders of a strict CA take their time on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

#[test]
fn fifty_renewals_fail_no_handshake() {
    let names: Vec<_> = (0..NAMES).map(|n| format!("a{n}.test")).collect();
    let mut ca = Ca::prepare(Wishes {
        life: 3600,
        ..Wishes::default()
    });
    let texts: Vec<_> = names.iter().map(String::as_str).collect();
    ca.names_lead_here(&texts);
    ca.run();
    let origin = Origin::echo();
    // Each is due some seconds after it was issued.
    let mut builder = ca.proxy(", renew: 1h");
    for name in &names {
        builder = builder
            .route("terminate", name, &origin)
            .with_certificate(&format!("{{ acme: pebble, names: [{name}] }}"));
    }
    let proxy = builder.start();
    let is_ready = || proxy.probe("/readyz").body.trim() == "serving";
    assert!(becomes_true(PATIENCE, is_ready), "the first certificates");
    let issued = || {
        let is_issued = |line: &&String| line.contains("a certificate was issued");
        proxy.log().iter().filter(is_issued).count()
    };
    let (place, config, before) = (proxy.listen_addr("edge"), ca.client_config(), issued());
    let is_over = AtomicBool::new(false);
    let connect = || {
        let mut handshakes = 0;
        while !is_over.load(Ordering::Relaxed) {
            for name in &names {
                let stream = Client::new(place, name).connect_with(&config, name);
                let stream = stream.unwrap_or_else(|end| panic!("{name}: {end:?}"));
                stream.must_echo(b"x");
                handshakes += 1;
            }
        }
        handshakes
    };
    let (renewed, handshakes) = thread::scope(|scope| {
        let clients = [scope.spawn(connect), scope.spawn(connect)];
        let renewed = becomes_true(PATIENCE, || issued() >= before + RENEWALS);
        is_over.store(true, Ordering::Relaxed);
        let handshakes = clients.map(|client| client.join().unwrap());
        (renewed, handshakes.iter().sum::<usize>())
    });
    assert!(renewed, "{} renewals", issued() - before);
    assert!(handshakes >= RENEWALS, "{handshakes}");
}
