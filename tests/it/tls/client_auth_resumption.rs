//! Resumption never admits a client that a full handshake would reject.

use rustls::client::ClientSessionMemoryCache;

use crate::harness::{Client, End, NamelessSessions, Origin, Proxy, Stream, pki};

/// Connects twice with a shared session store; returns whether the second connection was resumed.
fn second_is_resumed(client: &Client) -> bool {
    let client = client
        .clone()
        .sessions(std::sync::Arc::new(ClientSessionMemoryCache::new(8)));
    let config = client.config();
    let connect = || exchange(client.connect_with(&config, "a.test").unwrap());
    assert!(!connect(), "nothing to resume yet");
    connect()
}

/// Sends data and reads its echo, so that tickets have arrived, and ends. Returns whether the session was
/// resumed.
fn exchange(stream: Stream) -> bool {
    stream.must_echo(b"x");
    let resumed = stream.is_resumed();
    stream.end();
    assert_eq!(stream.receive_to_end().1, End::Clean);
    resumed
}

#[test]
fn clients_without_certificates_resume() {
    let origin = Origin::echo();
    let proxy = Proxy::builder().terminate("a.test", &origin).start();
    for client in [
        proxy.client("a.test").tls12(),
        proxy.client("a.test").tls13(),
    ] {
        assert!(second_is_resumed(&client));
        // Two workers may write the records in either order.
        let records = proxy.outcomes(2);
        let resumed = records
            .iter()
            .filter(|record| record["tls_resumed"] == true);
        assert_eq!(resumed.count(), 1, "{records:?}");
    }
}

#[test]
fn clients_with_certificates_resume_with_their_identity() {
    let origin = Origin::echo();
    for mode in ["optional", "required"] {
        let proxy = Proxy::builder()
            .terminate("a.test", &origin)
            .on_tls(&format!(
                "client_auth: {{ mode: {mode}, ca: client-ca.pem }}"
            ))
            .start();
        for client in [
            proxy.client("a.test").tls12(),
            proxy.client("a.test").tls13(),
        ] {
            assert!(
                second_is_resumed(&client.certificate(&pki().client("alice"))),
                "{mode}"
            );
            for record in proxy.outcomes(2) {
                record.must_be("ok").must_have("route", "a.test");
                assert_eq!(record["client_cert"]["subject"], "CN=alice", "{mode}");
            }
        }
    }
}

/// Offers the session of a first connection to `from` in a second one to `to`, under any name.
#[track_caller]
fn crosses(from: (&Client, &str), to: (&Client, &str)) -> bool {
    // One configuration for both, because rustls does not share sessions between configurations.
    let config = from.0.clone().sessions(NamelessSessions::new()).config();
    assert!(!exchange(from.0.connect_with(&config, from.1).unwrap()));
    exchange(to.0.connect_with(&config, to.1).unwrap())
}

#[test]
fn a_session_never_crosses_from_one_route_to_another() {
    let origin = Origin::echo();
    let proxy = Proxy::builder()
        .terminate("a.test", &origin)
        .terminate("b.test", &origin)
        .start();
    for client in [
        proxy.client("a.test").tls12(),
        proxy.client("a.test").tls13(),
    ] {
        assert!(
            crosses((&client, "a.test"), (&client, "a.test")),
            "the client does offer it"
        );
        assert!(
            !crosses((&client, "a.test"), (&client, "b.test")),
            "a full handshake, not a failure"
        );
    }
}

#[test]
fn a_session_never_crosses_from_one_name_of_a_route_to_another() {
    let origin = Origin::echo();
    let proxy = Proxy::builder().terminate("*.wild.test", &origin).start();
    for client in [
        proxy.client("x.wild.test").tls12(),
        proxy.client("x.wild.test").tls13(),
    ] {
        assert!(!crosses((&client, "x.wild.test"), (&client, "y.wild.test")));
    }
}

#[test]
fn a_session_never_crosses_from_one_endpoint_to_another() {
    let origin = Origin::echo();
    let proxy = Proxy::builder()
        .terminate("a.test", &origin)
        .endpoint("side", "tls")
        .terminate("a.test", &origin)
        .start();
    let side = Client::new(proxy.listen_addr("side"), "a.test");
    let edge = proxy.client("a.test");
    for (edge, side) in [
        (edge.clone().tls12(), side.clone().tls12()),
        (edge.tls13(), side.tls13()),
    ] {
        assert!(!crosses((&edge, "a.test"), (&side, "a.test")));
    }
}

#[test]
fn a_session_of_a_route_without_client_auth_is_not_valid_on_one_with_it() {
    const CERTIFICATE_REQUIRED: u8 = 116;
    let origin = Origin::echo();
    let proxy = Proxy::builder()
        .terminate("open.test", &origin)
        .terminate("closed.test", &origin)
        .on_route("client_auth: { mode: required, ca: client-ca.pem }")
        .start();
    for client in [
        proxy.client("open.test").tls12(),
        proxy.client("open.test").tls13(),
    ] {
        let client = client.sessions(NamelessSessions::new());
        let config = client.config();
        exchange(client.connect_with(&config, "open.test").unwrap());
        let end = match client.connect_with(&config, "closed.test") {
            Ok(stream) => stream.receive_to_end().1,
            Err(end) => end,
        };
        assert_eq!(end, End::Alert(CERTIFICATE_REQUIRED));
    }
    assert_eq!(origin.accepts(), 2);
}

#[test]
fn no_early_data_is_accepted() {
    let origin = Origin::echo();
    let proxy = Proxy::builder().terminate("a.test", &origin).start();
    let client = proxy
        .client("a.test")
        .sessions(std::sync::Arc::new(ClientSessionMemoryCache::new(8)));
    let mut config = (*client.config()).clone();
    config.enable_early_data = true;
    let config = std::sync::Arc::new(config);
    exchange(client.connect_with(&config, "a.test").unwrap());
    let name = rustls::pki_types::ServerName::try_from("a.test").unwrap();
    let mut conn = rustls::ClientConnection::new(config, name).unwrap();
    assert!(conn.early_data().is_none(), "the ticket does not allow it");
}
