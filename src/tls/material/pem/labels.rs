//! The meaning of block labels, and which blocks a file may hold.

/// The content of a block according to its label.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Certificate,
    /// A certificate to which OpenSSL may have appended trust settings.
    TrustedCertificate,
    List,
    /// A private key: PKCS#8, PKCS#1, SEC1, encrypted PKCS#8.
    Pkcs8,
    Pkcs1,
    Sec1,
    EncryptedKey,
    /// Parameters of a curve, which the key names itself, or of DH, which no supported suite uses.
    Parameters,
    Other,
}

impl Role {
    pub(super) fn of(label: &str) -> Self {
        match label {
            "CERTIFICATE" | "X509 CERTIFICATE" => Self::Certificate,
            "TRUSTED CERTIFICATE" => Self::TrustedCertificate,
            "X509 CRL" | "CRL" => Self::List,
            "PRIVATE KEY" => Self::Pkcs8,
            "RSA PRIVATE KEY" => Self::Pkcs1,
            "EC PRIVATE KEY" => Self::Sec1,
            "ENCRYPTED PRIVATE KEY" => Self::EncryptedKey,
            "EC PARAMETERS" | "DH PARAMETERS" | "X9.42 DH PARAMETERS" => Self::Parameters,
            _ => Self::Other,
        }
    }

    pub(super) const fn is_certificate(self) -> bool {
        matches!(self, Self::Certificate | Self::TrustedCertificate)
    }

    pub(super) const fn is_key(self) -> bool {
        matches!(
            self,
            Self::Pkcs8 | Self::Pkcs1 | Self::Sec1 | Self::EncryptedKey
        )
    }
}

/// The purpose for which a file is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Use {
    /// A certificate and its issuers; their private key may be in the same file.
    Chain,
    /// CAs that are trusted.
    Authorities,
    /// Revocation lists.
    Lists,
    /// One private key; its chain may be in the same file.
    Key,
}

impl Use {
    /// What such a file must hold.
    pub(super) const fn wanted(self) -> &'static str {
        match self {
            Self::Chain | Self::Authorities => "certificate",
            Self::Lists => "revocation list",
            Self::Key => "private key",
        }
    }

    /// The help that names the blocks such a file must hold.
    pub(super) const fn must_hold(self) -> &'static str {
        match self {
            Self::Chain | Self::Authorities => "it must hold at least one BEGIN CERTIFICATE block",
            Self::Lists => "it must hold at least one BEGIN X509 CRL block, or one list in DER",
            Self::Key => {
                "it must hold one BEGIN PRIVATE KEY block (PKCS#8, PKCS#1 or SEC1); \
                 one in another file is named by `key: FILE`"
            }
        }
    }
}

/// The reason and the remedy for an encrypted key.
pub const ENCRYPTED: (&str, &str) = (
    "the private key is encrypted",
    "name the file that holds its password: password_file: FILE; or decrypt it: \
     openssl pkey -in FILE -out FILE.plain, and protect the file by its permissions",
);

/// The same for the traditional form, whose derivation is one round of MD5.
pub(super) const TRADITIONAL: (&str, &str) = (
    "the private key is encrypted in the traditional form of OpenSSL, which is not supported",
    "encrypt it anew: openssl pkcs8 -topk8 -v2 aes-256-cbc -in FILE -out FILE.new; or decrypt it: \
     openssl pkey -in FILE -out FILE.plain, and protect the file by its permissions",
);

/// Checks that a file of this use may hold a block with this label; the error is reason and remedy.
pub(super) fn accept(of: Use, label: &str) -> Result<(), (String, &'static str)> {
    let role = Role::of(label);
    let is_accepted = match of {
        Use::Chain => !matches!(role, Role::List | Role::Other),
        Use::Authorities => role.is_certificate(),
        Use::Lists => role == Role::List,
        Use::Key => !matches!(role, Role::List | Role::Other),
    };
    if is_accepted {
        return Ok(());
    }
    let reason = format!("`{label}` is no {}", of.wanted());
    Err((reason, remedy(of, label, role)))
}

/// The remedy for a block that the file must not hold.
fn remedy(of: Use, label: &str, role: Role) -> &'static str {
    match (role, label) {
        (Role::List, _) => {
            "name the file of the list by `crl: FILE`, and take the list out of here"
        }
        (_, "PKCS7" | "CMS" | "PKCS #7 SIGNED DATA") => {
            "take the certificates out of it: openssl pkcs7 -print_certs -in FILE -out FILE.pem"
        }
        (_, "CERTIFICATE REQUEST" | "NEW CERTIFICATE REQUEST") => {
            "a request is sent to a CA, which answers with the certificate"
        }
        (_, "OPENSSH PRIVATE KEY") if of == Use::Key => OPENSSH,
        (_, "DSA PRIVATE KEY") if of == Use::Key => {
            "DSA keys are of no use in TLS today; make one on P-256: \
             openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out FILE"
        }
        (_, "PUBLIC KEY" | "RSA PUBLIC KEY") if of == Use::Key => {
            "give the private key that it was made from"
        }
        (Role::Pkcs8 | Role::Pkcs1 | Role::Sec1 | Role::EncryptedKey, _) => {
            "take the private key out of this file: who verifies needs none"
        }
        (Role::Certificate | Role::TrustedCertificate, _) => {
            "take the certificate out of this file; a CA is named by `ca: FILE`"
        }
        _ => "take the block out of this file",
    }
}

/// The remedy for a key in OpenSSH's format.
const OPENSSH: &str = "it is in OpenSSH's own format; convert a copy of it in its place: \
    ssh-keygen -p -m PEM -f COPY";
