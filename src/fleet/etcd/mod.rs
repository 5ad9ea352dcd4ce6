//! The store: etcd 3.4 or newer, by its JSON gateway (`/v3/…`, on the port of clients). Knows keys and values,
//! not what they mean.
//!
//! The gateway needs no crate beyond hyper, and no compiler of protocol buffers. What it lacks is a ping: a
//! member that hangs is noticed by the requests beside a watch, such as the keepalive of a lease.

mod error;
mod http;
mod watch;

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

pub use self::error::EtcdError;
use self::http::{Call, Connection};
pub use self::watch::Watch;
use super::settings::{StoreEndpoint, StoreSettings};

/// The gRPC code of a token that is not valid any more.
const UNAUTHENTICATED: u64 = 16;

/// A key with its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The key.
    pub key: String,
    /// The value.
    pub value: Vec<u8>,
    /// The revision of its last change.
    pub revision: u64,
}

/// The entries of a range, all of one revision.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Range {
    /// In the order of their keys.
    pub entries: Vec<Entry>,
    /// The revision of the store.
    pub revision: u64,
}

/// What must hold for a transaction to be done.
pub enum Condition<'a> {
    /// The key was last changed at this revision; 0: it does not exist.
    Unchanged(&'a str, u64),
}

/// What a transaction does.
pub enum Action<'a> {
    /// Sets a key, for as long as the lease lives; 0: for ever.
    Put(&'a str, &'a [u8], i64),
    /// Deletes a key.
    Delete(&'a str),
}

/// Requests to the cluster: to one member, and to the next when that one cannot serve.
#[derive(Debug)]
pub struct Etcd {
    settings: StoreSettings,
    /// The index of the member in use.
    at: usize,
    connection: Option<Connection>,
    token: Option<String>,
}

impl Etcd {
    /// Requests with these settings. The first goes to the member with this number.
    pub fn new(settings: &StoreSettings, first: usize) -> Self {
        Self {
            settings: settings.clone(),
            at: first,
            connection: None,
            token: None,
        }
    }

    /// The member in use.
    pub fn endpoint(&self) -> &StoreEndpoint {
        let endpoints = &self.settings.endpoints;
        // There is one at least, by the configuration.
        &endpoints[self.at % endpoints.len()]
    }

    /// The number of the member in use.
    pub const fn member(&self) -> usize {
        self.at
    }

    fn tls(&self) -> Option<Arc<rustls::ClientConfig>> {
        self.settings.tls.clone()
    }

    /// Asks the member in use, and then each other one until one can serve.
    ///
    /// # Errors
    ///
    /// If none can, or the one that can refuses.
    pub async fn call(&mut self, path: &str, body: &Value) -> Result<Value, EtcdError> {
        let mut result = self.call_one(path, body).await;
        for _ in 1..self.settings.endpoints.len() {
            if !matches!(result, Err(EtcdError::Unreachable { .. })) {
                break;
            }
            self.next();
            result = self.call_one(path, body).await;
        }
        result
    }

    /// Turns to the next member.
    pub fn next(&mut self) {
        self.at = self.at.wrapping_add(1);
        self.connection = None;
    }

    /// Asks the member in use alone.
    ///
    /// # Errors
    ///
    /// If it cannot serve or refuses.
    pub async fn call_one(&mut self, path: &str, body: &Value) -> Result<Value, EtcdError> {
        self.log_in(false).await?;
        match self.exchange(path, body).await {
            Err(EtcdError::Refused { code, .. }) if code == UNAUTHENTICATED => {
                self.log_in(true).await?;
                self.exchange(path, body).await
            }
            result => result,
        }
    }

    /// Gets a token, if there are users and no token yet, or a new one.
    async fn log_in(&mut self, again: bool) -> Result<(), EtcdError> {
        let Some(login) = self.settings.login.clone() else {
            return Ok(());
        };
        if self.token.is_some() && !again {
            return Ok(());
        }
        self.token = None;
        let body = json!({ "name": login.user, "password": login.password.as_str() });
        let answer = self.exchange("/v3/auth/authenticate", &body).await?;
        let token = answer["token"].as_str();
        self.token = Some(token.ok_or(EtcdError::Malformed("no token"))?.to_owned());
        Ok(())
    }

