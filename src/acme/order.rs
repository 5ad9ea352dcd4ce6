//! One order, from the account to the file of the certificate.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use instant_acme::{Account, CertificateIdentifier, NewOrder, Order, OrderStatus, RetryPolicy};
use rcgen::{
    CertificateParams, DistinguishedName, KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384,
    PKCS_RSA_SHA256, RsaKeySize,
};
use tokio::time::timeout;
use zeroize::Zeroizing;

use super::account::blocking;
use super::certificates;
use super::challenges::alternative_name;
use super::definition::{KeyKind, Managed};
use super::failure::{Kind, OrderFailure};
use super::means::Means;
use super::validation;
use crate::state;
use crate::tls::pair::Pair;
use crate::tls::unix_now;

/// How long the CA may take to decide about the names, and to sign.
const DECISION: RetryPolicy = RetryPolicy::new().timeout(Duration::from_secs(90));

/// How long a whole order may take.
const ORDER_TIMEOUT: Duration = Duration::from_secs(300);

/// A certificate with its key, as its file will have them. It can be served.
pub(super) struct Issued(Zeroizing<Vec<u8>>);

/// Orders a certificate. `replaced` is the one that it follows.
pub(super) async fn obtain(
    managed: &Arc<Managed>,
    means: &Means,
    account: &Account,
    replaced: Option<&Pair>,
) -> Result<Issued, OrderFailure> {
    let ordered = timeout(ORDER_TIMEOUT, order(managed, means, account, replaced)).await;
    let late = || OrderFailure::new(Kind::Unreachable, "the order was not done within 5 minutes");
    ordered.unwrap_or_else(|_| Err(late()))
}

async fn order(
    managed: &Arc<Managed>,
    means: &Means,
    account: &Account,
    replaced: Option<&Pair>,
) -> Result<Issued, OrderFailure> {
    let mut order = new_order(account, managed, replaced).await?;
    // Answered until the CA has decided.
    let answering = validation::prove(&mut order, managed, means).await?;
    if order.state().status != OrderStatus::Ready {
        let status = order.poll_ready(&DECISION).await;
        if !matches!(status, Ok(OrderStatus::Ready)) {
            return Err(match (status, validation::refused(&mut order).await) {
                (_, Some(failure)) => failure,
                (Err(error), None) => OrderFailure::of(error),
                (Ok(_), None) => OrderFailure::new(Kind::Refused, "the CA refused the order"),
            });
        }
    }
    drop(answering);
    let key = key(managed.issuer.key).await?;
    let request = request(managed, &key)?;
    order
        .finalize_csr(&request)
        .await
        .map_err(OrderFailure::of)?;
    let chain = order
        .poll_certificate(&DECISION)
        .await
        .map_err(OrderFailure::of)?;
    let mut bytes = Zeroizing::new(key.serialize_pem().into_bytes());
    bytes.extend_from_slice(chain.as_bytes());
    let managed = Arc::clone(managed);
    let judged = blocking(move || judge(&managed, &bytes).map(|()| bytes));
    judged.await?.map(Issued)
}

async fn new_order(
    account: &Account,
    managed: &Managed,
    replaced: Option<&Pair>,
) -> Result<Order, OrderFailure> {
    let names: Vec<_> = managed.names.iter().map(validation::wanted).collect();
    let plain = || match &managed.issuer.profile {
        Some(profile) => NewOrder::new(&names).profile(profile),
        None => NewOrder::new(&names),
    };
    if let Some(profile) = &managed.issuer.profile
        && !account.profiles().any(|known| known.name == profile)
    {
        let known: Vec<_> = account.profiles().map(|known| known.name).collect();
        let known = match known.as_slice() {
            [] => "it has none".to_owned(),
            known => format!("it has {}", known.join(", ")),
        };
        let why = format!("the CA has no profile `{profile}`: {known}");
        return Err(OrderFailure::new(Kind::Refused, why));
    }
    let before = replaced.and_then(certificates::leaf);
    if let Some(before) = before.and_then(|leaf| CertificateIdentifier::try_from(leaf).ok()) {
        let ordered = account.new_order(&plain().replaces(before)).await;
        match ordered.map_err(OrderFailure::of) {
            // A CA without renewal information, or one that has forgotten the certificate, gets a plain
            // order.
            Err(failure) if failure.is_of_this_order() => {}
            ordered => return ordered,
        }
    }
    account.new_order(&plain()).await.map_err(OrderFailure::of)
}

/// A new key. Of RSA it takes long to make, so a thread that may block does.
async fn key(kind: KeyKind) -> Result<KeyPair, OrderFailure> {
    let made = blocking(move || match kind {
        KeyKind::P256 => KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256),
        KeyKind::P384 => KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384),
        KeyKind::Rsa2048 => KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048),
    });
    made.await?.map_err(OrderFailure::local)
}

/// The request for the certificate, in DER.
fn request(managed: &Managed, key: &KeyPair) -> Result<Vec<u8>, OrderFailure> {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    let names = managed.names.iter().map(alternative_name);
    params.subject_alt_names = names
        .collect::<Result<_, _>>()
        .map_err(OrderFailure::local)?;
    let request = params.serialize_request(key).map_err(OrderFailure::local)?;
    Ok(request.der().to_vec())
}

/// Whether key and chain can be served: they are read as they will be, under another name.
fn judge(managed: &Managed, bytes: &[u8]) -> Result<(), OrderFailure> {
    let unusable = |why: String| {
        OrderFailure::new(
            Kind::Refused,
            format_args!("what the CA issued cannot be used: {why}"),
        )
    };
    let tried = Managed {
        file: managed.file.with_extension("new"),
        ..managed.clone()
    };
    write(&tried.file, bytes)?;
    let pair = certificates::read(&tried);
    certificates::forget(&tried.file);
    let pair = pair.map_err(unusable)?;
    let pair = pair.ok_or_else(|| OrderFailure::local("a file of the state has vanished"))?;
    if pair.not_after <= unix_now() {
        return Err(unusable(
            "it has expired, by the clock of this machine".to_owned(),
        ));
    }
    Ok(())
}

fn write(file: &Path, bytes: &[u8]) -> Result<(), OrderFailure> {
    let written = state::write(file, bytes);
    written.map_err(|why| OrderFailure::local(format_args!("{}: {why}", file.display())))
}

impl Issued {
    /// Writes it to its file, in place of the one before.
    pub(super) async fn install(self, managed: &Managed) -> Result<(), OrderFailure> {
        let file = managed.file.clone();
        blocking(move || write(&file, &self.0)).await?
    }
}
