//! A document for a few instances first, and instances that serve nobody for a while.

use super::{Fleet, echoed, plain, terminating};
use crate::harness::{Client, Directory, End, Origin, Stream, eventually};

#[test]
fn a_canary_has_it_first_and_promote_gives_it_to_all() {
    let (fleet, origin) = (Fleet::new(), Origin::echo());
    let text = plain(&origin);
    fleet
        .directory
        .write("next.yaml", format!("{text}x-next: true\n"));
    let none = fleet.run(&["push", "--canary", "early", "next.yaml"]);
    none.must_exit_with(1).must_print("nothing was pushed yet");
    let _one = fleet.instance("edge-1");
    let first = fleet.push(&text);
    fleet.serves("edge-1", &first);
    let none = fleet.run(&["push", "--canary", "early", "next.yaml"]);
    none.must_exit_with(1)
        .must_print("no live instance is of the group `early`");
    fleet
        .run(&["promote"])
        .must_exit_with(1)
        .must_print("no canary");
    let _two = fleet.instance_in(&Directory::new(), "edge-2", "  group: early\n");
    fleet.serves("edge-2", &first);
    let pushed = fleet.run(&["push", "--canary", "early", "next.yaml"]);
    pushed.must_exit_with(0);
    let second = pushed.stdout.split(':').next().unwrap().to_owned();
    // It returned once the group had it.
    assert_eq!(fleet.state("edge-2")["generation"], second);
    assert_eq!(fleet.state("edge-2")["state"], "serving");
    assert_eq!(fleet.state("edge-1")["generation"], first);
    fleet.run(&["promote"]).must_exit_with(0);
    fleet.serves("edge-1", &second);
    fleet.serves("edge-2", &second);
}

#[test]
fn promote_refuses_what_the_canary_refused_and_a_rollback_ends_it() {
    let (fleet, origin) = (Fleet::new(), Origin::echo());
    let (_one, two) = (
        fleet.instance("edge-1"),
        fleet.instance_in(&Directory::new(), "edge-2", "  group: early\n"),
    );
    let text = terminating(&fleet, &origin);
    let first = fleet.push(&text);
    for name in ["edge-1", "edge-2"] {
        fleet.serves(name, &first);
    }
    let place = two.new_listen_addr("edge");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    fleet
        .directory
        .write("next.yaml", text.replace("127.0.0.1:0", &address));
    let pushed = fleet.run(&["push", "next.yaml", "--percent", "100"]);
    pushed.must_exit_with(1).must_print("halted");
    fleet.run(&["rollback"]).must_exit_with(0);
    fleet.serves("edge-1", &first);
    let pushed = fleet.run(&["push", "next.yaml", "--canary", "early"]);
    pushed
        .must_exit_with(1)
        .must_print("halted")
        .must_print(&address);
    assert_eq!(fleet.state("edge-2")["state"], "refused");
    assert_eq!(fleet.state("edge-1")["state"], "serving");
    assert!(echoed(&place));
    fleet
        .run(&["promote"])
        .must_exit_with(1)
        .must_print("refuses it");
    fleet.run(&["rollback"]).must_exit_with(0);
    fleet.serves("edge-2", &first);
    fleet.run(&["status", "--wait"]).must_exit_with(0);
}

#[test]
fn a_drained_instance_serves_nobody_until_it_is_undrained_and_the_last_one_is_not_drained() {
    let (fleet, origin) = (Fleet::new(), Origin::echo());
    let one = fleet.instance("edge-1");
    let text = terminating(&fleet, &origin);
    let id = fleet.push(&text);
    fleet.serves("edge-1", &id);
    fleet
        .run(&["drain", "edge-1"])
        .must_exit_with(1)
        .must_print("0 instances");
    fleet
        .run(&["drain", "edge-9"])
        .must_exit_with(1)
        .must_print("no instance `edge-9`");
    let two = fleet.instance("edge-2");
    fleet.serves("edge-2", &id);
    fleet
        .run(&["drain", "edge-1", "--min-serving", "2"])
        .must_exit_with(1);
    fleet.run(&["drain", "edge-1"]).must_exit_with(0);
    eventually("it is drained", || fleet.state("edge-1")["drained"] == true);
    one.probe("/readyz").must_be(503);
    two.probe("/readyz").must_be(200);
    fleet
        .run(&["status"])
        .must_exit_with(0)
        .must_print("serving, drained");
    assert!(echoed(&two.new_listen_addr("edge")));
    // A push does not end it.
    let next = fleet.push(&format!("{text}x-next: true\n"));
    fleet.serves("edge-1", &next);
    one.probe("/readyz").must_be(503);
    fleet.run(&["undrain", "edge-1"]).must_exit_with(0);
    eventually("it serves again", || one.probe("/readyz").status == 200);
    fleet
        .run(&["undrain", "edge-1"])
        .must_exit_with(1)
        .must_print("is not drained");
    let addresses = one.ctl_json(&["status"])["listening"].clone();
    let address = addresses[0]["address"].as_str().unwrap();
    assert!(echoed(&crate::harness::ListenAddr::parse(address)));
}