    async fn exchange(&mut self, path: &str, body: &Value) -> Result<Value, EtcdError> {
        let (endpoint, token) = (self.endpoint().clone(), self.token.clone());
        let call = Call {
            endpoint: &endpoint,
            token: token.as_deref(),
            path,
            body,
        };
        let kept = self.connection.take();
        if let Some(mut kept) = kept.filter(|kept| !kept.is_closed()) {
            // A connection that the member has closed meanwhile says nothing about the member.
            match kept.exchange(&call).await {
                Err(EtcdError::Unreachable { .. }) if kept.is_closed() => {}
                result => return self.keep(kept, result),
            }
        }
        let mut new = Connection::open(&endpoint, self.tls().as_ref()).await?;
        let result = new.exchange(&call).await;
        self.keep(new, result)
    }

    /// Keeps a connection, unless what was asked over it got no answer.
    fn keep(
        &mut self,
        connection: Connection,
        result: Result<Value, EtcdError>,
    ) -> Result<Value, EtcdError> {
        if !matches!(result, Err(EtcdError::Unreachable { .. })) {
            self.connection = Some(connection);
        }
        result
    }

    /// The value of a key, at a revision or now (0).
    pub async fn get(&mut self, key: &str, revision: u64) -> Result<Range, EtcdError> {
        let body = json!({ "key": encode(key), "revision": revision.to_string() });
        range(&self.call("/v3/kv/range", &body).await?)
    }

    /// The entries whose keys begin with `prefix`, at this moment; without their values if `keys_only`.
    pub async fn list(&mut self, prefix: &str, keys_only: bool) -> Result<Range, EtcdError> {
        let body = json!({
            "key": encode(prefix),
            "range_end": STANDARD.encode(after(prefix)),
            "keys_only": keys_only,
        });
        range(&self.call("/v3/kv/range", &body).await?)
    }

