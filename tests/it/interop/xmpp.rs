//! Prosody, whose TLS begins inside XMPP, in every mode.

use std::process::Command;

use super::negotiate::{edge, s_client, sealed, with_tls};
use super::services::with_certificate;
use crate::harness::{Directory, Proxy, Service, at_once, command_as, give_to};

/// Prosody with the domain `localhost`. It lets clients in without TLS: behind `terminate` they have had it.
fn prosody(directory: &Directory) -> Service {
    let data = directory.join("prosody");
    std::fs::create_dir(&data).unwrap();
    for name in ["origin.pem", "origin.key"] {
        std::fs::copy(directory.join(name), data.join(name)).unwrap();
    }
    give_to("prosody", &data);
    let data = data.display();
    Service::start(|port| {
        let config = format!(
            "daemonize = false\nlog = {{ info = \"*console\" }}\npidfile = \"{data}/pid\"\n\
             data_path = \"{data}\"\nplugin_paths = {{}}\ninterfaces = {{ \"127.0.0.1\" }}\n\
             c2s_ports = {{ {port} }}\ns2s_ports = {{}}\nc2s_require_encryption = false\n\
             allow_unencrypted_plain_auth = true\n\
             modules_enabled = {{ \"saslauth\", \"tls\" }}\nmodules_disabled = {{ \"s2s\" }}\n\
             ssl = {{ certificate = \"{data}/origin.pem\", key = \"{data}/origin.key\" }}\n\
             VirtualHost \"localhost\"\n"
        );
        let config = directory.write_with_mode("prosody.cfg.lua", config, 0o644);
        let mut prosody: Command = command_as("prosody", "prosody");
        prosody.arg("--config").arg(config);
        prosody
    })
}

#[test]
fn clients_of_xmpp_reach_prosody_in_every_mode() {
    const STREAM: &str = "<?xml version='1.0'?><stream:stream to='localhost' version='1.0' \
        xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'></stream:stream>";
    let directory = with_certificate();
    let origin = prosody(&directory);
    let plain = Proxy::builder()
        .originate(&origin)
        .origin_tls(&sealed("xmpp"))
        .start();
    let client = plain.dial("originate");
    client.send(STREAM);
    let answer = String::from_utf8(client.receive_to_end().0).unwrap();
    assert!(answer.contains("<mechanism>PLAIN</mechanism>"), "{answer}");
    // It has TLS already.
    assert!(!answer.contains("starttls"), "{answer}");
    let terminate = edge("xmpp").terminate("localhost", &origin).start();
    let proxies = [("terminate", terminate)].into_iter();
    at_once(proxies.chain(with_tls("xmpp", &origin)), |(mode, proxy)| {
        for version in ["-tls1_2", "-tls1_3"] {
            let starttls = ["xmpp", "-xmpphost", "localhost"];
            let finished = s_client(&proxy, &directory, &starttls, version, STREAM);
            // Prosody's own stream, which offers a login.
            for part in ["<mechanism>PLAIN</mechanism>", "from='localhost'"] {
                assert!(
                    finished.stdout.contains(part),
                    "{mode}: {}",
                    finished.text()
                );
            }
            assert!(
                !finished.stdout.contains("<required/>"),
                "{mode}: {}",
                finished.text()
            );
            proxy
                .outcome()
                .must_have("sni", "localhost")
                .must_have("stage", "relay");
        }
    });
}
