//! A chain and its private key, out of PEM or PKCS#12.

use std::sync::Arc;

use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::sign::{CertifiedKey, SigningKey};
use x509_parser::prelude::{FromDer, X509Certificate};
use zeroize::Zeroize;

use super::handshake_notes::RecordingKey;
use super::material::file::{Contents, MaterialError};
use super::material::password::Password;
use super::material::pem::Item;
use super::material::{self, certificates_in, pkcs12, refused};
use super::pair_files::PairContents;
use super::presented_chain::{self as chain, RSA_BITS_MIN};

/// Parses a chain and its key, and compares their public keys byte by byte. rustls' own check uses
/// webpki, which refuses certificates of version 1; peers accept those. Also returns warnings.
pub(super) fn certified_key(
    contents: &PairContents,
) -> Result<(CertifiedKey, Vec<String>), MaterialError> {
    let password = contents.password.as_ref().map(Password::of).transpose()?;
    let (cert, key_file) = (contents.chain(), &contents.key);
    if pkcs12::is_store(&cert.bytes) {
        return of_store(contents, password.as_ref());
    }
    let chain = certificates_in(cert)?;
    let leaf = chain.first().map(|der| der.as_ref()).unwrap_or_default();
    let (_, leaf) = X509Certificate::from_der(leaf)
        .map_err(|_| cert.error("broken certificate: it is no X.509 in DER"))?;
    let (item, was_encrypted) = material::private_key(key_file, password.as_ref())?;
    let key = signing_key(key_file, item, chain::rsa_bits(&leaf))?;
    let public = key.public_key();
    if public.is_none_or(|public| public.as_ref() != leaf.public_key().raw) {
        let other = key_file.path.display();
        return Err(cert
            .error(format_args!(
                "the certificate does not match the key in {other}"
            ))
            .help(
                "the first certificate of the file must be the one that the key belongs to, \
                its issuers after it",
            ));
    }
    let is_unused = password.is_some() && !was_encrypted;
    let unused = is_unused.then(|| {
        let path = key_file.path.display();
        format!("{path}: the private key is not encrypted: `password_file` has no effect")
    });
    let certified = CertifiedKey::new(chain, Arc::new(RecordingKey(key)));
    Ok((certified, unused.into_iter().collect()))
}

/// Parses the chain and the key of a PKCS#12 file, and puts its certificates into order.
fn of_store(
    contents: &PairContents,
    password: Option<&Password>,
) -> Result<(CertifiedKey, Vec<String>), MaterialError> {
    let file = contents.chain();
    if contents.cert.is_some() {
        let path = file.path.display();
        return Err(file.error("PKCS#12, which holds its key").help(format!(
            "leave `key` out, and name the file with its password by `password_file`; or take the certificates \
             out of it: openssl pkcs12 -in {path} -nokeys -out {path}.pem"
        )));
    }
    let Some(password) = password else {
        return Err(file
            .error("PKCS#12, whose content is encrypted")
            .help("name the file that holds its password: password_file: FILE"));
    };
    let mut store =
        pkcs12::open(&file.bytes, password).map_err(|refusal| refused(&file.path, refusal))?;
    let value = PrivatePkcs8KeyDer::from(std::mem::take(&mut *store.key)).into();
    let key = signing_key(file, Item { line: 1, value }, None)?;
    let public = key.public_key();
    let is_of_key = |der: &CertificateDer<'_>| {
        let parsed = X509Certificate::from_der(der);
        let parsed = parsed.as_ref().map(|(_, leaf)| leaf.public_key().raw);
        parsed.is_ok_and(|raw| public.as_ref().is_some_and(|public| public.as_ref() == raw))
    };
    let Some(at) = store.certificates.iter().position(is_of_key) else {
        return Err(file.error("PKCS#12 without a certificate for its private key"));
    };
    let leaf = store.certificates.swap_remove(at);
    let (chain, unused) = chain::ordered(leaf, store.certificates);
    let warning = (unused > 0).then(|| {
        let path = file.path.display();
        format!("{path}: {unused} of its certificates are not sent: they have not signed the chain")
    });
    let certified = CertifiedKey::new(chain, Arc::new(RecordingKey(key)));
    Ok((certified, warning.into_iter().collect()))
}

/// Loads a private key of a file. `bits` is the size of the certificate's key, if that is RSA.
fn signing_key(
    file: &Contents,
    Item { line, mut value }: Item<PrivateKeyDer<'static>>,
    bits: Option<usize>,
) -> Result<Arc<dyn SigningKey>, MaterialError> {
    // As the provider of the keys does, which would drop its bytes as they are.
    let loaded = aws_lc_rs::sign::any_supported_type(&value);
    value.zeroize();
    loaded.map_err(|_| match bits {
        Some(bits) if bits < RSA_BITS_MIN => file
            .error(format_args!("an RSA key of {bits} bits is too weak"))
            .help("make one of 2048 bits or more, or better an ECDSA key on P-256"),
        _ => MaterialError::at_line(
            &file.path,
            line,
            "the private key is damaged, or of a kind that cannot be used",
        )
        .help(
            "keys are RSA of 2048 to 8192 bits, ECDSA on P-256, P-384 or P-521, or Ed25519; \
            see what it is: openssl pkey -in FILE -noout -text",
        ),
    })
}
