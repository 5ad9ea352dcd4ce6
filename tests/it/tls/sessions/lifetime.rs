//! How long sessions are resumed.

use std::time::{Duration, Instant};

use super::{KINDS, SECRET, client_of_kind, exchange, instance, renewing};
use crate::harness::{End, Leaf, Origin, Proxy, at_once, eventually, pki};

const CERTIFICATE_EXPIRED: u8 = 45;

#[test]
fn a_session_ends_at_its_age_however_often_it_is_renewed() {
    let origin = Origin::echo();
    let identity = pki().edge(&["a.test"]);
    let age = Duration::from_secs(2);
    let cases = [&[][..], &[SECRET]].into_iter().flat_map(|secrets| {
        ["{ mode: off }", "{ mode: required, ca: client-ca.pem }"].map(|policy| (secrets, policy))
    });
    at_once(cases, |(secrets, policy)| {
        let proxy = instance(&origin, &identity, secrets, policy)
            .on_tls("resumption: { max_age: 2s }")
            .start();
        let alice = pki().client("alice");
        let begun = KINDS.map(|(kind, is_tls13)| {
            let client = client_of_kind(&proxy, is_tls13).certificate(&alice);
            let config = renewing(&client, kind);
            let stream = client.connect_with(&config, "a.test").unwrap();
            assert!(!exchange(&stream));
            (config, client, Instant::now())
        });
        for (config, client, begun) in begun {
            let mut times = 0;
            eventually("the session ends", || {
                let now = begun.elapsed();
                let resumed = exchange(&client.connect_with(&config, "a.test").unwrap());
                assert!(!resumed || now <= age, "resumed after {now:?}");
                times += usize::from(resumed);
                !resumed
            });
            assert!(
                times > 0 || begun.elapsed() > age / 2,
                "it was never resumed"
            );
        }
    });
}

#[test]
fn a_session_ends_with_the_certificate_that_it_was_made_with() {
    let origin = Origin::echo();
    at_once(KINDS, |(kind, is_tls13)| {
        let proxy = Proxy::builder()
            .terminate("a.test", &origin)
            .on_tls("client_auth: { mode: required, ca: client-ca.pem }")
            .start();
        let brief = pki().clients.issue(&Leaf::client("brief").for_seconds(2));
        let client = client_of_kind(&proxy, is_tls13).certificate(&brief);
        let config = renewing(&client, kind);
        let mut times = 0;
        // A session resumed while the certificate is valid is refused in full once it has expired.
        eventually("the certificate expires", || {
            let end = match client.connect_with(&config, "a.test") {
                Ok(stream) => {
                    times += usize::from(stream.is_resumed());
                    let _ = stream.try_send(b"x");
                    stream.end();
                    stream.receive_to_end().1
                }
                Err(end) => end,
            };
            let record = proxy.outcome();
            match end {
                End::Clean => record.must_be("ok"),
                end => {
                    assert_eq!(end, End::Alert(CERTIFICATE_EXPIRED));
                    record.must_be("client_cert_expired")
                }
            };
            record.reason() != "ok"
        });
        assert!(times > 0, "it was never resumed");
    });
}