/// A document whose clients need a certificate of the client CA.
fn with_client_auth(fleet: &Fleet, origin: &Origin) -> String {
    let ca = crate::harness::pki().clients.pem();
    fleet.directory.write("certs/clients.pem", ca);
    let text = terminating(fleet, origin);
    text.replace(
        "mode: terminate,",
        "mode: terminate, client_auth: { mode: required, ca: certs/clients.pem },",
    )
}

#[test]
fn a_revocation_reaches_new_handshakes_sessions_and_live_connections() {
    let (fleet, origin) = (Fleet::new(), Origin::echo());
    let instances = [fleet.instance("edge-1"), fleet.instance("edge-2")];
    let id = fleet.push(&with_client_auth(&fleet, &origin));
    for name in ["edge-1", "edge-2"] {
        fleet.serves(name, &id);
    }
    let leaf = crate::harness::Leaf::client("mallory")
        .serial(0xabcd)
        .common_name("mallory");
    let identity = crate::harness::pki().clients.issue(&leaf);
    let other = crate::harness::pki().client("ada");
    let places = instances
        .each_ref()
        .map(|instance| instance.new_listen_addr("edge"));
    let connect = |identity| {
        let clients = places
            .iter()
            .map(|place| Client::new(place, "a.test").certificate(identity));
        let streams = clients.map(|client| {
            let stream = client.connect();
            stream.send("x");
            assert_eq!(stream.receive(1), b"x");
            stream
        });
        streams.collect::<Vec<Stream>>()
    };
    let (live, stay) = (connect(&identity), connect(&other));
    let revoked = fleet.run(&[
        "revoke", "--serial", "AB:CD", "--for", "1h", "--why", "left",
    ]);
    revoked
        .must_exit_with(0)
        .must_print("serial abcd: revoked until");
    for stream in &live {
        let (rest, end) = stream.receive_to_end();
        assert!(rest.is_empty() && end != End::Clean, "{end:?}");
    }
    for stream in &stay {
        stream.send("y");
        assert_eq!(stream.receive(1), b"y");
    }
    let refused = || {
        for place in &places {
            let end = Client::new(place, "a.test")
                .certificate(&identity)
                .refusal();
            // certificate_revoked
            assert_eq!(end, End::Alert(44));
        }
    };
    refused();
    // A push keeps it, and what is wiped is not taken back.
    let next = fleet.push(&with_client_auth(&fleet, &origin));
    fleet.serves("edge-1", &next);
    refused();
    fleet
        .run(&["revocations"])
        .must_exit_with(0)
        .must_print("left")
        .must_print("in force");
    let taken = fleet.run(&["unrevoke", "--serial", "abcd"]);
    taken.must_exit_with(0).must_print("revoked no longer");
    eventually("it is admitted again", || {
        let client = Client::new(&places[0], "a.test").certificate(&identity);
        client.try_connect().is_ok_and(|stream| {
            stream.send("z");
            stream.try_receive(1).is_some()
        })
    });
    fleet
        .run(&["unrevoke", "--serial", "abcd"])
        .must_exit_with(1)
        .must_print("not revoked");
    fleet
        .run(&["revoke", "--serial", "no number"])
        .must_exit_with(1);
    fleet.run(&["revoke"]).must_exit_with(2);
}

