//! What the labels of blocks mean, and where which of them may be.

/// What a block holds, as its label says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Certificate,
    /// A certificate that OpenSSL may have put trust settings behind.
    TrustedCertificate,
    List,
    /// A private key: PKCS#8, PKCS#1, SEC1.
    Pkcs8,
    Pkcs1,
    Sec1,
    EncryptedKey,
    /// Of a curve, which a key names itself, or of a key exchange that no suite here uses.
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
        matches!(self, Self::Pkcs8 | Self::Pkcs1 | Self::Sec1)
    }
}

/// What a file is read for.
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
    /// What such a file is to hold.
    pub(super) const fn wanted(self) -> &'static str {
        match self {
            Self::Chain | Self::Authorities => "certificate",
            Self::Lists => "revocation list",
            Self::Key => "private key",
        }
    }

    /// How the blocks begin that such a file is to hold.
    pub(super) const fn must_hold(self) -> &'static str {
        match self {
            Self::Chain | Self::Authorities => "it must hold at least one BEGIN CERTIFICATE block",
            Self::Lists => "it must hold at least one BEGIN X509 CRL block, or one list in DER",
            Self::Key => {
                "it must hold one BEGIN PRIVATE KEY block (PKCS#8, PKCS#1 or SEC1); one in another file is named by `key: FILE`"
            }
        }
    }
}

/// What is said of an encrypted key, and the way out.
pub(super) const ENCRYPTED: (&str, &str) = (
    "the private key is encrypted",
    "decrypt it: openssl pkey -in FILE -out FILE.plain, and protect the file by its permissions",
);

/// Whether a block of this label may be in a file of this use; if not, why, and the way out.
pub(super) fn accept(of: Use, label: &str) -> Result<(), (String, &'static str)> {
    let role = Role::of(label);
    let is_accepted = match of {
        Use::Chain => !matches!(role, Role::List | Role::Other),
        Use::Authorities => role.is_certificate(),
        Use::Lists => role == Role::List,
        Use::Key => role.is_certificate() || role.is_key() || role == Role::Parameters,
    };
    if is_accepted {
        return Ok(());
    }
    if of == Use::Key && role == Role::EncryptedKey {
        return Err((ENCRYPTED.0.to_owned(), ENCRYPTED.1));
    }
    let reason = format!("`{label}` is no {}", of.wanted());
    Err((reason, way_out(of, label, role)))
}

/// What to do with a block that does not belong where it is.
fn way_out(of: Use, label: &str, role: Role) -> &'static str {
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
            "DSA keys are of no use in TLS today; make one on P-256: openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out FILE"
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

/// How a key of OpenSSH becomes one that is read here.
const OPENSSH: &str = "it is in OpenSSH's own format; convert a copy of it in its place: ssh-keygen -p -m PEM -f COPY";
