//! Records of validations by dns-01 (RFC 8555 section 8.4), in a zone whose server takes dynamic updates
//! (RFC 2136) that are signed (TSIG, RFC 8945).

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hickory_proto::op::{Message, ResponseCode, update_message};
use hickory_proto::rr::rdata::TXT;
use hickory_proto::rr::rdata::tsig::{TsigAlgorithm as Algorithm, TsigError};
use hickory_proto::rr::{Name, RData, Record, RecordSet, TSigVerifier, TSigner};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::runtime::Handle;
use tokio::time::timeout;
use tracing::warn;
use zeroize::Zeroizing;

use super::failure::OrderFailure;
use crate::hostname::HostName;
use crate::tls::unix_now;

/// How long the name server may take for an update.
const UPDATE_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a resolver may keep a record, in seconds: the next validation has another one.
const TTL: u32 = 10;

/// By how much the clocks of this machine and of the name server may differ, in seconds (RFC 8945 section
/// 10).
const FUDGE: u16 = 300;

/// How updates are signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TsigAlgorithm {
    /// SHA-256.
    HmacSha256,
    /// SHA-384.
    HmacSha384,
    /// SHA-512.
    HmacSha512,
}

/// A zone, and the server that takes updates of it.
#[derive(Clone, PartialEq, Eq)]
pub struct DnsZone {
    /// The zone's primary server.
    pub server: SocketAddr,
    /// The zone.
    pub zone: HostName,
    /// The name of the key that signs.
    pub key_name: String,
    /// How it signs.
    pub algorithm: TsigAlgorithm,
    /// Its secret.
    pub key: Zeroizing<Vec<u8>>,
}

impl fmt::Debug for DnsZone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DnsZone")
            .field("server", &self.server)
            .field("zone", &self.zone)
            .field("key_name", &self.key_name)
            .finish_non_exhaustive()
    }
}

/// What is done to a record.
#[derive(Clone, Copy, Debug)]
enum Change {
    Add,
    Remove,
}

/// A request, and what verifies its response.
struct SignedUpdate {
    id: u16,
    bytes: Vec<u8>,
    verifier: Option<TSigVerifier>,
}

impl DnsZone {
    /// Whether the record of this name's validation is in the zone.
    pub fn holds(&self, name: &HostName) -> bool {
        let (zone, name) = (self.zone.as_str(), name.as_str());
        name.strip_suffix(zone)
            .is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    }

    /// Has the record of a host's validation hold this value until the result is dropped.
    pub(super) async fn answer(
        self: &Arc<Self>,
        host: &str,
        value: &str,
    ) -> Result<AnsweringDns, OrderFailure> {
        let name = Name::from_ascii(format!("_acme-challenge.{host}."));
        let name = name.map_err(OrderFailure::local)?;
        let value = RData::TXT(TXT::new(vec![value.to_owned()]));
        let record = Record::from_rdata(name, TTL, value);
        self.update(Change::Add, &record).await?;
        Ok(AnsweringDns {
            zone: Arc::clone(self),
            record,
        })
    }

    async fn update(&self, change: Change, record: &Record) -> Result<(), OrderFailure> {
        let failed = |why: String| {
            OrderFailure::local(format_args!("the name server {}: {why}", self.server))
        };
        let update = self.signed(change, record).map_err(failed)?;
        let response = match timeout(UPDATE_TIMEOUT, exchange(self.server, &update.bytes)).await {
            Ok(response) => response.map_err(|error| failed(error.to_string()))?,
            Err(_) => return Err(failed("it does not answer".to_owned())),
        };
        self.judge(update, &response).map_err(failed)
    }

    fn signed(&self, change: Change, record: &Record) -> Result<SignedUpdate, String> {
        let zone = Name::from_ascii(format!("{}.", self.zone)).map_err(|e| e.to_string())?;
        if !zone.zone_of(&record.name) {
            return Err(format!("{} is not in its zone", record.name));
        }
        let set = RecordSet::from(record.clone());
        let mut message = match change {
            Change::Add => update_message::append(set, zone, false, false),
            Change::Remove => update_message::delete_by_rdata(set, zone, false),
        };
        let algorithm = match self.algorithm {
            TsigAlgorithm::HmacSha256 => Algorithm::HmacSha256,
            TsigAlgorithm::HmacSha384 => Algorithm::HmacSha384,
            TsigAlgorithm::HmacSha512 => Algorithm::HmacSha512,
        };
        let key_name = Name::from_ascii(&self.key_name).map_err(|e| e.to_string())?;
        let signer = TSigner::new(self.key.to_vec(), algorithm, key_name, FUDGE);
        let signer = signer.map_err(|e| e.to_string())?;
        let now = u64::try_from(unix_now()).unwrap_or_default();
        let verifier = message.finalize(&signer, now).map_err(|e| e.to_string())?;
        Ok(SignedUpdate {
            id: message.id,
            bytes: message.to_vec().map_err(|e| e.to_string())?,
            verifier,
        })
    }

