//! Key usage and extended key usage of a certificate (RFC 5280, sections 4.2.1.3 and 4.2.1.12).

use x509_parser::extensions::ExtendedKeyUsage;
use x509_parser::prelude::X509Certificate;

/// To whom a certificate is presented.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presented {
    /// To clients, by an endpoint.
    ToClients,
    /// To origins, as a client certificate.
    ToOrigins,
}

/// The uses that a certificate's extensions allow, as far as TLS checks them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Usage {
    /// The purposes, if the certificate has an extended key usage.
    purposes: Option<Purposes>,
    /// Whether its key may sign a handshake.
    signs: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Purposes {
    server: bool,
    client: bool,
    words: String,
}

impl Usage {
    pub(super) fn of(certificate: &X509Certificate<'_>) -> Self {
        let purposes = certificate.extended_key_usage().ok().flatten();
        let key_usage = certificate.key_usage().ok().flatten();
        Self {
            purposes: purposes.map(|extension| Purposes {
                server: extension.value.any || extension.value.server_auth,
                client: extension.value.any || extension.value.client_auth,
                words: words(extension.value),
            }),
            signs: key_usage.is_none_or(|extension| extension.value.digital_signature()),
        }
    }

    /// Why peers refuse a certificate that is presented this way: each reason with its remedy.
    pub fn faults(&self, presented: Presented) -> Vec<(String, &'static str)> {
        let mut faults = Vec::new();
        let (wanted, peers, help) = match presented {
            Presented::ToClients => (
                "serverAuth",
                "clients",
                "have it issued for servers: extendedKeyUsage = serverAuth",
            ),
            Presented::ToOrigins => (
                "clientAuth",
                "origins",
                "have it issued for clients: extendedKeyUsage = clientAuth",
            ),
        };
        let lacks = |purposes: &&Purposes| match presented {
            Presented::ToClients => !purposes.server,
            Presented::ToOrigins => !purposes.client,
        };
        if let Some(purposes) = self.purposes.as_ref().filter(lacks) {
            let has = &purposes.words;
            let what = format!(
                "the certificate's extended key usage is {has}, and not {wanted}: {peers} will refuse it"
            );
            faults.push((what, help));
        }
        if !self.signs {
            let what = format!(
                "the certificate's key usage lacks digitalSignature, and its key signs every handshake: \
                 {peers} may refuse it"
            );
            faults.push((what, "have it issued with keyUsage = digitalSignature"));
        }
        faults
    }
}

/// The purposes by their names in RFC 5280; others by their numbers.
fn words(usage: &ExtendedKeyUsage<'_>) -> String {
    let named = [
        (usage.server_auth, "serverAuth"),
        (usage.client_auth, "clientAuth"),
        (usage.code_signing, "codeSigning"),
        (usage.email_protection, "emailProtection"),
        (usage.time_stamping, "timeStamping"),
        (usage.ocsp_signing, "OCSPSigning"),
    ];
    let named = named
        .into_iter()
        .filter(|(is_set, _)| *is_set)
        .map(|(_, name)| name.to_owned());
    let others = usage.other.iter().map(ToString::to_string);
    let all: Vec<_> = named.chain(others).take(8).collect();
    if all.is_empty() {
        return "empty".to_owned();
    }
    all.join(", ")
}
