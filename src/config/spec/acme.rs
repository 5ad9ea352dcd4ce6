//! The keys of CAs that issue certificates by ACME, and of the certificates that they keep.

use super::acme_leaves::{Contact, DnsServer, HttpListen, HttpsUrl, Profile};
use super::trust::Trust;
use crate::acme::{Identifier, KeyKind, TsigAlgorithm};
use crate::config::reader::fields::spec;
use crate::config::reader::generic::{AutoOr, OneOrMany};
use crate::config::reader::values::{Name, Path, Text, Timeout};
use crate::config::reader::words::keyword;
use crate::hostname::HostName;

spec! {
    /// A CA that issues certificates by ACME (RFC 8555), and how it is asked.
    pub struct Issuer {
        /// The URL of the CA's directory.
        required directory: HttpsUrl,
        /// Where the CA may write to, such as `mailto:ops@example.com`.
        default contact: OneOrMany<Contact> = "[]"
            because "CAs issue without one, and many have stopped writing",
        /// The CAs that may sign the certificate of the directory's server: files in PEM, `webpki` (the
        /// public CAs that are built in), or `system` (the system's store).
        default ca: Trust = "webpki"
            because "it verifies public CAs, and fails for private ones until they are named",
        /// The account with the CA to which the ACME account is bound, where the CA demands one (RFC 8555,
        /// section 7.3.4).
        optional eab: ExternalAccount,
        /// The profile of certificates that is asked for, one of those that the CA's directory lists; `none`
        /// leaves it to the CA.
        default profile: Profile = "none"
            because "profiles are named by each CA as it likes, and many have none",
        /// The kind of key that certificates get, from their next renewal on.
        default key: KeyKind = "p256"
            because "it signs fastest, and every client verifies it",
        /// How control of a name is shown to the CA.
        default challenge: Challenge = "tls-alpn-01"
            because "the endpoint answers it on the port that it has anyway",
        /// Where validations by `http-01` are answered, such as `*:80`.
        optional http: HttpListen,
        /// The name server that takes the records of validations by `dns-01`.
        optional dns: DnsUpdates,
        /// The directory for the account's key and the certificates with their keys, readable for Reseal's
        /// user alone. It is made if it is missing.
        required state: Path,
        /// When a certificate is renewed: `auto`, or so long before it ends.
        default renew: AutoOr<Timeout> = "auto"
            because "the CA knows best (RFC 9773); where it does not say, a third of the life is left for retries",
        example "{ directory: URL, state: DIRECTORY }";
        instead
            "url" | "server" | "ca_server" | "caserver" | "directory_url" | "acme_ca" | "uri" => "directory",
            "email" | "contacts" | "mail" => "contact",
            "storage" | "storage_path" | "state_path" | "path" | "dir" | "acme_json" => "state",
            "ca_certificates" | "acme_ca_root" | "ca_file" | "cacert" | "root_ca" => "ca",
            "external_account" | "external_account_key" | "external_account_binding" => "eab",
            "keytype" | "key_type" | "keys" | "curves" | "bits" => "key",
            "challenges" | "challenge_type" => "challenge",
            "tlschallenge" | "tls_challenge" => "`challenge: tls-alpn-01` is the default",
            "http_challenge" | "httpchallenge" => "`challenge: http-01`, with `http: ADDRESS`",
            "dns_challenge" | "dnschallenge" => "`challenge: dns-01`, with `dns: { … }`",
            "renew_before" | "renewal_window_ratio" | "renewal" => "renew",
            "accept_terms_of_service" | "agree_tos" =>
                "naming a CA here accepts its terms of service: leave it out";
    }
}

spec! {
    /// An account with a CA outside of ACME.
    pub struct ExternalAccount {
        /// The identifier of the key, as the CA gave it.
        required key_id: Text,
        /// The file that holds the key in base64url, as the CA gave it.
        required key_file: Path,
        example "{ key_id: ID, key_file: FILE }";
        instead
            "kid" | "id" => "key_id",
            "hmac" | "hmac_key" | "hmacencoded" | "mac_key" | "key" => "`key_file` is a file that holds the key";
    }
}