    /// Whether a response says, with a signature, that the update was made.
    fn judge(&self, update: SignedUpdate, response: &[u8]) -> Result<(), String> {
        let message = Message::from_vec(response).map_err(|_| "what it sends is no DNS")?;
        if message.id != update.id {
            return Err("it answers another request".to_owned());
        }
        if message.response_code != ResponseCode::NoError {
            let error = message.signature().and_then(|tsig| tsig.data.error);
            return Err(self.refusal(message.response_code, error));
        }
        let unsigned = "its answer is not signed by the key";
        let mut verifier = update.verifier.ok_or(unsigned)?;
        verifier.verify(response).map_err(|_| unsigned)?;
        Ok(())
    }

    fn refusal(&self, code: ResponseCode, error: Option<TsigError>) -> String {
        let key = &self.key_name;
        match (code, error) {
            (_, Some(TsigError::BadTime)) => {
                "its clock and ours differ by more than five minutes".to_owned()
            }
            (_, Some(TsigError::BadKey)) => format!("it does not know the key {key}"),
            (_, Some(TsigError::BadSig)) => format!("it has another secret for the key {key}"),
            (ResponseCode::Refused, _) => format!("it refuses updates by the key {key}"),
            (ResponseCode::NotAuth | ResponseCode::NotZone, _) => {
                format!("it is not the primary server of {}", self.zone)
            }
            (code, _) => format!("it answers: {code}"),
        }
    }
}

/// Sends a message over a connection, and reads the answer (RFC 1035 section 4.2.2).
async fn exchange(server: SocketAddr, request: &[u8]) -> io::Result<Vec<u8>> {
    let mut socket = TcpStream::connect(server).await?;
    let len = u16::try_from(request.len()).map_err(io::Error::other)?;
    let framed = [&len.to_be_bytes(), request].concat();
    socket.write_all(&framed).await?;
    let len = socket.read_u16().await?;
    let mut response = vec![0; len.into()];
    socket.read_exact(&mut response).await?;
    Ok(response)
}

/// A pending validation. Dropping it removes the record.
#[derive(Debug)]
pub(super) struct AnsweringDns {
    zone: Arc<DnsZone>,
    record: Record,
}

impl Drop for AnsweringDns {
    fn drop(&mut self) {
        // Without a runtime the process ends. What is left says nothing to anybody.
        let Ok(runtime) = Handle::try_current() else {
            return;
        };
        let (zone, record) = (Arc::clone(&self.zone), self.record.clone());
        runtime.spawn(async move {
            if let Err(failure) = zone.update(Change::Remove, &record).await {
                let (name, why) = (record.name.to_string(), failure.why);
                warn!(name, why, "the record of a validation could not be removed");
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use hickory_proto::op::OpCode;

    use super::*;

    fn zone() -> DnsZone {
        DnsZone {
            server: ([127, 0, 0, 1], 53).into(),
            zone: HostName::from_wire("example.com").unwrap(),
            key_name: "reseal".to_owned(),
            algorithm: TsigAlgorithm::HmacSha256,
            key: Zeroizing::new(vec![7; 32]),
        }
    }

    fn record() -> Record {
        let name = Name::from_ascii("_acme-challenge.a.example.com.").unwrap();
        Record::from_rdata(name, TTL, RData::TXT(TXT::new(vec!["value".to_owned()])))
    }

    #[test]
    fn a_zone_holds_its_own_names() {
        let holds = |name: &str| zone().holds(&HostName::from_wire(name).unwrap());
        assert!(holds("example.com"));
        assert!(holds("a.b.example.com"));
        assert!(!holds("notexample.com"));
        assert!(!holds("com"));
        assert!(!format!("{:?}", zone()).contains("7, 7"));
    }

    #[test]
    fn an_answer_counts_only_with_a_signature_and_to_its_request() {
        let zone = zone();
        let signed = || zone.signed(Change::Add, &record()).unwrap();
        let update = signed();
        let answered = Message::error_msg(update.id, OpCode::Update, ResponseCode::NoError);
        let answer = answered.to_vec().unwrap();
        let why = zone.judge(update, &answer).unwrap_err();
        assert_eq!(why, "its answer is not signed by the key");
        let update = signed();
        let other = Message::error_msg(update.id ^ 1, OpCode::Update, ResponseCode::NoError);
        let why = zone.judge(update, &other.to_vec().unwrap()).unwrap_err();
        assert_eq!(why, "it answers another request");
        let update = signed();
        let refused = Message::error_msg(update.id, OpCode::Update, ResponseCode::NotAuth);
        let why = zone.judge(update, &refused.to_vec().unwrap());
        assert_eq!(
            why.unwrap_err(),
            "it is not the primary server of example.com"
        );
        assert!(zone.judge(signed(), b"HTTP/1.1 200 OK").is_err());
    }
}
