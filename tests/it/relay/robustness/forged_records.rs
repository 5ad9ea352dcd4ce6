//! Records of TLS that were forged or changed on the way.

use std::io;
use std::net::TcpStream;

use crate::harness::{Client, End, Leaf, Origin, Proxy, TIMEOUT, noise, pki};

/// A TLS record of application data that fails authentication.
fn forged_record() -> Vec<u8> {
    let mut record = vec![23, 3, 3, 0, 64];
    record.extend(noise(64, 3));
    record
}

const BAD_RECORD_MAC: u8 = 20;

#[test]
fn a_forged_record_of_a_client_ends_only_its_connection_with_an_alert() {
    let origin = Origin::echo();
    let mut proxy = Proxy::builder().terminate("a.test", &origin).start();
    let other = proxy.client("a.test").connect();
    other.must_echo(b"before");
    for client in [
        proxy.client("a.test").tls12(),
        proxy.client("a.test").tls13(),
    ] {
        let client = client.connect();
        client.must_echo(b"all is well");
        client.write_raw(&forged_record()).unwrap();
        assert_eq!(
            client.receive_to_end(),
            (vec![], End::Alert(BAD_RECORD_MAC))
        );
        proxy
            .outcome_of(&client)
            .must_be("client_tls_error")
            .must_have("stage", "relay")
            .must_have("fault", "client");
    }
    other.must_echo(b"not touched");
    assert!(proxy.is_running());
}

#[test]
fn a_flipped_bit_in_a_clients_record_is_answered_with_an_alert() {
    let origin = Origin::echo();
    let proxy = Proxy::builder().terminate("a.test", &origin).start();
    let place = proxy.listen_addr("edge");
    let name = rustls::pki_types::ServerName::try_from("a.test").unwrap();
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let config = Client::new(place, "a.test").version(version).config();
        let mut conn = rustls::ClientConnection::new(config, name.clone()).unwrap();
        let mut socket = TcpStream::connect(place.tcp()).unwrap();
        socket.set_read_timeout(Some(TIMEOUT)).unwrap();
        while conn.is_handshaking() {
            conn.complete_io(&mut socket).unwrap();
        }
        io::Write::write_all(&mut conn.writer(), b"as it was meant").unwrap();
        let mut record = Vec::new();
        conn.write_tls(&mut record).unwrap();
        *record.last_mut().unwrap() ^= 1;
        io::Write::write_all(&mut socket, &record).unwrap();
        let error = loop {
            let len = conn.read_tls(&mut socket).unwrap();
            assert_ne!(len, 0, "it ended without an alert");
            if let Err(error) = conn.process_new_packets() {
                break error;
            }
        };
        let alert = rustls::AlertDescription::BadRecordMac;
        assert_eq!(error, rustls::Error::AlertReceived(alert));
        proxy
            .outcome_from(socket.local_addr().unwrap())
            .must_be("client_tls_error");
    }
    proxy.client("a.test").connect().must_echo(b"lives on");
}

#[test]
fn a_forged_record_of_an_origin_ends_only_its_connection_with_an_alert() {
    for origin in [Origin::with_tls(), Origin::with_tls().tls12()] {
        let (sender, ends) = std::sync::mpsc::channel();
        let sender = std::sync::Mutex::new(sender);
        let origin = origin.serve(move |stream| {
            stream.send(stream.receive(5));
            let more = stream.read();
            if more.is_ok() {
                stream.write_raw(&forged_record()).unwrap();
                let _ = sender.lock().unwrap().send(stream.receive_to_end());
            }
        });
        let proxy = Proxy::builder().reencrypt("a.test", &origin).start();
        let client = proxy.client("a.test").connect();
        client.must_echo(b"hello");
        client.send(b"now");
        assert_eq!(client.receive_to_end(), (vec![], End::Reset));
        proxy
            .outcome_of(&client)
            .must_be("origin_tls_error")
            .must_have("stage", "relay");
        let (data, end) = ends.recv_timeout(TIMEOUT).unwrap();
        assert_eq!((data, end), (vec![], End::Alert(BAD_RECORD_MAC)));
        proxy.client("a.test").connect().must_echo(b"lives");
    }
}

#[test]
fn an_origin_gets_the_alert_for_its_rejected_certificate() {
    const UNKNOWN_CA: u8 = 48;
    let stranger = pki().stranger.issue(&Leaf::server(&["origin.test"]));
    for origin in [Origin::tls(&stranger), Origin::tls(&stranger).tls12()] {
        let origin = origin.echo();
        let proxy = Proxy::builder()
            .reencrypt("a.test", &origin)
            .originate(&origin)
            .start();
        let client = proxy.client("a.test").connect();
        assert_eq!(origin.failed_handshake(), End::Alert(UNKNOWN_CA));
        proxy.outcome_of(&client).must_be("origin_tls_untrusted");
        let client = proxy.dial("originate");
        assert_eq!(origin.failed_handshake(), End::Alert(UNKNOWN_CA));
        proxy.outcome_of(&client).must_be("origin_tls_untrusted");
    }
}
