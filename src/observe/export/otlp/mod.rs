//! A collector of OpenTelemetry: batches of records by OTLP over HTTP, as JSON.

mod client;
mod payload;
mod settings;

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use hyper::StatusCode;
use serde_json::Value;
use tokio::runtime::{Builder, Runtime};
use tokio::time::timeout;

use self::client::{Answer, Client};
use self::payload::Resource;
pub use self::settings::{Headers, OtlpEndpoint, OtlpSettings, OtlpTerms};
use super::deliver::{Collector, Refused, Unsent};
use super::record::Exported;

/// How long a request may take, its connection and the answer included.
const TIMEOUT: Duration = Duration::from_secs(10);

/// What may be another time, by the specification of OTLP over HTTP.
const RETRIED: [StatusCode; 4] = [
    StatusCode::TOO_MANY_REQUESTS,
    StatusCode::BAD_GATEWAY,
    StatusCode::SERVICE_UNAVAILABLE,
    StatusCode::GATEWAY_TIMEOUT,
];

/// The collector that records go to.
#[derive(Debug)]
pub(super) struct OtlpCollector {
    endpoint: OtlpEndpoint,
    /// What a renewal of files changes.
    terms: Arc<ArcSwap<OtlpTerms>>,
    resource: Resource,
    client: Client,
    /// Absent until the first request.
    runtime: Option<Runtime>,
}

impl OtlpCollector {
    pub(super) fn new(endpoint: &OtlpEndpoint, terms: &Arc<ArcSwap<OtlpTerms>>) -> Self {
        Self {
            endpoint: endpoint.clone(),
            terms: Arc::clone(terms),
            resource: Resource::of_this_process(),
            client: Client::default(),
            runtime: None,
        }
    }

    fn post(&mut self, body: String) -> Result<Answer, Unsent> {
        let runtime = match self.runtime.take() {
            Some(runtime) => runtime,
            None => Builder::new_current_thread().enable_all().build()?,
        };
        let terms = self.terms.load_full();
        let posting = self.client.post(&self.endpoint, &terms, body);
        let answer = runtime.block_on(async { timeout(TIMEOUT, posting).await });
        self.runtime = Some(runtime);
        let why = match answer {
            Ok(Ok(answer)) => return Ok(answer),
            Ok(Err(error)) => error,
            Err(_) => {
                self.client = Client::default();
                format!("no answer in {} s", TIMEOUT.as_secs())
            }
        };
        Err(Unsent { why, after: None })
    }
}

impl Collector for OtlpCollector {
    fn place(&self) -> String {
        self.endpoint.to_string()
    }

    fn send(&mut self, records: &mut Vec<Exported>) -> Result<Refused, Unsent> {
        let answer = self.post(self.resource.payload(records))?;
        if RETRIED.contains(&answer.status) {
            return Err(Unsent {
                why: format!("status {}", answer.status),
                after: answer.retry_after,
            });
        }
        let count = records.len() as u64;
        records.clear();
        Ok(match answer.status.is_success() {
            true => rejected(&answer.body),
            false => Refused {
                records: count,
                why: Some(format!("status {}", answer.status)),
            },
        })
    }
}

/// The records of an accepted batch that the collector rejects all the same.
fn rejected(body: &[u8]) -> Refused {
    let answer: Value = serde_json::from_slice(body).unwrap_or_default();
    let partial = &answer["partialSuccess"];
    // An integer of 64 bits is a text in JSON of protobuf.
    let records = match &partial["rejectedLogRecords"] {
        Value::String(text) => text.parse().unwrap_or_default(),
        number => number.as_u64().unwrap_or_default(),
    };
    Refused {
        records,
        why: (records > 0).then(|| {
            let why = partial["errorMessage"].as_str().unwrap_or_default();
            format!("rejected: {why}")
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_records_that_a_collector_rejects_are_counted() {
        for (body, count) in [
            ("", 0),
            ("{}", 0),
            (r#"{"partialSuccess":{}}"#, 0),
            (
                r#"{"partialSuccess":{"rejectedLogRecords":"12","errorMessage":"old"}}"#,
                12,
            ),
            (r#"{"partialSuccess":{"rejectedLogRecords":3}}"#, 3),
            (r#"{"partialSuccess":{"rejectedLogRecords":-3}}"#, 0),
        ] {
            let refused = rejected(body.as_bytes());
            assert_eq!(refused.records, count, "{body}");
            assert_eq!(refused.why.is_some(), count > 0);
        }
    }
}
