//! Client chains that are expensive to verify: each is rejected at bounded cost.

use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    PKCS_RSA_SHA256, PublicKeyData, SanType, SignatureAlgorithm, SigningKey,
};

use rustls::version;

use crate::harness::{
    Authority, End, Fragmentation, Identity, Leaf, Origin, Proxy, WireClient, WireName, pki,
};

/// How often each chain is sent.
const TIMES: u32 = 20;

/// The longest CPU time of one rejected handshake, in a build without optimisation.
const COST_MAX: Duration = Duration::from_millis(100);

/// The most memory that may remain in use after all of them.
const MEMORY_SLACK: usize = 16 << 20;

/// An RSA key of any size, without a private key. Its signatures are noise.
struct Pretended {
    public: Vec<u8>,
    bits: usize,
}

impl Pretended {
    fn new(bits: usize) -> Self {
        let mut modulus = crate::harness::noise(bits / 8, 3);
        modulus[0] |= 0x80;
        *modulus.last_mut().unwrap() |= 1;
        let integer = |bytes: &[u8]| der(0x02, bytes);
        let content = [integer(&[&[0][..], &modulus].concat()), integer(&[1, 0, 1])].concat();
        Self {
            public: der(0x30, &content),
            bits,
        }
    }
}

fn der(tag: u8, content: &[u8]) -> Vec<u8> {
    let mut out = vec![tag];
    match u16::try_from(content.len()).unwrap() {
        len @ ..0x80 => out.push(len as u8),
        len => {
            out.push(0x82);
            out.extend(len.to_be_bytes());
        }
    }
    out.extend(content);
    out
}

impl PublicKeyData for Pretended {
    fn der_bytes(&self) -> &[u8] {
        &self.public
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &PKCS_RSA_SHA256
    }
}

impl SigningKey for Pretended {
    fn sign(&self, _: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        Ok(crate::harness::noise(self.bits / 8, 5))
    }
}

fn authority(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    params
}

/// A leaf below this many CAs with huge keys; our own CA has signed the first.
fn huge_keys(bits: usize) -> Identity {
    let pretended = Pretended::new(bits);
    let params = authority("Huge");
    let top = params
        .signed_by(&pretended, pki().clients.issuer())
        .unwrap();
    let issuer = Issuer::new(params, pretended);
    let key = KeyPair::generate().unwrap();
    let mut leaf = CertificateParams::new(vec!["mallory.test".to_owned()]).unwrap();
    leaf.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth];
    let leaf = leaf.signed_by(&key, &issuer).unwrap();
    Identity {
        cert: leaf.pem() + &top.pem(),
        key: key.serialize_pem(),
    }
}

/// A leaf below a chain of this many CAs.
fn deep(len: u64) -> Identity {
    let mut chain = vec![pki().clients.subordinate("Level 0", 1)];
    for level in 1..len {
        let above = chain.last().unwrap();
        chain.push(above.subordinate(&format!("Level {level}"), level));
    }
    chain.reverse();
    let leaf = chain[0].issue(&Leaf::client("mallory"));
    leaf.below(&chain.iter().collect::<Vec<_>>())
}

/// A leaf among CAs that share one name, sign each other, and all have different keys.
fn crossed(len: u64) -> Identity {
    let maze: Vec<_> = (0..len).map(|_| Authority::new("Maze")).collect();
    let last = Authority::new("Maze");
    let crossed: Vec<_> = maze.iter().map(|one| one.subordinate("Maze", 7)).collect();
    last.issue(&Leaf::client("mallory"))
        .below(&crossed.iter().collect::<Vec<_>>())
}

/// The same, with some that name a trusted CA as their issuer, so that signatures are verified.
fn claiming() -> Identity {
    let namesake = Authority::new("Client CA");
    let maze = Authority::new("Maze");
    let mut chain: Vec<_> = (0..3).map(|_| namesake.subordinate("Maze", 7)).collect();
    chain.extend((0..3).map(|_| maze.subordinate("Maze", 8)));
    maze.issue(&Leaf::client("mallory"))
        .below(&chain.iter().collect::<Vec<_>>())
}

