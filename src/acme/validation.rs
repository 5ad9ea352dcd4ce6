//! The validations of one order: how control of each name is shown to the CA, and why it did not see it.

use instant_acme::{
    AuthorizationStatus, Challenge, ChallengeStatus, ChallengeType, Identifier as Wanted, Order,
};

use super::challenges::Answering;
use super::definition::{ChallengeKind, Identifier, Managed};
use super::dns::AnsweringDns;
use super::failure::{Kind, OrderFailure};
use super::means::Means;
use super::responder::AnsweringHttp;

/// A name, as a CA is asked for it.
pub(super) fn wanted(name: &Identifier) -> Wanted {
    match name {
        Identifier::Dns(_) | Identifier::Wildcard(_) => Wanted::Dns(name.to_string()),
        Identifier::Ip(address) => Wanted::Ip(*address),
    }
}

/// A validation that is answered.
pub(super) enum Answer {
    Tls(#[expect(dead_code, reason = "dropping it ends the answers")] Answering),
    Http(#[expect(dead_code, reason = "dropping it ends the answers")] AnsweringHttp),
    Dns(#[expect(dead_code, reason = "dropping it removes the record")] Box<AnsweringDns>),
}

/// Has the CA validate every name that it has not validated before. The validations are answered until the
/// result is dropped.
pub(super) async fn prove(
    order: &mut Order,
    managed: &Managed,
    means: &Means,
) -> Result<Vec<Answer>, OrderFailure> {
    let mut answering = Vec::new();
    let mut authorizations = order.authorizations();
    while let Some(authorization) = authorizations.next().await {
        let mut authorization = authorization.map_err(OrderFailure::of)?;
        match authorization.status {
            AuthorizationStatus::Valid => continue,
            AuthorizationStatus::Pending => {}
            _ => {
                let why = "the CA has an authorization of the order that has ended";
                return Err(OrderFailure::new(Kind::Validation, why));
            }
        }
        let (kind, word) = match &managed.issuer.challenge {
            ChallengeKind::TlsAlpn01 => (ChallengeType::TlsAlpn01, "tls-alpn-01"),
            ChallengeKind::Http01(_) => (ChallengeType::Http01, "http-01"),
            ChallengeKind::Dns01(_) => (ChallengeType::Dns01, "dns-01"),
        };
        let mut challenge = authorization.challenge(kind).ok_or_else(|| {
            let why = format!("the CA does not offer the challenge {word}");
            OrderFailure::new(Kind::Refused, why)
        })?;
        let name = ours(&challenge.identifier().to_string(), managed)?;
        let authorized = challenge.key_authorization();
        answering.push(match &managed.issuer.challenge {
            ChallengeKind::TlsAlpn01 => {
                Answer::Tls(shown(&name, authorized.digest().as_ref(), means)?)
            }
            ChallengeKind::Http01(_) => {
                Answer::Http(means.tokens.answer(&challenge.token, authorized.as_str()))
            }
            ChallengeKind::Dns01(zone) => {
                let (host, value) = (name.validation_name(), authorized.dns_value());
                Answer::Dns(Box::new(zone.answer(&host, &value).await?))
            }
        });
        challenge.set_ready().await.map_err(OrderFailure::of)?;
    }
    Ok(answering)
}

/// Answers validations of a name on endpoints.
fn shown(name: &Identifier, digest: &[u8], means: &Means) -> Result<Answering, OrderFailure> {
    let answered = means
        .challenges
        .answer(name, digest)
        .map_err(OrderFailure::local)?;
    answered.ok_or_else(|| {
        OrderFailure::local(format_args!("another order is having {name} validated"))
    })
}

/// A name of the order. A CA that asks about another one gets no answer.
fn ours(asked: &str, managed: &Managed) -> Result<Identifier, OrderFailure> {
    let mut names = managed.names.iter();
    let name = names.find(|name| name.to_string() == asked);
    name.cloned().ok_or_else(|| {
        OrderFailure::new(
            Kind::Refused,
            "the CA asks about a name that was not ordered",
        )
    })
}

/// Why a name could not be validated, by the CA's words.
pub(super) async fn refused(order: &mut Order) -> Option<OrderFailure> {
    let mut authorizations = order.authorizations();
    while let Some(authorization) = authorizations.next().await {
        let authorization = authorization.ok()?;
        let is_failed = |challenge: &&Challenge| challenge.status == ChallengeStatus::Invalid;
        let mut failed = authorization.challenges.iter().filter(is_failed);
        let problem = failed.find_map(|challenge| challenge.error.as_ref());
        if let Some(problem) = problem {
            let said = OrderFailure::said(problem);
            let why = format!("{}: {}", authorization.identifier(), said.why);
            return Some(OrderFailure::new(Kind::Validation, why));
        }
    }
    None
}
