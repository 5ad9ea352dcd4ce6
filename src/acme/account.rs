//! The account with an issuer: made once, kept in its file, and used by every later process.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{HeaderMap, RETRY_AFTER};
use hyper::{Request, StatusCode};
use instant_acme::{
    Account, AccountBuilder, BodyWrapper, BytesResponse, Error, ExternalAccountKey, HttpClient,
    NewAccount,
};
use zeroize::Zeroizing;

use super::definition::Issuer;
use super::failure::{AskedPause, OrderFailure};
use crate::fetch::{Bounds, Fetcher};
use crate::state;
use crate::tls::https;
use crate::upstream::Lookup;

/// What one response of a CA may cost.
const BOUNDS: Bounds = Bounds {
    time: Duration::from_secs(30),
    bytes: 1024 * 1024,
};

/// The largest file of an account.
const ACCOUNT_MAX: usize = 64 * 1024;

/// The longest time for which a CA is left alone because it says so.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(24 * 3600);

/// The requests of one order.
pub(super) struct Requests {
    fetcher: Fetcher,
    pause: AskedPause,
}

impl Requests {
    /// Requests to an issuer.
    pub(super) fn new(issuer: &Issuer, lookup: &Lookup) -> Result<Self, OrderFailure> {
        let tls = https::client(&issuer.authorities).map_err(OrderFailure::local)?;
        Ok(Self {
            fetcher: Fetcher::new(Some(tls), lookup.clone()),
            pause: AskedPause::default(),
        })
    }

    /// Where the CA's wish is noted.
    pub(super) fn pause(&self) -> AskedPause {
        Arc::clone(&self.pause)
    }
}

impl HttpClient for Requests {
    fn request(
        &self,
        request: Request<BodyWrapper<Bytes>>,
    ) -> Pin<Box<dyn Future<Output = Result<BytesResponse, Error>> + Send>> {
        let (fetcher, pause) = (self.fetcher.clone(), Arc::clone(&self.pause));
        Box::pin(async move {
            if request.uri().scheme_str() != Some("https") {
                // RFC 8555 section 6.1. The URLs are the directory's.
                return Err(Error::Other("the CA names a URL that is not https".into()));
            }
            let host = request.uri().host().unwrap_or_default().to_owned();
            let fetched = fetcher.fetch(request, BOUNDS).await;
            let response = fetched.map_err(|error| Error::Other(Box::new(error)))?;
            let status = response.status();
            if status.is_redirection() {
                let why = format!("{host}: the CA redirects to another URL, which is not followed");
                return Err(Error::Other(why.into()));
            }
            if status.is_client_error() || status.is_server_error() {
                *pause.lock() = retry_after(response.headers(), SystemTime::now());
                if !is_problem(response.headers()) {
                    let why = format!("{host}: the CA answers {}", shown(status));
                    return Err(Error::Other(why.into()));
                }
            }
            Ok::<_, Error>(BytesResponse::from(response.map(Full::new)))
        })
    }
}

fn shown(status: StatusCode) -> String {
    match status.canonical_reason() {
        Some(reason) => format!("{} {reason}", status.as_u16()),
        None => status.as_u16().to_string(),
    }
}

/// Whether the body is a problem document, and not the page of a load balancer.
fn is_problem(headers: &HeaderMap) -> bool {
    let kind = headers.get(hyper::header::CONTENT_TYPE);
    kind.and_then(|kind| kind.to_str().ok())
        .is_some_and(|kind| kind.contains("json"))
}

/// The pause that a response asks for, in seconds or until a date (RFC 9110 section 10.2.3).
fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let value = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let pause = match value.parse() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => {
            let date = httpdate::parse_http_date(value).ok()?;
            date.duration_since(now).unwrap_or_default()
        }
    };
    Some(pause.min(RETRY_AFTER_MAX))
}

/// The account with an issuer, from its file; else a new one, which is written there.
pub(super) async fn account(
    issuer: &Arc<Issuer>,
    requests: Requests,
) -> Result<Account, OrderFailure> {
    let file = issuer.account_file();
    let named =
        |why: std::io::Error| OrderFailure::local(format_args!("{}: {why}", file.display()));
    let read = {
        let file = file.clone();
        blocking(move || state::read(&file, ACCOUNT_MAX))
            .await?
            .map_err(named)?
    };
    let builder = Account::builder_with_http(Box::new(requests));
    if let Some(bytes) = read {
        let credentials = serde_json::from_slice(&bytes).map_err(|_| {
            OrderFailure::local(format_args!(
                "{}: it is no account: remove it, and a new account is made",
                file.display()
            ))
        })?;
        return builder
            .from_credentials(credentials)
            .await
            .map_err(OrderFailure::of);
    }
    let (account, credentials) = create(builder, issuer).await?;
    let bytes = serde_json::to_vec(&credentials).map_err(OrderFailure::local)?;
    let bytes = Zeroizing::new(bytes);
    blocking(move || state::write(&file, &bytes))
        .await?
        .map_err(|why| {
            OrderFailure::local(format_args!("{}: {why}", issuer.account_file().display()))
        })?;
    Ok(account)
}

async fn create(
    builder: AccountBuilder,
    issuer: &Issuer,
) -> Result<(Account, instant_acme::AccountCredentials), OrderFailure> {
    let contact: Vec<_> = issuer.contact.iter().map(String::as_str).collect();
    let external = issuer.external.as_ref();
    let external = external.map(|key| ExternalAccountKey::new(key.id.clone(), &key.key));
    let new = NewAccount {
        contact: &contact,
        terms_of_service_agreed: true,
        only_return_existing: false,
    };
    let created = builder.create(&new, issuer.directory.clone(), external.as_ref());
    created.await.map_err(OrderFailure::of)
}

/// What `work` finds, on a thread that may block.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, OrderFailure> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(OrderFailure::local)
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;

    #[test]
    fn a_pause_is_seconds_or_a_date_and_a_day_at_most() {
        let of = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(RETRY_AFTER, value.parse().unwrap());
            retry_after(&headers, UNIX_EPOCH + Duration::from_secs(784_111_777))
        };
        assert_eq!(of("120"), Some(Duration::from_secs(120)));
        assert_eq!(
            of("Sun, 06 Nov 1994 08:50:37 GMT"),
            Some(Duration::from_secs(60))
        );
        assert_eq!(of("Sun, 06 Nov 1994 08:40:37 GMT"), Some(Duration::ZERO));
        assert_eq!(of("99999999999"), Some(RETRY_AFTER_MAX));
        assert_eq!(of("soon"), None);
    }
}
