//! The flags about clients and about origins.

use std::path::PathBuf;

/// Who may connect to a tls:// listener, and what it presents.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Clients of a tls:// listener")]
pub(super) struct ClientArgs {
    /// Certificate of the listener
    #[arg(long, value_name = "FILE")]
    pub(super) cert: Option<PathBuf>,
    /// Key of the certificate [default: in the same file]
    #[arg(long, value_name = "FILE", requires = "cert")]
    pub(super) key: Option<PathBuf>,
    /// File with the password of the key, or of a certificate in PKCS#12, which holds its key
    #[arg(long, value_name = "FILE", requires = "cert")]
    pub(super) password_file: Option<PathBuf>,
    /// CA of client certificates, which are then required [default: clients need no certificate]
    #[arg(long, value_name = "FILE")]
    pub(super) client_ca: Option<PathBuf>,
    /// Revocation lists of that CA; repeatable
    #[arg(long, value_name = "FILE")]
    pub(super) crl: Vec<PathBuf>,
    /// Admit clients with this DNS name; repeatable, and one of all --allow flags is enough [default: all
    /// that the CA has signed]
    #[arg(long, value_name = "NAME")]
    pub(super) allow_dns: Vec<String>,
    /// Admit clients with this URI, such as a SPIFFE ID; * is one segment of its path
    #[arg(long, value_name = "URI")]
    pub(super) allow_uri: Vec<String>,
    /// Admit clients with this common name
    #[arg(long, value_name = "NAME")]
    pub(super) allow_cn: Vec<String>,
    /// Admit clients with this organizational unit
    #[arg(long, value_name = "NAME")]
    pub(super) allow_ou: Vec<String>,
    /// Admit clients with this SHA-256 of their public key
    #[arg(long, value_name = "SHA256")]
    pub(super) allow_spki: Vec<String>,
}

/// Which origins are believed, what they are shown, and which one is taken.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Origins")]
pub(super) struct OriginArgs {
    /// CA of tls:// origins: a file, system or webpki [default: webpki, the public CAs]
    #[arg(long, value_name = "FILE")]
    pub(super) ca: Option<PathBuf>,
    /// Name that a tls:// origin's certificate must have [default: its host]
    #[arg(long, value_name = "NAME")]
    pub(super) server_name: Option<String>,
    /// Certificate that a tls:// origin is shown if it asks for one
    #[arg(long, value_name = "FILE")]
    pub(super) client_cert: Option<PathBuf>,
    /// Key of that certificate [default: in the same file]
    #[arg(long, value_name = "FILE", requires = "client_cert")]
    pub(super) client_key: Option<PathBuf>,
    /// File with the password of that key, or of PKCS#12
    #[arg(long, value_name = "FILE", requires = "client_cert")]
    pub(super) client_password_file: Option<PathBuf>,
    /// Revocation lists of the CA of tls:// origins; repeatable
    #[arg(long, value_name = "FILE")]
    pub(super) verify_crl: Vec<PathBuf>,
    /// Demand this DNS name of tls:// origins, too; repeatable, and one of all --verify flags is enough
    #[arg(long, value_name = "NAME")]
    pub(super) verify_dns: Vec<String>,
    /// Demand this URI, such as a SPIFFE ID
    #[arg(long, value_name = "URI")]
    pub(super) verify_uri: Vec<String>,
    /// Demand this common name
    #[arg(long, value_name = "NAME")]
    pub(super) verify_cn: Vec<String>,
    /// Demand this organizational unit
    #[arg(long, value_name = "NAME")]
    pub(super) verify_ou: Vec<String>,
    /// Demand this SHA-256 of the public key
    #[arg(long, value_name = "SHA256")]
    pub(super) verify_spki: Vec<String>,
    /// PROXY header to send first, before TLS: v1 or v2 [without a value: v2]
    #[arg(
        long,
        value_name = "VERSION",
        num_args = 0..=1,
        default_missing_value = "v2",
        require_equals = true
    )]
    pub(super) proxy_protocol: Option<String>,
    /// Which of several origins gets a connection: round_robin, least_connections, first … [default:
    /// round_robin]
    #[arg(long, value_name = "HOW")]
    pub(super) balance: Option<String>,
    /// Health check of origins: tcp, tls, an HTTP path such as /health, or a preset such as smtp
    #[arg(long, value_name = "CHECK")]
    pub(super) check: Option<String>,
}

/// Rules on certificates by the keys of `allow`.
pub(super) type Rules<'a> = [(&'static str, &'a [String]); 5];

impl ClientArgs {
    pub(super) fn rules(&self) -> Rules<'_> {
        [
            ("dns", &self.allow_dns),
            ("uri", &self.allow_uri),
            ("common_name", &self.allow_cn),
            ("organizational_unit", &self.allow_ou),
            ("spki_sha256", &self.allow_spki),
        ]
    }
}

impl OriginArgs {
    pub(super) fn rules(&self) -> Rules<'_> {
        [
            ("dns", &self.verify_dns),
            ("uri", &self.verify_uri),
            ("common_name", &self.verify_cn),
            ("organizational_unit", &self.verify_ou),
            ("spki_sha256", &self.verify_spki),
        ]
    }
}