spec! {
    /// A name server that takes dynamic updates (RFC 2136).
    pub struct DnsUpdates {
        /// The address of the zone's primary server, with a port if it is not 53.
        required server: DnsServer,
        /// The zone, in which `_acme-challenge` below each name is.
        required zone: HostName,
        /// The key that updates are signed with (TSIG, RFC 8945).
        required tsig: TsigKey,
        example "{ server: 10.0.0.53, zone: example.com, tsig: { name: NAME, key_file: FILE } }";
        instead
            "nameserver" | "ns" | "address" | "host" => "server",
            "key" | "tsig_key" => "tsig";
    }
}

spec! {
    /// A key that the name server knows.
    pub struct TsigKey {
        /// Its name there.
        required name: Text,
        /// How it signs.
        default algorithm: TsigAlgorithm = "hmac-sha256"
            because "it is what `tsig-keygen` makes, and every server knows it",
        /// The file that holds its secret in base64.
        required key_file: Path,
        example "{ name: NAME, key_file: FILE }";
        instead
            "secret" | "key" => "`key_file` is a file that holds the secret";
    }
}

keyword! {
    impl TsigAlgorithm("algorithm") {
        /// SHA-256.
        HmacSha256 = "hmac-sha256",
        /// SHA-384.
        HmacSha384 = "hmac-sha384",
        /// SHA-512.
        HmacSha512 = "hmac-sha512",
        instead
            "sha256" => "hmac-sha256",
            "sha384" => "hmac-sha384",
            "sha512" => "hmac-sha512",
            "hmac_md5" | "hmac_sha1" | "hmac_sha224" => "it is too weak: make a key for `hmac-sha256`";
    }
}

spec! {
    /// A certificate that is kept by an issuer of `acme`.
    pub struct AcmeCertificate {
        /// What `default_route` calls it. Absent: the first of its `names`.
        optional name: Name,
        /// In place of `cert`: the issuer of `acme` that keeps it.
        required acme: Name,
        /// The host names and IP addresses that the certificate is for.
        required names: OneOrMany<Identifier>,
    }
}

keyword! {
    /// How control of a name is shown to a CA.
    pub enum Challenge("challenge") {
        /// On the endpoint itself, to connections with the ALPN protocol `acme-tls/1` alone (RFC 8737). The
        /// CA connects to port 443.
        TlsAlpn01 = "tls-alpn-01",
        /// By HTTP, on the listener of `http`, which has no other answers (RFC 8555, section 8.3). The CA
        /// connects to port 80.
        Http01 = "http-01",
        /// By a record in DNS, which Reseal writes by a signed update to the server of `dns` (RFC 2136).
        /// For wildcards, and for machines that the CA cannot reach.
        Dns01 = "dns-01",
        instead
            "tls_alpn" | "tls" | "tlsalpn" | "alpn" | "tls_challenge" => "tls-alpn-01",
            "http_01" | "http" | "http01" => "http-01",
            "dns_01" | "dns" | "dns01" => "dns-01";
    }
}

keyword! {
    impl KeyKind("kind of key") {
        /// ECDSA on P-256.
        P256 = "p256",
        /// ECDSA on P-384.
        P384 = "p384",
        /// RSA of 2048 bits.
        Rsa2048 = "rsa2048",
        instead
            "ec256" | "ecdsa" | "ec" | "prime256v1" | "secp256r1" | "p_256" => "p256",
            "ec384" | "secp384r1" | "p_384" => "p384",
            "rsa" | "rsa_2048" | "2048" => "rsa2048",
            "rsa4096" | "rsa_4096" | "4096" => "`p256` is stronger than RSA of any usual size; `rsa2048` is for old clients",
            "ed25519" => "public CAs sign no Ed25519 keys: `p256`";
    }
}
