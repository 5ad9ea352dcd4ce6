//! What the options of a service mean together.

use super::lines::Section;
use super::service::Service;
use super::through;
use super::tls::Version;
use crate::cli::document::LOGIN;

/// Finds what the options of a service mean together, and what has no counterpart then.
pub(super) fn judge(service: &mut Service, section: &Section) {
    let header = section.header.clone();
    let block = |service: &mut Service, why: &str| match &header {
        Some(header) => service.block(header, why),
        None => service.is_blocked = true,
    };
    if service.is_blocked {
        return;
    }
    judge_through(service);
    if service.connect.is_empty() {
        block(service, "it has no `connect`: there is no origin");
    }
    if service.accept.is_none() && (service.is_client || service.slave_of.is_none()) {
        block(service, "it has no `accept`: there is nothing to listen on");
    }
    if service.trust.is_verified && service.trust.ca.is_none() {
        block(
            service,
            "certificates are verified, and no CAfile names their CA",
        );
    }
    if service.is_client {
        judge_client(service);
    } else {
        if service.cert.is_none() {
            block(service, "it has no `cert`: a server needs a certificate");
        }
        judge_server(service);
    }
}

fn judge_server(service: &mut Service) {
    let has_names = service.trust.rules().is_some();
    if service.trust.is_required && !service.trust.is_verified {
        service.block_options(
            &["requirecert"],
            "a certificate that nobody verifies proves nothing: `client_auth` needs a `ca`",
        );
    }
    if has_names && !service.trust.is_verified {
        service.block_options(
            &["checkhost", "checkip", "checkemail"],
            "names are compared where the certificate is verified: verifyChain = yes",
        );
    }
    if !service.trust.is_verified {
        let why = "it has no effect: clients need no certificate without verifyChain";
        service.leave_out_options(&["cafile", "crlfile"], why);
    }
    if service.slave_of.is_some() {
        let why = "the listener is that of the service before the colon of `sni`";
        service.leave_out_options(&["accept"], why);
    }
    if service.client_sni.is_some() {
        service.leave_out_options(&["sni"], "a server sends no server name");
    }
}

fn judge_client(service: &mut Service) {
    let trust = &service.trust;
    let names: Vec<_> = trust.hosts.iter().chain(&trust.addresses).collect();
    let is_unix = service
        .connect
        .iter()
        .any(|origin| origin.starts_with("unix:"));
    let sent = service
        .client_sni
        .as_deref()
        .filter(|name| !name.is_empty());
    if names.len() > 1 || !trust.emails.is_empty() {
        let why = "one name or address is verified, `server_name`; `allow` has rules on others";
        service.block_options(&["checkhost", "checkip", "checkemail"], why);
    } else if let (Some(name), Some(sent)) = (names.first(), sent)
        && !name.eq_ignore_ascii_case(sent)
    {
        let why = "the name that is sent is the one that is verified: `server_name`";
        service.block_options(&["sni", "checkhost", "checkip"], why);
    } else if is_unix && names.is_empty() && sent.is_none() {
        let why = "the name to verify is not known: checkHost, or `server_name`";
        service.block_options(&["connect"], why);
    }
    if service
        .tls
        .newest
        .is_some_and(|newest| newest < Version::V13)
    {
        let why = "TLS 1.3 is always offered to origins";
        service.leave_out_options(&["sslversionmax", "sslversion", "options"], why);
    }
    if !service.tls.suites.is_empty() {
        let why = "all supported suites are offered to origins";
        service.leave_out_options(&["ciphers", "ciphersuites"], why);
    }
    if service.slave_of.is_some() {
        service.block_options(&["sni"], "a client has no listener of another service");
    }
}

/// Makes the host behind the proxy the origin, as which stunnel has the proxy.
fn judge_through(service: &mut Service) {
    let asked = &service.through;
    if !asked.is_asked {
        return service.leave_out_options(&through::OPTIONS, "it goes with `protocol`");
    }
    if !service.is_client {
        let why = "an HTTP proxy is asked on the way to an origin: client = yes";
        return service.block_options(&["protocol"], why);
    }
    if !matches!(asked.authentication.as_deref(), None | Some("basic")) {
        let why = "an HTTP proxy is shown the content of a file: NTLM, which answers it, is not supported";
        return service.block_options(&["protocolauthentication"], why);
    }
    let Some(target) = asked.target.clone() else {
        let why = "protocolHost names the origin: HOST:PORT, with the port as a number";
        return service.block_options(&["protocol"], why);
    };
    let proxy = match &*service.connect {
        [proxy] => proxy.replacen("localhost:", "127.0.0.1:", 1).parse().ok(),
        _ => None,
    };
    if proxy.is_none() {
        let why = "there is one HTTP proxy, as IP:PORT: its name would not be looked up";
        return service.block_options(&["connect"], why);
    }
    service.connect = vec![target];
    service.through.proxy = proxy;
    service.leave_out_options(&["protocolusername", "protocolpassword"], LOGIN);
}