/// A leaf in the name of our CA, with a certificate by which our CA would have been renewed.
fn renewed() -> Identity {
    let namesake = Authority::new("Client CA");
    let renewed = pki().clients.subordinate("Client CA", 9);
    namesake
        .issue(&Leaf::client("mallory"))
        .below(&[&renewed, &namesake])
}

/// A leaf with this many names.
fn many_names(count: usize) -> Identity {
    let leaf = Leaf::client("mallory").shaped(|params| {
        params.subject_alt_names = (0..count)
            .map(|n| SanType::DnsName(format!("{n:x}.t").try_into().unwrap()))
            .collect();
    });
    pki().clients.issue(&leaf)
}

fn long() -> Identity {
    let mut identity = many_names(5000);
    let once = identity.cert.clone();
    for _ in 0..4 {
        identity.cert += &once;
    }
    identity
}

#[test]
fn an_expensive_chain_is_rejected_at_bounded_cost() {
    let origin = Origin::echo();
    let proxy = Proxy::builder()
        .endpoint("edge", "tls")
        .identity(&pki().edge(&["a.test", "any.test"]))
        .route("terminate", "a.test", &origin)
        .on_tls("client_auth: { mode: required, ca: client-ca.pem, allow: { dns: alice.clients.test } }")
        .start();
    for (what, identity, reasons) in [
        ("30 intermediates", deep(30), &["client_cert_invalid"][..]),
        ("7 intermediates", deep(7), &["client_cert_invalid"]),
        ("14 of one name", crossed(14), &["client_cert_unknown_ca"]),
        ("6 of one name", crossed(6), &["client_cert_unknown_ca"]),
        (
            "6 that claim to be ours",
            claiming(),
            &["client_cert_invalid"],
        ),
        (
            "in the name of a renewed CA",
            renewed(),
            &["client_cert_invalid"],
        ),
        (
            "RSA of 16384 bits",
            huge_keys(16_384),
            &["client_cert_invalid"],
        ),
        (
            "RSA of 8192 bits",
            huge_keys(8192),
            &["client_cert_invalid"],
        ),
        ("5000 names", many_names(5000), &["client_cert_not_allowed"]),
        ("10 000 names", many_names(10_000), &["client_tls_error"]),
        ("200 KB", long(), &["client_tls_error"]),
    ] {
        let clients =
            [&version::TLS12, &version::TLS13].map(|v| WireClient::new(v, Some(&identity)));
        let throw = || {
            for client in &clients {
                let name = WireName(Some("a.test"));
                let end = match client
                    .connect(proxy.listen_addr("edge"), name, Fragmentation::Whole)
                    .1
                {
                    Ok(stream) => stream.receive_to_end().1,
                    Err(end) => end,
                };
                // rustls has no alert for a message that is too large.
                assert_ne!(end, End::Clean, "{what}");
                let record = proxy.outcome();
                assert!(reasons.contains(&record.reason()), "{what}: {record:?}");
                assert!(record.text("detail").len() <= 512, "{what}: {record:?}");
            }
        };
        throw();
        let before = proxy.usage_at_rest();
        for _ in 0..TIMES {
            throw();
        }
        let after = proxy.usage_at_rest();
        let cost = (after.cpu - before.cpu) / (2 * TIMES);
        println!("{what}: {cost:?} each");
        assert!(cost <= COST_MAX, "{what} costs {cost:?}");
        assert_eq!(after.descriptors, before.descriptors, "{what}");
        let grown = after.memory.saturating_sub(before.memory);
        assert!(grown <= MEMORY_SLACK, "{what} leaves {grown} bytes");
    }
    assert_eq!(origin.accepts(), 0);
}
