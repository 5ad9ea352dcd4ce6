//! Whether an issuer can be used, as far as its directory says: for `reseal check`.

use std::time::Duration;

use http_body_util::Empty;
use hyper::body::Bytes;
use hyper::header::USER_AGENT;
use hyper::{Request, StatusCode};
use serde_json::Value;

use super::definition::Issuer;
use crate::fetch::{Bounds, Fetcher};
use crate::observe::escape;
use crate::tls::https;
use crate::upstream::Lookup;

/// What the directory may cost.
const BOUNDS: Bounds = Bounds {
    time: Duration::from_secs(10),
    bytes: 1024 * 1024,
};

/// What is found at the URL of an issuer: one sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// A directory that the configuration fits.
    Good,
    /// There is no answer, or none of a CA: that may be so today alone.
    Unreachable(String),
    /// The CA cannot issue what the configuration says.
    Unfit(String),
}

/// Asks for the directory of an issuer, and compares the configuration with it. Nothing is ordered, and no
/// account is made.
pub async fn probe(issuer: &Issuer, lookup: &Lookup) -> Finding {
    match directory(issuer, lookup).await {
        Ok(directory) => unfit(issuer, &directory).map_or(Finding::Good, Finding::Unfit),
        Err(why) => Finding::Unreachable(why),
    }
}

async fn directory(issuer: &Issuer, lookup: &Lookup) -> Result<Value, String> {
    let request = Request::get(&issuer.directory)
        .header(USER_AGENT, concat!("reseal/", env!("CARGO_PKG_VERSION")))
        .body(Empty::<Bytes>::new())
        .map_err(|error| error.to_string())?;
    let tls = https::client(&issuer.authorities).map_err(|error| error.to_string())?;
    let fetched = Fetcher::new(Some(tls), lookup.clone())
        .fetch(request, BOUNDS)
        .await;
    let response = fetched.map_err(|error| escape::own(&error.to_string()))?;
    match response.status() {
        StatusCode::OK => {}
        status if status.is_redirection() => {
            return Err("the server redirects to another URL, which is not followed".to_owned());
        }
        status => return Err(format!("the server answers {}", status.as_u16())),
    }
    let directory: Option<Value> = serde_json::from_slice(response.body()).ok();
    let is_whole = |directory: &Value| {
        let urls = ["newNonce", "newAccount", "newOrder"];
        urls.iter()
            .all(|url| directory.get(url).is_some_and(Value::is_string))
    };
    let directory = directory.filter(is_whole);
    directory.ok_or_else(|| "what is there is no directory of ACME".to_owned())
}

/// Why the CA cannot issue what the configuration says, if it cannot.
fn unfit(issuer: &Issuer, directory: &Value) -> Option<String> {
    let meta = &directory["meta"];
    if meta["externalAccountRequired"] == true && issuer.external.is_none() {
        return Some("this CA demands an account of its own: `eab`".to_owned());
    }
    let profile = issuer.profile.as_ref()?;
    let profiles = meta["profiles"].as_object();
    if profiles.is_some_and(|profiles| profiles.contains_key(profile)) {
        return None;
    }
    let known: Vec<_> = profiles
        .into_iter()
        .flatten()
        .map(|(name, _)| escape::text(name))
        .collect();
    Some(match known.as_slice() {
        [] => "this CA has no profiles: leave `profile` out".to_owned(),
        known => format!("this CA has no such profile: there is {}", known.join(", ")),
    })
}