#[test]
fn every_way_to_revoke_a_client_closes_its_connection() {
    let (fleet, origin) = (Fleet::new(), Origin::echo());
    let instance = fleet.instance("edge-1");
    let id = fleet.push(&with_client_auth(&fleet, &origin));
    fleet.serves("edge-1", &id);
    let place = instance.new_listen_addr("edge");
    let leaf = crate::harness::Leaf::client("mallory")
        .common_name("mallory")
        .shaped(|params| {
            let uri = "spiffe://example.test/mallory".try_into().unwrap();
            params.subject_alt_names = vec![rcgen::SanType::URI(uri)];
        });
    let identity = crate::harness::pki().clients.issue(&leaf);
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &identity.chain()[0]);
    let digest: String = digest
        .as_ref()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    for (flag, value) in [
        ("--sha256", digest.as_str()),
        ("--uri", "spiffe://example.test/mallory"),
        ("--cn", "mallory"),
        ("--source", "127.0.0.0/8"),
    ] {
        let live = Client::new(&place, "a.test")
            .certificate(&identity)
            .connect();
        live.send("x");
        assert_eq!(live.receive(1), b"x", "{flag}");
        fleet.run(&["revoke", flag, value]).must_exit_with(0);
        let (_, end) = live.receive_to_end();
        assert_ne!(end, End::Clean, "{flag}");
        fleet.run(&["unrevoke", flag, value]).must_exit_with(0);
        eventually("it is admitted again", || {
            let client = Client::new(&place, "a.test").certificate(&identity);
            client
                .try_connect()
                .is_ok_and(|stream| stream.try_send("z").is_ok() && stream.try_receive(1).is_some())
        });
    }
}

#[test]
fn revocations_survive_a_start_from_the_cache_and_a_wiped_store() {
    let (fleet, origin) = (Fleet::new(), Origin::echo());
    let directory = Directory::new();
    let mut instance = fleet.instance_in(&directory, "edge-1", "");
    let id = fleet.push(&with_client_auth(&fleet, &origin));
    fleet.serves("edge-1", &id);
    let identity = crate::harness::pki().client("mallory");
    let place = instance.new_listen_addr("edge");
    fleet.run(&["revoke", "--cn", "mallory"]).must_exit_with(0);
    let refusal = |place: &crate::harness::ListenAddr| {
        let client = Client::new(place, "a.test").certificate(&identity);
        client.try_connect().map(|stream| stream.receive_to_end().1)
    };
    let is_refused = |place: &crate::harness::ListenAddr| match refusal(place) {
        Ok(end) | Err(end) => end == End::Alert(44),
    };
    eventually("it is revoked", || is_refused(&place));
    fleet.wipe();
    instance.log_line(|line| line.contains("the fleet's store has no document"));
    assert!(is_refused(&place));
    instance.signal(rustix::process::Signal::TERM);
    instance.exit_code();
    let local = fleet.local_file("edge-1", "");
    let _files = fleet.directory.clone();
    drop(fleet);
    let instance = crate::harness::Proxy::again(&directory, &local);
    assert!(is_refused(instance.listen_addr("edge")));
}

#[test]
fn a_client_resumes_at_any_instance_for_two_epochs_and_not_in_the_third() {
    let (fleet, origin) = (Fleet::new(), Origin::echo());
    let instances = [fleet.instance("edge-1"), fleet.instance("edge-2")];
    let id = fleet.push(&terminating(&fleet, &origin));
    for name in ["edge-1", "edge-2"] {
        fleet.serves(name, &id);
    }
    let places = instances
        .each_ref()
        .map(|instance| instance.new_listen_addr("edge"));
    let sessions = std::sync::Arc::new(rustls::client::ClientSessionMemoryCache::new(8));
    let config = Client::new(&places[0], "a.test")
        .sessions(sessions)
        .config();
    let connect = |place: usize| {
        let client = Client::new(&places[place], "a.test");
        let stream = client.connect_with(&config, "a.test").unwrap();
        stream.send("x");
        assert_eq!(stream.receive(1), b"x");
        stream.is_resumed()
    };
    let epoch = |number: usize| {
        for instance in &instances {
            instance.log_line(|line| {
                line.contains("tickets of a new epoch")
                    && line.contains(&format!("\"epoch\":{number}"))
            });
            // The renewal that it causes is over.
            eventually("it is in force", || {
                let log = instance.log();
                let lines = log.iter();
                let lines = lines.filter(|line| line.contains("\"message\":\"reloaded\""));
                lines.count() > number
            });
        }
    };
    epoch(1);
    connect(0);
    for (n, place) in [1, 0, 1].into_iter().enumerate() {
        assert!(connect(place));
        fleet
            .run(&["rotate-tickets"])
            .must_exit_with(0)
            .must_print(&format!("epoch {}", n + 2));
        epoch(n + 2);
        assert!(connect(place));
    }
    // A session that was not renewed for three epochs is too old.
    for n in 5..8 {
        fleet.run(&["rotate-tickets"]).must_exit_with(0);
        epoch(n);
    }
    assert!(!connect(0));
    assert!(connect(1));
}
