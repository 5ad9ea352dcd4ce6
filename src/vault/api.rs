//! The requests to a server: log in, issue, revoke. Secrets are in bodies and headers, never in what is told.

use std::net::IpAddr;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{CONTENT_TYPE, USER_AGENT};
use hyper::{Request, StatusCode};
use serde_json::{Map, Value, json};
use zeroize::Zeroizing;

use super::definition::{Auth, Engine, Identity, Secret};
use crate::fetch::{Bounds, Fetcher};
use crate::observe::escape;
use crate::tls::https;
use crate::upstream::Lookup;

/// What one response may cost.
const BOUNDS: Bounds = Bounds {
    time: Duration::from_secs(30),
    bytes: 1024 * 1024,
};

/// Where the token of a request is.
const TOKEN: &str = "X-Vault-Token";

/// A server to which this process has logged in.
pub(super) struct Session<'e> {
    engine: &'e Engine,
    fetcher: Fetcher,
    token: Secret,
}

impl<'e> Session<'e> {
    /// Logs in.
    pub(super) async fn begin(engine: &'e Engine, lookup: &Lookup) -> Result<Self, String> {
        let own = match &engine.auth {
            Auth::Certificate { pair, .. } => Some(pair),
            Auth::Token(_) | Auth::AppRole { .. } => None,
        };
        let tls = https::client_as(&engine.authorities, own).map_err(|error| error.to_string())?;
        let fetcher = Fetcher::new(Some(tls), lookup.clone());
        let login = |mount: &str| format!("auth/{mount}/login");
        let token = match &engine.auth {
            Auth::Token(token) => token.clone(),
            Auth::Certificate { mount, .. } => {
                let answer = post(engine, &fetcher, None, &login(mount), &json!({})).await;
                token_in(&answer.map_err(|why| format!("the login failed: {why}"))?)?
            }
            Auth::AppRole {
                role_id,
                secret_id,
                mount,
            } => {
                let body = json!({ "role_id": role_id, "secret_id": *secret_id.0 });
                let answer = post(engine, &fetcher, None, &login(mount), &body).await;
                token_in(&answer.map_err(|why| format!("the login failed: {why}"))?)?
            }
        };
        Ok(Self {
            engine,
            fetcher,
            token,
        })
    }

    /// Has a certificate issued. Returns its key and its chain in PEM.
    pub(super) async fn issue(&self, identity: &Identity) -> Result<Zeroizing<Vec<u8>>, String> {
        let Engine { mount, role, .. } = self.engine;
        let answer = self
            .post(&format!("{mount}/issue/{role}"), &wanted(identity))
            .await?;
        let data = &answer["data"];
        let text = |key: &str| data[key].as_str().filter(|text| !text.is_empty());
        let (Some(key), Some(leaf)) = (text("private_key"), text("certificate")) else {
            return Err("the answer holds no certificate with its key".to_owned());
        };
        let mut pem = Zeroizing::new(Vec::new());
        let chain = data["ca_chain"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str);
        for part in [key, leaf].into_iter().chain(chain) {
            pem.extend_from_slice(part.trim().as_bytes());
            pem.push(b'\n');
        }
        Ok(pem)
    }

    /// Revokes a certificate by its serial number.
    pub(super) async fn revoke(&self, serial: &[u8]) -> Result<(), String> {
        let digits: Vec<_> = serial.iter().map(|byte| format!("{byte:02x}")).collect();
        let body = json!({ "serial_number": digits.join(":") });
        let path = format!("{}/revoke", self.engine.mount);
        self.post(&path, &body).await.map(drop)
    }

    async fn post(&self, path: &str, body: &Value) -> Result<Value, String> {
        post(self.engine, &self.fetcher, Some(&self.token), path, body).await
    }
}

/// What is asked for: the first name is the common name, and all of them are alternative names of their kind.
fn wanted(identity: &Identity) -> Value {
    let mut body = Map::new();
    let (mut hosts, mut addresses, mut uris) = (Vec::new(), Vec::new(), Vec::new());
    for name in &identity.names {
        match name {
            name if name.contains("://") => uris.push(name.as_str()),
            name if name.parse::<IpAddr>().is_ok() => addresses.push(name.as_str()),
            name => hosts.push(name.as_str()),
        }
    }
    let first = identity.names.first().map(String::as_str);
    let common = hosts.first().copied().or(first);
    body.insert("common_name".to_owned(), json!(common));
    for (key, names) in [
        ("alt_names", hosts),
        ("ip_sans", addresses),
        ("uri_sans", uris),
    ] {
        if !names.is_empty() {
            body.insert(key.to_owned(), json!(names.join(",")));
        }
    }
    if let Some(ttl) = identity.ttl {
        body.insert("ttl".to_owned(), json!(format!("{}s", ttl.as_secs())));
    }
    body.insert("private_key_format".to_owned(), json!("pkcs8"));
    Value::Object(body)
}

fn token_in(answer: &Value) -> Result<Secret, String> {
    let token = answer["auth"]["client_token"]
        .as_str()
        .filter(|token| !token.is_empty());
    let token = token.ok_or("the answer to the login holds no token")?;
    Ok(Secret(Zeroizing::new(token.to_owned())))
}

async fn post(
    engine: &Engine,
    fetcher: &Fetcher,
    token: Option<&Secret>,
    path: &str,
    body: &Value,
) -> Result<Value, String> {
    let mut request = Request::post(format!("{}/v1/{path}", engine.address))
        .header(CONTENT_TYPE, "application/json")
        .header(USER_AGENT, concat!("reseal/", env!("CARGO_PKG_VERSION")));
    if let Some(token) = token {
        request = request.header(TOKEN, token.0.as_str());
    }
    let body = Full::<Bytes>::from(body.to_string());
    let request = request
        .body(body)
        .map_err(|_| "the token or a name cannot be sent")?;
    let response = fetcher.fetch(request, BOUNDS).await;
    let response = response.map_err(|error| escape::own(&error.to_string()))?;
    let answer: Value = serde_json::from_slice(response.body()).unwrap_or_default();
    match response.status() {
        StatusCode::OK | StatusCode::NO_CONTENT => Ok(answer),
        status if status.is_redirection() => Err(
            "the server redirects to another one, which is not followed: name the active one"
                .to_owned(),
        ),
        status => {
            let errors = answer["errors"].as_array().into_iter().flatten();
            let errors: Vec<_> = errors.filter_map(Value::as_str).collect();
            let why = match errors.is_empty() {
                true => "without a reason".to_owned(),
                false => escape::own(&errors.join("; ")),
            };
            Err(format!("the server answers {}: {why}", status.as_u16()))
        }
    }
}