    /// Does all actions if all conditions hold. Returns whether they did.
    pub async fn transact(
        &mut self,
        conditions: &[Condition<'_>],
        actions: &[Action<'_>],
    ) -> Result<bool, EtcdError> {
        let compare = conditions.iter().map(|condition| match condition {
            Condition::Unchanged(key, revision) => json!({
                "key": encode(key),
                "target": "MOD",
                "result": "EQUAL",
                "mod_revision": revision.to_string(),
            }),
        });
        let success = actions.iter().map(|action| match action {
            Action::Put(key, value, lease) => json!({ "request_put": {
                "key": encode(key),
                "value": STANDARD.encode(value),
                "lease": lease.to_string(),
            } }),
            Action::Delete(key) => json!({ "request_delete_range": { "key": encode(key) } }),
        });
        let body = json!({
            "compare": compare.collect::<Vec<_>>(),
            "success": success.collect::<Vec<_>>(),
        });
        let answer = self.call("/v3/kv/txn", &body).await?;
        // Absent is false.
        Ok(answer["succeeded"].as_bool().unwrap_or_default())
    }

    /// Deletes all keys that begin with `prefix`.
    pub async fn delete_all(&mut self, prefix: &str) -> Result<(), EtcdError> {
        let body = json!({ "key": encode(prefix), "range_end": STANDARD.encode(after(prefix)) });
        self.call("/v3/kv/deleterange", &body).await.map(drop)
    }

    /// A new lease of this many seconds.
    pub async fn grant(&mut self, seconds: u64) -> Result<i64, EtcdError> {
        let answer = self
            .call("/v3/lease/grant", &json!({ "TTL": seconds.to_string() }))
            .await?;
        let lease = number(&answer["ID"]);
        lease.ok_or(EtcdError::Malformed("no lease"))
    }

    /// Keeps a lease alive at the member in use. Returns whether it lived.
    pub async fn keep_alive(&mut self, lease: i64) -> Result<bool, EtcdError> {
        let body = json!({ "ID": lease.to_string() });
        let answer = self.call_one("/v3/lease/keepalive", &body).await?;
        if let Some(error) = answer.get("error") {
            return Err(http::refusal(self.endpoint(), error));
        }
        // Absent is 0.
        Ok(number(&answer["result"]["TTL"]).unwrap_or_default() > 0)
    }

    /// Asks the member in use for a key. It answers only if the cluster has a leader that it can reach.
    pub async fn probe(&mut self, key: &str) -> Result<(), EtcdError> {
        let body = json!({ "key": encode(key), "keys_only": true });
        self.call_one("/v3/kv/range", &body).await.map(drop)
    }

    /// Ends a lease, and the keys that it held.
    pub async fn revoke(&mut self, lease: i64) -> Result<(), EtcdError> {
        let body = json!({ "ID": lease.to_string() });
        self.call("/v3/lease/revoke", &body).await.map(drop)
    }

    /// Watches the keys that begin with `prefix` from a revision on, at the member in use.
    pub async fn watch(&mut self, prefix: &str, revision: u64) -> Result<Watch, EtcdError> {
        self.log_in(false).await?;
        let endpoint = self.endpoint().clone();
        let body = json!({ "create_request": {
            "key": encode(prefix),
            "range_end": STANDARD.encode(after(prefix)),
            "start_revision": revision.to_string(),
            "progress_notify": true,
        } });
        let mut connection = Connection::open(&endpoint, self.tls().as_ref()).await?;
        let call = Call {
            endpoint: &endpoint,
            token: self.token.as_deref(),
            path: "/v3/watch",
            body: &body,
        };
        let stream = connection.begin(&call).await?;
        Ok(Watch::new(endpoint, connection, stream))
    }
}

fn encode(key: &str) -> String {
    STANDARD.encode(key)
}

/// The first key behind all that begin with `prefix`.
fn after(prefix: &str) -> Vec<u8> {
    let mut end = prefix.as_bytes().to_vec();
    // A text in UTF-8 has no byte 0xff.
    if let Some(last) = end.last_mut() {
        *last += 1;
    }
    end
}

/// A number of 64 bits, which is a text in the JSON of protocol buffers.
fn number(value: &Value) -> Option<i64> {
    match value {
        Value::String(text) => text.parse().ok(),
        value => value.as_i64(),
    }
}

fn range(answer: &Value) -> Result<Range, EtcdError> {
    let bytes = |value: &Value| STANDARD.decode(value.as_str().unwrap_or_default()).ok();
    let revision = |value: &Value| number(value).and_then(|number| u64::try_from(number).ok());
    let entry = |kv: &Value| {
        Some(Entry {
            key: String::from_utf8(bytes(&kv["key"])?).ok()?,
            value: bytes(&kv["value"])?,
            revision: revision(&kv["mod_revision"])?,
        })
    };
    let kvs = answer["kvs"].as_array().map(Vec::as_slice);
    let entries = kvs.unwrap_or_default().iter().map(entry);
    Ok(Range {
        entries: entries
            .collect::<Option<_>>()
            .ok_or(EtcdError::Malformed("an entry that cannot be read"))?,
        revision: revision(&answer["header"]["revision"])
            .ok_or(EtcdError::Malformed("no revision"))?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_64_bits_are_texts_and_what_is_zero_is_absent() {
        let answer = json!({
            "header": { "revision": "9007199254740993" },
            "kvs": [{ "key": "YQ==", "value": "YmM=", "mod_revision": "7" }, { "key": "Yg==", "mod_revision": "8" }],
        });
        let range = range(&answer).unwrap();
        assert_eq!(range.revision, 9_007_199_254_740_993);
        let entries = range.entries.iter();
        let entries: Vec<_> = entries
            .map(|e| (e.key.as_str(), e.value.as_slice()))
            .collect();
        assert_eq!(entries, [("a", &b"bc"[..]), ("b", b"")]);
        assert_eq!(
            super::range(&json!({})),
            Err(EtcdError::Malformed("no revision"))
        );
    }

    #[test]
    fn a_prefix_ends_before_its_sibling() {
        assert_eq!(after("/a/"), b"/a0");
    }
}
